"""The environment of the searches of one attempt: keeps the root open, and does not repeat tactics that cost a whole time limit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from prover.lean.theorem import ProofState, StepResult
from prover.search import Environment

MAX_FATAL_STEPS = 3
"""Maximum number of steps of one kind that may reach the time limit or end the process in an attempt. Later ones fail without Lean."""


class CostlyTactics:
    """The kinds of tactics that reached the time limit or ended the process, as arithmetic on huge numbers does.

    Tactics are of one kind if their last step is the same except for lists of lemmas: `simp <;> grind [a]` is of the kind `grind`.
    A tactic with alternatives is a kind by itself, because any of the alternatives may be the costly one.
    """

    def __init__(self) -> None:
        self._on_target: set[tuple[str, str]] = set()
        self._fatal: Counter[str] = Counter()

    def record(self, state: ProofState, tactic: str, result: StepResult) -> None:
        # A tactic that reaches the limit of heartbeats is cheap, and its message has another form.
        if result.status in ("memory", "crash") or (result.status == "timeout" and result.message.startswith("over ")):
            kind = _kind(tactic)
            self._fatal[kind] += 1
            self._on_target.add((kind, _target(state)))

    def known(self, state: ProofState, tactic: str) -> bool:
        """Whether a tactic of this kind was recorded on a goal with the same target, or MAX_FATAL_STEPS times on any goals."""
        kind = _kind(tactic)
        return (kind, _target(state)) in self._on_target or self._fatal[kind] >= MAX_FATAL_STEPS


def _kind(tactic: str) -> str:
    last = tactic if " | " in tactic else re.split(r"<;>|[;\n]", tactic)[-1].strip(" ()·")
    return re.sub(r"( only)? \[[^\]]*\]", "", last)


def _target(state: ProofState) -> str:
    return state.goals[0].target if state.goals else ""


class AttemptEnvironment:
    """An environment that never frees the root, so that the next search can start from it, and skips costly tactics."""

    def __init__(self, env: Environment, root: ProofState, costly: CostlyTactics) -> None:
        self._env = env
        self._root = root.id
        self._costly = costly

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        return [await self._one(state, tactic) for tactic in tactics]

    async def _one(self, state: ProofState, tactic: str) -> StepResult:
        if self._costly.known(state, tactic):
            return StepResult(
                "timeout", message="not tried: tactics of this kind reached the time limit in this attempt"
            )
        (result,) = await self._env.step(state, (tactic,))
        self._costly.record(state, tactic, result)
        return result

    async def free(self, states: Sequence[ProofState]) -> None:
        await self._env.free([s for s in states if s.id != self._root])
