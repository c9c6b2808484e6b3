"""Run an extracted step again on LeanServer, from its recorded state, and compare the state after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from prover.lean.extract import Step
from prover.lean.leandojo.goals import EACH, Refused, Slot, case_first, on_each, on_goal, permuted
from prover.lean.server import LeanServer
from prover.lean.theorem import Goal, ProofState, StepResult

SAME = "same"
"""The result of a step that leads to the recorded state."""


@dataclass(frozen=True)
class Replay:
    """The result of a step's replay."""

    result: str
    """`same`; `differs: ` with the first other goal; or `error: ` with Lean's message."""
    tactic: str
    """The tactic that was run: that of the step, possibly after the tactics of `unnamed_again`."""


async def replay(server: LeanServer, step: Step, tactic: str) -> Replay:
    """Run a step's tactic on its first goal, or on the goals that it names."""
    slots = tuple(Slot(step.states[group], i, step.states[group].goals[i].renamed) for group, i in step.order)
    run = _Run(server, tactic)
    try:
        left = await run.on(slots)
    except Refused as e:
        return Replay(f"error: {' '.join(str(e).split())[:200]}", tactic)
    finally:
        await server.free(run.opened)
    texts = tuple(slot.text for slot in left)
    if texts == step.after:
        return Replay(SAME, run.ran)
    other = next((t for t, u in zip(texts, step.after, strict=False) if t != u), None)
    return Replay(f"differs: {other[:200] if other else f'{len(texts)} goals instead of {len(step.after)}'}", run.ran)


def unnamed_again(goal: Goal) -> str:
    """Tactics that remove the names that LeanServer gave to hypotheses, because tactics such as `rename_i` name only unnamed hypotheses."""
    names = [name for name, _ in goal.hypotheses]
    first = min(names.index(name) for name in goal.renamed)
    new = ["_" if name in goal.renamed else name for name in names[first:]]
    return f"revert {' '.join(names[first:])}\nintro {' '.join(new)}\n"


@dataclass
class _Run:
    """Runs a tactic on a whole goal list, although a LeanServer state has only a part of it."""

    server: LeanServer
    tactic: str
    ran: str = ""
    opened: list[ProofState] = field(default_factory=list[ProofState])

    async def on(self, slots: tuple[Slot, ...]) -> Sequence[Slot]:
        """The goal list after the tactic. Raises Refused."""
        self.ran = self.tactic
        if (moved := permuted(slots, self.tactic)) is not None:
            return moved
        if len(slots) > 1 and (m := EACH.fullmatch(self.tactic)) is not None:
            return await on_each(slots, m[2], m[1] == "any_goals", self._step)
        slots = case_first(slots, self.tactic)
        try:
            return (await on_goal(slots, 0, self.tactic, self._step))[0]
        except Refused:
            first = slots[0]
            if not first.renamed:
                raise
            self.ran = unnamed_again(first.group.goals[first.place]) + self.tactic
            return (await on_goal(slots, 0, self.ran, self._step))[0]

    async def _step(self, group: ProofState, tactic: str) -> StepResult:
        [result] = await self.server.step(group, [tactic])
        if not result.ok:
            raise Refused(result.message if result.status == "error" else f"{result.status}: {result.message}")
        self.opened += result.states
        return result
