"""Tries to disprove a statement by small instances: most false statements fail for numbers such as 0, or for an empty list."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice, repeat

from prover.lean.theorem import Goal, ProofState, Theorem
from prover.search import Environment, checker
from prover.solve.sample_values import MAX_TYPE, SampleValues

NAME = "instances"
"""The name of this method where provers are named."""
CHUNKS = (8, 24, 32)
"""Instances of each Lean call. The last call has random ones."""
CALLS = 1 + len(CHUNKS)
"""Lean calls for a true statement: one for its binders, and one for each chunk of instances."""
MOST_CALLS = 10
"""Maximum number of Lean calls for a false statement."""
MOST_BINDERS = 12
_INTRO = "intro h"
_INTRO_ANSWER = "first\n| refine ⟨False.elim, fun h => ?_⟩\n| refine ⟨fun h => ?_, False.elim⟩"
"""For `False ↔ P` and `P ↔ False`."""


@dataclass(frozen=True)
class Instance:
    """Arguments for all binders of a statement, and the values among them by name."""

    arguments: tuple[str, ...]
    values: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return ", ".join(f"{name} = {value}" for name, value in self.values)


@dataclass(frozen=True)
class Refutation:
    """A proof of the negation, or None, and the Lean calls that were made."""

    script: str | None
    calls: int
    reason: str = ""


async def refute(
    theorem: Theorem, root: ProofState, negated: ProofState, env: Environment, most_calls: int
) -> Refutation:
    """Prove a negation by an instance. Makes at most 4 Lean calls, and 6 more to find the instance among those of a call. Stops at
    `most_calls` unless an instance is found.

    `theorem`: the negation. `root`: the state of the statement, whose binders are introduced. `negated`: the state of `theorem`.
    """
    goal, _ = await introduced(root, env)
    calls = 1
    if goal is None or not 0 < len(goal.hypotheses) <= MOST_BINDERS:
        return Refutation(None, calls)
    # Without `done`, what `simp` leaves would end the whole `first`. Without Mathlib, `norm_num` would not parse.
    closing = "first | decide | (simp; done) | omega | infer_instance" + " | (norm_num; done)" * (
        "Mathlib" in theorem.imports
    )
    lead = _INTRO_ANSWER if theorem.answer == "proposition" else _INTRO
    check = checker(env, negated)
    for chunk in _chunks(goal, theorem.context):
        if calls >= most_calls or not chunk:
            break
        calls += 1
        if await check(_script(chunk, lead, closing)):
            while len(chunk) > 1:  # find the instance, so that the proof names it
                half = chunk[: len(chunk) // 2]
                calls += 1
                chunk = half if await check(_script(half, lead, closing)) else chunk[len(half) :]
            calls += 1
            plain = await check(_script(chunk, lead, "decide"))
            script = _script(chunk, lead, "decide" if plain else closing)
            return Refutation(script, calls, f"its negation is proved: false for {chunk[0]}")
    return Refutation(None, calls)


async def introduced(root: ProofState, env: Environment) -> tuple[Goal | None, bool]:
    """(the goal after `intros`, whether that did anything). One Lean call."""
    (result,) = await env.step(root, ("intros",))
    await env.free(result.states)
    states = result.states if result.ok else (root,)
    return (states[0].goals[0] if states and states[0].goals else None), result.ok


def _script(chunk: Sequence[Instance], lead: str, closing: str) -> str:
    """A script for the negation that succeeds if one of the instances is false. `lead`: names the statement `h`. `closing`: the tactic
    for its hypotheses and its conclusion."""
    tries = []
    for instance in chunk:
        arguments = " ".join(a or f"(by {closing})" for a in instance.arguments)
        tries.append(f"exact absurd (@h {arguments}) (by {closing})")
    body = tries[0] if len(tries) == 1 else "first\n" + "\n".join(f"| {t}" for t in tries)
    return f"{lead}\n{body}"


def _chunks(goal: Goal, context: str) -> Iterator[list[Instance]]:
    """Instances in the order of their size, with some patterns among them, then random ones."""
    instances = _Instances(goal.hypotheses, SampleValues(goal, context))
    small = instances.by_size()
    source = random.Random(0)
    drawn = (instances.picked(source.choice) for _ in range(4 * CHUNKS[-1]))
    seen: set[tuple[str, ...]] = set()
    for size, from_ in zip(CHUNKS, (small, chain(instances.patterns(), small), drawn), strict=True):
        new = {x.arguments: x for x in islice((x for x in from_ if x is not None and x.arguments not in seen), size)}
        seen.update(new)
        yield list(new.values())


_Chosen = dict[str, str | None]
"""Binders' values by name; None for a proposition, a class or another type without sample values."""


class _Instances:
    """Instances of a list of binders, (name, type) each."""

    def __init__(self, binders: Sequence[tuple[str, str]], values: SampleValues) -> None:
        self.binders = binders
        self.values = values

    def by_size(self) -> Iterator[Instance]:
        """Instances in the order of the sum of the indices of their values."""
        idle = 0
        for size in range(10_000):
            empty = True
            for chosen in self._of_size(0, {}, size):
                empty = False
                yield self._instance(chosen)
            idle = idle + 1 if empty else 0
            if idle > 4:
                return

    def patterns(self) -> Iterator[Instance | None]:
        """Values that rise, fall, and are all the same, for hypotheses such as `a < b` and `b < c`."""
        for indices in (count(), count(len(self.binders) - 1, -1), repeat(1), repeat(2)):
            yield self.picked(lambda values, at=indices: values[min(max(0, next(at)), len(values) - 1)])

    def picked(self, pick: Callable[[list[str]], str]) -> Instance | None:
        """An instance with values that `pick` chooses; None if a chosen type is empty."""
        chosen: _Chosen = {}
        for name, type_ in self.binders:
            values = self._values(type_, chosen)
            if values == []:
                return None
            chosen[name] = None if values is None else pick(values)
        return self._instance(chosen)

    def _of_size(self, at: int, chosen: _Chosen, size: int) -> Iterator[_Chosen]:
        """Choices for the binders from `at` on whose indices have the sum `size`."""
        if at == len(self.binders):
            if size == 0:
                yield chosen
            return
        name, type_ = self.binders[at]
        values = self._values(type_, chosen)
        if values is None:
            yield from self._of_size(at + 1, {**chosen, name: None}, size)
            return
        for i, value in enumerate(values[: size + 1]):
            yield from self._of_size(at + 1, {**chosen, name: value}, size - i)

    def _values(self, type_: str, chosen: _Chosen) -> list[str] | None:
        """The values of a type, with the chosen values for the variables that it names."""
        if len(type_) > MAX_TYPE:
            return None
        for name, value in chosen.items():
            if value is not None and name in type_:
                type_ = re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w'.])", lambda _, v=value: v, type_)
        return self.values.of(type_)

    def _instance(self, chosen: _Chosen) -> Instance:
        arguments = tuple(chosen[name] or "" for name, _ in self.binders)
        return Instance(arguments, tuple((name, value) for name, value in chosen.items() if value is not None))
