"""Trained models for benchmarks, and wrappers that cache predictions, restrict tactics to recorded ones, or measure time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from prover.errors import UserError
from prover.lean.theorem import ProofState
from prover.models.base import Policy, Query, Suggestion, ValueEstimate
from prover.models.manifest import read_manifest
from prover.models.ranker import TacticRanker
from rl.answers import Answers

T = TypeVar("T")


def load_model(checkpoint: Path) -> tuple[Any, TacticRanker | None]:
    """A checkpoint's LanguageModelPolicy, and the ranker that its run learned. Raises UserError."""
    from prover.models.transformer import LanguageModelPolicy, ModelFolderError

    try:
        model = LanguageModelPolicy.load(checkpoint, threads=1)
    except ModelFolderError as e:
        raise UserError(f"--checkpoint {e}") from None
    ranker = read_manifest(checkpoint).ranker_file
    return model, TacticRanker.load(ranker) if ranker else None


class CachedModel:
    """Policy and Value that query a model once for each state of one `Answers`.

    `tag` identifies the model in the cache. Premises are not part of the key, so one `Answers` must always be used with the same
    premises.
    """

    def __init__(self, model: Any, answers: Answers, tag: str) -> None:
        self._model = model
        self._answers = answers
        self._tag = tag

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        keys = [f"{self._tag} {q.state.id} {q.attempt} {n} {q.towards}".rstrip() for q in queries]
        return _once(self._answers.suggestions, keys, queries, lambda asked: self._model.suggest(asked, n))

    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        keys = [f"{self._tag} {q.state.id}" for q in queries]
        known = self._answers.values
        found = _once(known, keys, queries, lambda asked: [v.probs for v in self._model.evaluate(asked)])
        return [ValueEstimate(probs) for probs in found]


def _once(
    known: dict[str, T], keys: list[str], queries: Sequence[Query], ask: Callable[[list[Query]], list[T]]
) -> list[T]:
    """The answer for each key, from `known` or else from the model."""
    asked = {k: q for k, q in zip(keys, queries, strict=True) if k not in known}
    if asked:
        known.update(zip(asked, ask(list(asked.values())), strict=True))
    return [known[k] for k in keys]


class RecordedTactics:
    """A policy restricted to tactics whose answers are recorded."""

    def __init__(self, policy: Policy, answers: Answers) -> None:
        self._policy = policy
        self._answers = answers

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        offered = self._policy.suggest(queries, n)
        return [
            [s for s in row if self._answers.knows(q.state, s.tactic)] for q, row in zip(queries, offered, strict=True)
        ]


def cached_premises(premises: Callable[[ProofState], Sequence[str]]) -> Callable[[ProofState], Sequence[str]]:
    """The same premises, computed once for each state of one `Answers`."""
    known: dict[int, Sequence[str]] = {}

    def once(state: ProofState) -> Sequence[str]:
        if state.id not in known:
            known[state.id] = premises(state)
        return known[state.id]

    return once


class TimedModel:
    """A policy, and optionally a value, that sums the processor time of its calls in the calling thread."""

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
