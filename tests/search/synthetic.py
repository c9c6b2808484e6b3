"""Synthetic proving: AND-OR problems with known answers, as an environment, a policy and a value. No Lean."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import strategies as st

from prover.lean.theorem import Goal, ProofState, StepResult
from prover.models.base import Query, Suggestion, ValueEstimate
from prover.search import Search, SearchConfig
from prover.search.expansion import Premises

T = TypeVar("T")

Outcome = tuple[int, ...] | str
"""Goals that a tactic leaves, or the status with which it fails."""


@dataclass(frozen=True)
class Problem:
    """`tactics[g]` are the (logprob, outcome) of the tactics of goal g, named `t0`, `t1` ...; goal 0 is the root."""

    tactics: tuple[tuple[tuple[float, Outcome], ...], ...]

    def least(self, offered: int) -> list[float]:
        """Tactics in the shortest proof of each goal from its first `offered` tactics; inf without one. Brute force."""
        best = [math.inf] * len(self.tactics)
        for _ in range(len(self.tactics) + 1):
            for g, tactics in enumerate(self.tactics):
                for _, outcome in tactics[:offered]:
                    if not isinstance(outcome, str):
                        best[g] = min(best[g], 1 + sum(best[c] for c in outcome))
        return best


@dataclass
class World:
    """A problem as an environment. Complains when a state is used that it does not hold."""

    problem: Problem
    delay_s: float | None = None
    raises: int = 0
    """So many first steps raise."""
    held: dict[int, int] = field(default_factory=dict)
    steps: list[tuple[int, str]] = field(default_factory=list)
    made: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    def state(self, goal: int) -> ProofState:
        self.made += 1
        self.held[self.made] = goal
        return ProofState(self.made, f"k{goal}", (Goal(f"⊢ g{goal}", target=f"g{goal}"),))

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        results = []
        for tactic in tactics:
            assert state.id in self.held, f"{state.key} is used after it was freed"
            goal = self.held[state.id]
            assert state.key == f"k{goal}"
            self.steps.append((goal, tactic))
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            try:
                if self.delay_s is not None:
                    await asyncio.sleep(self.delay_s * (1 + hash_of(goal, tactic) % 3))
            finally:
                self.in_flight -= 1
            assert state.id in self.held, f"{state.key} was freed while Lean worked on it"
            if self.raises:
                self.raises -= 1
                raise ConnectionError("the server is gone")
            _, outcome = self.problem.tactics[goal][int(tactic[1:])]
            if isinstance(outcome, str):
                results.append(StepResult(outcome, message=f"{outcome} in {tactic}"))  # type: ignore[arg-type]
            else:
                # The same goal twice is two groups with one key, as two independent goals that look the same.
                states = tuple(self.state(g) for g in outcome)
                order = tuple((i, 0) for i in range(len(states)))
                results.append(StepResult("ok", states, order))
        return results

    async def free(self, states: Sequence[ProofState]) -> None:
        for s in states:
            del self.held[s.id]


def hash_of(goal: int, tactic: str) -> int:
    """A number that does not change between processes."""
    return (goal * 2654435761 + int(tactic[1:]) * 40503) >> 4


@dataclass
class Tactics:
    """The policy: a goal's tactics in order, `n` at a time."""

    problem: Problem
    queries: int = 0

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        self.queries += len(queries)
        answers = []
        for q in queries:
            tactics = self.problem.tactics[int(q.state.key[1:])]
            some = range(q.attempt * n, min(len(tactics), (q.attempt + 1) * n))
            answers.append([Suggestion(f"t{i}", tactics[i][0]) for i in some])
        return answers


@dataclass
class Knows:
    """A value that is right about every goal, or wrong about every goal."""

    least: list[float]
    right: bool = True

    async def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        answers = []
        for q in queries:
            steps = min(self.least[int(q.state.key[1:])], 16)
            i = int(steps) - 1 if self.right else 16 - int(steps)
            answers.append(ValueEstimate(tuple(float(j == i) for j in range(16))))
        return answers


@st.composite
def problems(draw: st.DrawFn, goals: int = 9, tactics: int = 5) -> Problem:
    """Problems with sharing, cycles, dead ends and goals that a tactic leaves twice."""
    n = draw(st.integers(1, goals))
    logprob = st.sampled_from([-0.1, -1.0, -2.0, -5.0])
    outcome = st.one_of(
        st.sampled_from(["error", "timeout", "memory", "crash"]),
        st.lists(st.integers(0, n - 1), min_size=1, max_size=3).map(tuple),
        st.lists(st.integers(0, n - 1), min_size=1, max_size=2).map(tuple),
        st.just(()),
    )
    some = st.lists(st.tuples(logprob, outcome), max_size=tactics).map(tuple)
    return Problem(tuple(draw(some) for _ in range(n)))


def chain(n: int, width: int = 3) -> Problem:
    """A proof of n steps, with width - 1 tactics beside each that fail, the right one last."""
    goals = []
    for g in range(n):
        good = (-1.0, (g + 1,) if g + 1 < n else ())
        goals.append((*((-0.5, "error"),) * (width - 1), good))
    return Problem(tuple(goals))


class _Clock(selectors.DefaultSelector):
    """Does not wait for timers: its time passes at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0 if timeout else timeout)
        if timeout and not found:
            self.now += timeout
        return found


class _VirtualTime(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def virtually(work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, where `asyncio.sleep` takes no time: what takes longer ends later, on a busy machine too. Threads take no
    part in it."""
    with asyncio.Runner(loop_factory=_VirtualTime) as runner:
        return runner.run(work)


def started(
    problem: Problem,
    value: Knows | None = None,
    world: World | None = None,
    premises: Premises | None = None,
    **options: object,
):
    world = world or World(problem)
    options.setdefault("model_thread", False)
    config = SearchConfig(**options)  # type: ignore[arg-type]
    search = Search(world.state(0), world, Tactics(problem), value, config=config, premises=premises)
    return search, world
