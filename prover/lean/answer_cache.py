"""Cache of Lean's answers for several searches or rollouts on one theorem: each tactic runs once on each state.

Lean is deterministic, so cached answers are exact. Callers still count each call; only time is saved. `rl.bench.answers`
stores answers across processes, by the text of the state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

from prover.lean.theorem import ProofState, StepResult, StepStatus, Theorem


class Lean(Protocol):
    """The environment behind the cache, e.g. a LeanPool."""

    async def open(self, theorem: Theorem) -> ProofState: ...

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]: ...

    async def free(self, states: Sequence[ProofState]) -> None: ...


class SharedAnswers:
    """An environment that keeps its states until `close` frees them."""

    def __init__(self, lean: Lean, again: Collection[StepStatus] = ()) -> None:
        """`again`: statuses that are not cached, e.g. `timeout`, which is not deterministic."""
        self._lean = lean
        self._again = again
        self._known: dict[tuple[int, str], asyncio.Task[StepResult]] = {}
        self._states: list[ProofState] = []
        self.lean_calls = 0
        """Number of tactics that Lean ran so far."""

    async def open(self, theorem: Theorem) -> ProofState:
        """Open a theorem, as LeanPool.open does."""
        root = await self._lean.open(theorem)
        self._states.append(root)
        return root

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        """Run tactics on a state, as LeanPool.step does."""
        tasks = [self._task(state, tactic) for tactic in tactics]
        # Cancelling one caller must not cancel the others' answer.
        return [await asyncio.shield(task) for task in tasks]

    def _task(self, state: ProofState, tactic: str) -> asyncio.Task[StepResult]:
        key = (state.id, tactic)
        if key not in self._known:
            self._known[key] = asyncio.create_task(self._ask(state, tactic))
        return self._known[key]

    async def _ask(self, state: ProofState, tactic: str) -> StepResult:
        self.lean_calls += 1
        (result,) = await self._lean.step(state, (tactic,))
        self._states += result.states
        if result.status in self._again:
            self._known.pop((state.id, tactic), None)
        return result

    async def free(self, states: Sequence[ProofState]) -> None:
        """Do nothing, because another search may reach these states."""

    async def close(self) -> None:
        """Free every state."""
        for task in self._known.values():
            task.cancel()
        await asyncio.gather(*self._known.values(), return_exceptions=True)
        states, self._states, self._known = self._states, [], {}
        await self._lean.free(states)
