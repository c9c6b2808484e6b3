"""LeanDojo's view of a state, one list of goals, kept over our groups of goals that are proved apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from prover.lean.theorem import ProofState, StepResult


@dataclass(frozen=True)
class Slot:
    """A goal in Lean's goal list: the group that it is in, its place there, and names that a script must still give."""

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
    """A whole tactic state: Lean's goal list and how it was reached."""

    slots: tuple[Slot, ...]
    script: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "\n\n".join(s.text for s in self.slots)


class Refused(Exception):
    """Lean's error."""


def slots_of(result: StepResult) -> list[Slot]:
    return [Slot(result.states[g], i, result.states[g].goals[i].renamed) for g, i in result.order]


def after_tactic(slots: Sequence[Slot], k: int, result: StepResult) -> tuple[list[Slot], int]:
    """Lean's goal list after a tactic on goal `k`, and how many goals it put in that one's place.

    The result lists what the tactic left, then those others of the group that it did not solve on the way. Which these
    are is told by their case tags.
    """
    new = slots_of(result)
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
