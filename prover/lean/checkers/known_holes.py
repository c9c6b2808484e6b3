"""Publicly known weaknesses of Lean's kernel, with the guard against each. docs/security.md explains them."""

from __future__ import annotations

import re
from dataclasses import dataclass

FIXED_IN = (4, 34)
"""The release whose kernel has all fixes below."""


@dataclass(frozen=True)
class Weakness:
    """A soundness report about Lean's kernel before 4.34."""

    number: int
    """Issue or pull request at github.com/leanprover/lean4."""
    about: str
    guard: str
    """The functions of Guard.lean or Replay.lean that close it."""
    left: str = ""
    """The part that the guard does not close; empty if none is known."""


WEAKNESSES = (
    Weakness(14484, "terms with free variables are accepted", "guardBefore"),
    Weakness(14576, "parameters of nested occurrences are not type-checked", "guardInductive"),
    Weakness(14613, "a sort that equals Prop is not taken for Prop", "alwaysZero"),
    Weakness(14616, "names under `_nested` collide with the kernel's own", "kernelRoots"),
    Weakness(14632, "projections with a wrong index or structure; names given twice", "badProjection, twice"),
    Weakness(
        14806, "the cache of definitional equality is a union-find", "rulesFit", "its uses other than for recursors"
    ),
    Weakness(14807, "a sort that does not reduce is not taken for Prop", "endsInSort"),
    Weakness(14808, "recursors are not type-checked", "guardInductive, rulesFit"),
    Weakness(
        14838,
        "an exploit that takes over 18 GB of memory",
        "the memory limit of Lean's process",
        "it has no guard but that limit",
    ),
    Weakness(14843, "as #14807, for the fields of inductive types", "endsInSort"),
)


def release(version: str) -> tuple[int, int] | None:
    """Major and minor number of a Lean version; None if it does not begin with them.

    A pre-release counts as the release before it, because it may lack fixes.
    """
    m = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?(.*)", version)
    if m is None:
        return None
    major, minor = int(m[1]), int(m[2])
    before = bool(m[4]) and int(m[3] or 0) == 0
    return (major, minor - 1) if before else (major, minor)


def known_weaknesses(version: str) -> tuple[Weakness, ...]:
    """Reports that apply to the kernel of this Lean: all of them for an unreadable version."""
    found = release(version)
    return () if found is not None and found >= FIXED_IN else WEAKNESSES


def open_weaknesses(version: str) -> tuple[Weakness, ...]:
    """The known weaknesses that the guards do not close completely."""
    return tuple(w for w in known_weaknesses(version) if w.left)


def open_reports(lean: str) -> list[int]:
    """The numbers of the open weaknesses of a Lean, given by its name, such as `Lean 4.28.0 (native)`."""
    m = re.search(r"\d+\.\d+\.\d+\S*", lean)
    return [w.number for w in open_weaknesses(m[0] if m else "")]


def kernel_name(version: str) -> str:
    """Name of the kernel, for display."""
    return f"Lean {version}'s own, with guards"


def kernel_todo(version: str) -> str:
    """The open weaknesses and what to do about them; empty if none is known."""
    left = open_weaknesses(version)
    if not left:
        return ""
    reports = "; ".join(f"#{w.number} ({w.about}: {w.left})" for w in left)
    return f"not closed by the guards: {reports}. Use `turnstile verify --kernel nanoda` as well; see docs/security.md"
