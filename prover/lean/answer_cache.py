"""Lean's answers shared between searches or rollouts on one theorem: the same tactic on the same state is asked once.

Lean is deterministic, so a shared answer is the answer. What asks still counts each call that it makes; only the clock is
spared. (`rl.bench.answers` keeps answers for another day: there states are known by what they say, not by their handle.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

from prover.lean.theorem import ProofState, StepResult, StepStatus, Theorem


class Lean(Protocol):
    """What is asked, e.g. a LeanPool."""

    async def open(self, theorem: Theorem) -> ProofState: ...

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]: ...

    async def free(self, states: Sequence[ProofState]) -> None: ...


class SharedAnswers:
    """An environment whose states live until `close`, which frees what was opened and made through it, and nothing else."""

    def __init__(self, lean: Lean, again: Collection[StepStatus] = ()) -> None:
        """`again`: statuses that the next one to ask does not take over, e.g. `timeout`, since the clock is not deterministic."""
        self._lean = lean
        self._again = again
        self._known: dict[tuple[int, str], asyncio.Task[StepResult]] = {}
        self._states: list[ProofState] = []
        self.lean_calls = 0
        """Tactics that Lean was asked for so far."""

    async def open(self, theorem: Theorem) -> ProofState:
        """As LeanPool.open."""
        root = await self._lean.open(theorem)
        self._states.append(root)
        return root

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        """As LeanPool.step."""
        tasks = [self._task(state, tactic) for tactic in tactics]
        # Who stops waiting must not take the answer from the others.
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
        """Nothing: another search may come to these states."""

    async def close(self) -> None:
        """Free every state."""
        for task in self._known.values():
            task.cancel()
        await asyncio.gather(*self._known.values(), return_exceptions=True)
        states, self._states, self._known = self._states, [], {}
        await self._lean.free(states)
