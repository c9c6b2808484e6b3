"""A tactic state as LeanDojo shows it, one list of goals, on top of our independent groups of goals."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from prover.lean.theorem import ProofState, StepResult


@dataclass(frozen=True)
class Slot:
    """A goal in Lean's goal list: its group, its index in the group, and names that a script must still introduce."""

    group: ProofState
    place: int
    renamed: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return self.group.goals[self.place].text

    @property
    def tag(self) -> str:
        m = re.match(r"case (\S+)\n", self.text)
        return m[1] if m else ""


@dataclass(frozen=True)
class GoalList:
    """A tactic state: Lean's goal list and the tactics that led to it."""

    slots: tuple[Slot, ...]
    script: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "\n\n".join(s.text for s in self.slots)


class Refused(Exception):
    """Lean refused a tactic; the message is Lean's error."""


Run = Callable[[ProofState, str], Awaitable[StepResult]]
"""Runs a tactic on a group of goals. Raises Refused."""


def after_tactic(slots: Sequence[Slot], k: int, result: StepResult) -> tuple[list[Slot], int]:
    """Lean's goal list after a tactic on goal `k`, and the number of goals that replace it.

    The result lists the tactic's new goals, then the group's other goals that it did not solve, which are recognised by
    their case tags.
    """
    new = [Slot(result.states[g], i, result.states[g].goals[i].renamed) for g, i in result.order]
    kept: dict[int, Slot] = {}
    for j in reversed([j for j, s in enumerate(slots) if s.group is slots[k].group and j != k]):
        if new and new[-1].tag == slots[j].tag:
            moved = new.pop()
            kept[j] = replace(moved, renamed=slots[j].renamed + moved.renamed)
    listed: list[Slot] = []
    for j, s in enumerate(slots):
        if j == k:
            listed.extend(new)
        elif s.group is not slots[k].group:
            listed.append(s)
        elif j in kept:
            listed.append(kept[j])
    return listed, len(new)


_PERMUTE = re.compile(r"(swap|rotate_left|rotate_right|pick_goal)(?:\s+(\d+))?\s*")
EACH = re.compile(r"(all_goals|any_goals)\s+(.*)", re.DOTALL)
CASE = re.compile(r"case'?\s+([^\s|]+)")


def permuted(slots: tuple[Slot, ...], tactic: str) -> tuple[Slot, ...] | None:
    """The goal list after a tactic that only reorders it, or None for any other tactic."""
    if (m := _PERMUTE.fullmatch(tactic)) is None:
        return None
    n = int(m[2]) if m[2] else 1
    if m[1] == "swap":
        return (*slots[1::-1], *slots[2:])
    if m[1] == "pick_goal":
        if not 1 <= n <= len(slots):
            raise Refused(f"not enough goals for pick_goal {n}")
        return (slots[n - 1], *slots[: n - 1], *slots[n:])
    n = (n if m[1] == "rotate_left" else -n) % len(slots)
    return slots[n:] + slots[:n]


def case_first(slots: tuple[Slot, ...], tactic: str) -> tuple[Slot, ...]:
    """The goal list for a tactic. The goal that its `case` names comes first."""
    if (m := CASE.match(tactic)) is None:
        return slots
    named = [k for k, s in enumerate(slots) if s.tag == m[1]]
    named = named or [k for k, s in enumerate(slots) if m[1] in s.tag.split(".")]
    return (slots[named[0]], *(s for k, s in enumerate(slots) if k != named[0])) if named else slots


async def on_goal(slots: Sequence[Slot], k: int, tactic: str, run: Run) -> tuple[list[Slot], int]:
    """Run a tactic on goal `k`. Returns what `after_tactic` returns. Raises Refused."""
    slot = slots[k]
    if slot.place != 0:
        raise Refused("this goal shares metavariables with an earlier one: prove that one first")
    return after_tactic(slots, k, await run(slot.group, tactic))


async def on_each(slots: Sequence[Slot], tactic: str, any_: bool, run: Run) -> tuple[Slot, ...]:
    """The goal list after `all_goals` or, with `any_`, `any_goals`. Raises Refused."""
    now, k, succeeded, error = list(slots), 0, 0, ""
    while k < len(now):  # the goals from k on were there at the start
        try:
            now, made = await on_goal(now, k, tactic, run)
            succeeded += 1
            k += made
        except Refused as e:
            if not any_:
                raise
            error = str(e)
            k += 1
    if any_ and not succeeded:
        raise Refused(error)
    return tuple(now)
