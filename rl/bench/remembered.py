"""Models for searches that are compared: what they said is remembered with Lean's answers, or their time is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from prover.lean.theorem import ProofState
from prover.models.base import Policy, Query, Suggestion, ValueEstimate
from rl.bench.answers import Answers


class Remembered:
    """Policy and Value over a model, for the states of one `Answers`: asked once for each state.

    `tag` names the model: answers of different models are kept apart. What it remembers of a state holds for the
    premises that it was first asked with, so one `Answers` must always be used with the same premises.
    """

    def __init__(self, model: Any, answers: Answers, tag: str) -> None:
        self._model = model
        self._answers = answers
        self._tag = tag

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        known = self._answers.suggestions
        keys = [f"{self._tag} {q.state.id} {q.attempt} {n}" for q in queries]
        asked = [(k, q) for k, q in zip(keys, queries, strict=True) if k not in known]
        if asked:
            found = self._model.suggest([q for _, q in asked], n)
            known.update((k, f) for (k, _), f in zip(asked, found, strict=True))
        return [known[k] for k in keys]

    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        known = self._answers.values
        keys = [f"{self._tag} {q.state.id}" for q in queries]
        asked = [(k, q) for k, q in zip(keys, queries, strict=True) if k not in known]
        if asked:
            found = self._model.evaluate([q for _, q in asked])
            known.update((k, f.probs) for (k, _), f in zip(asked, found, strict=True))
        return [ValueEstimate(known[k]) for k in keys]


class Recorded:
    """A policy that offers only tactics whose answers are recorded: the record as a world of its own."""

    def __init__(self, policy: Policy, answers: Answers) -> None:
        self._policy = policy
        self._answers = answers

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        offered = self._policy.suggest(queries, n)
        return [
            [s for s in row if self._answers.knows(q.state, s.tactic)] for q, row in zip(queries, offered, strict=True)
        ]


def remembered_premises(premises: Callable[[ProofState], Sequence[str]]) -> Callable[[ProofState], Sequence[str]]:
    """The same premises, found once for each state of one `Answers`."""
    known: dict[int, Sequence[str]] = {}

    def once(state: ProofState) -> Sequence[str]:
        if state.id not in known:
            known[state.id] = premises(state)
        return known[state.id]

    return once


class Timed:
    """A policy that adds up the processor time of the thread that asks it, and of a value beside it."""

    def __init__(self, policy: Policy, value: Any = None) -> None:
        self._policy = policy
        self._value = value
        self.seconds = 0.0

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        began = time.thread_time()
        try:
            return self._policy.suggest(queries, n)
        finally:
            self.seconds += time.thread_time() - began

    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        began = time.thread_time()
        try:
            return self._value.evaluate(queries)
        finally:
            self.seconds += time.thread_time() - began
