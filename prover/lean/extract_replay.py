"""Run an extracted step again on LeanServer, from its recorded state, and compare the state after it."""

from __future__ import annotations

from collections.abc import Sequence

from prover.lean.extract import Step
from prover.lean.leandojo.goals import CASE, EACH, Refused, Slot, after_tactic, permuted
from prover.lean.server import LeanServer

SAME = "same"
"""The replay of a step that leads to the recorded state."""


async def replay(server: LeanServer, step: Step, tactic: str) -> str:
    """`same`; `differs: ` with the first other goal; or `error: ` with Lean's message."""
    slots = tuple(Slot(step.states[group], i, step.states[group].goals[i].renamed) for group, i in step.order)
    opened = {id(s): s for s in step.states}
    try:
        left = await _run(server, slots, tactic, opened)
    except Refused as e:
        return f"error: {' '.join(str(e).split())[:200]}"
    finally:
        await server.free([s for s in opened.values() if s not in step.states])
    texts = tuple(slot.text for slot in left)
    if texts == step.after:
        return SAME
    other = next((t for t, u in zip(texts, step.after, strict=False) if t != u), "")
    return f"differs: {len(texts)} goals, recorded {len(step.after)}" if not other else f"differs: {other[:200]}"


async def _run(server: LeanServer, slots: tuple[Slot, ...], tactic: str, opened: dict[int, object]) -> Sequence[Slot]:
    """The goal list after a tactic. Raises Refused. Adds the new states to `opened`."""
    if (moved := permuted(slots, tactic)) is not None:
        return moved
    if len(slots) > 1 and (m := EACH.fullmatch(tactic)) is not None:
        now, k = list(slots), 0
        while k < len(now):
            try:
                now, made = await _run_at(server, now, k, m[2], opened)
            except Refused:
                if m[1] == "all_goals":
                    raise
                made = 1
            k += made
        return now
    if (m := CASE.match(tactic)) is not None:
        named = [k for k, s in enumerate(slots) if s.tag == m[1]]
        named = named or [k for k, s in enumerate(slots) if m[1] in s.tag.split(".")]
        if named:
            slots = (slots[named[0]], *(s for k, s in enumerate(slots) if k != named[0]))
    return (await _run_at(server, slots, 0, tactic, opened))[0]


async def _run_at(
    server: LeanServer, slots: Sequence[Slot], k: int, tactic: str, opened: dict[int, object]
) -> tuple[list[Slot], int]:
    slot = slots[k]
    if slot.place != 0:
        raise Refused("this goal shares metavariables with an earlier one: prove that one first")
    [result] = await server.step(slot.group, [tactic])
    if not result.ok:
        raise Refused(f"{result.status}: {result.message}" if result.status != "error" else result.message)
    opened.update((id(s), s) for s in result.states)
    return after_tactic(slots, k, result)
