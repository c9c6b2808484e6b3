"""Sample values of a type, as terms, from the type's text as Lean prints it."""

from __future__ import annotations

import re

from prover.lean.brackets import bare, cut
from prover.lean.text import masked
from prover.lean.theorem import Goal

MAX_TYPE = 200
"""Limit on the text of a binder's type, in characters."""
_NATURALS = frozenset(("Nat", "ℕ", "UInt8", "UInt16", "UInt32", "UInt64", "USize"))
_INTEGERS = frozenset(("Int", "ℤ", "Rat", "ℚ", "Real", "ℝ", "Int8", "Int16", "Int32", "Int64"))
_SIMPLE = {
    "Bool": ("true", "false"),
    "Prop": ("True", "False"),
    "Unit": ("()",),
    "PUnit": ("⟨⟩",),
    "Empty": (),
    "PEmpty": (),
    "Char": ("'a'", "' '"),
    "String": ('""', '"a"', '"ab"'),
    "Type": ("Nat", "Bool", "Unit", "Empty"),
}
_UNIVERSES = ("PUnit", "ULift Nat", "ULift Bool", "PEmpty")
"""Types of any universe."""


class SampleValues:
    """Values for the binders of a goal. Knows the numbers that the goal mentions, and the types that its context defines."""

    def __init__(self, goal: Goal, context: str) -> None:
        self.near = _numerals(goal.text)
        self.constructors = _constructors(context)

    def of(self, type_: str) -> list[str] | None:
        """Some values of a type, the smallest first, as terms in brackets. None for propositions, classes and other types."""
        if len(type_) > MAX_TYPE:
            return None
        type_ = bare(type_)
        if type_ in _SIMPLE:
            return [*_SIMPLE[type_]]
        if type_ in _NATURALS:
            return [str(n) for n in [0, 1, 2, 3, *self.near, *range(4, 21), 25, 30, 50, 64, 100, 1000]]
        if type_ in _INTEGERS:
            whole = [0, *(m for n in (1, 2, 3, *self.near, *range(4, 12), 100) for m in (n, -n))]
            return [str(n) if n >= 0 else f"({n})" for n in whole]
        if type_ in self.constructors:
            return self.constructors[type_]
        if re.match(r"(Type|Sort)\b", type_):
            return [*(f"({u})" if " " in u else u for u in _UNIVERSES)]
        for arrow in ("→", "×"):
            left, found, right = cut(type_, arrow)
            if found:
                return self._function(left, right) if arrow == "→" else self._pair(left, right)
        head, _, rest = type_.partition(" ")
        if head in ("Fin", "BitVec") and rest.isdigit():
            return [str(n) for n in range(min(int(rest), 8))] if head == "Fin" else ["0", "1", "2", "3", "(-1)"]
        if head in ("List", "Array", "Option", "ULift") and (inner := self.of(rest)) is not None:
            return _containers(head, inner)
        return None

    def _function(self, domain: str, codomain: str) -> list[str] | None:
        inner = self.of(codomain)
        if inner is None or self.of(domain) is None:
            return None
        found = [f"(fun _ => {v})" for v in inner[:3]]
        domain, codomain = bare(domain), bare(codomain)
        same = domain == codomain
        found[1:1] = ["(fun x => x)"] if same else []
        numeric = domain in _NATURALS | _INTEGERS
        if same and numeric:
            found += ["(fun x => x + 1)", "(fun x => 2 * x)"]
        if numeric and codomain in ("Prop", "Bool"):
            found += ["(fun x => x = 0)", "(fun x => x ≠ 0)", "(fun x => x % 2 = 0)"]
        return found

    def _pair(self, first: str, second: str) -> list[str] | None:
        left, right = self.of(first), self.of(second)
        if left is None or right is None:
            return None
        return [
            f"({a}, {b})"
            for size in range(4)
            for i, a in enumerate(left[: size + 1])
            for b in right[size - i : size - i + 1]
        ]


def _containers(head: str, inner: list[str]) -> list[str]:
    if head == "ULift":
        return [f"⟨{v}⟩" for v in inner]
    if head == "Option":
        return ["none", *(f"(some {v})" for v in inner[:4])]
    a, b = [*inner[:2], *inner[-1:]][:2] if inner else ("", "")
    lists = ["", a, b, f"{a}, {b}", f"{b}, {a}", f"{a}, {a}", f"{b}, {a}, {b}"] if inner else [""]
    return [f"{'#' * (head == 'Array')}[{x}]" for x in lists]


def _numerals(text: str) -> list[int]:
    """The numbers that a goal mentions, and their neighbours."""
    found = [int(n) for n in re.findall(r"(?<![\w.])\d{1,6}(?![\w.])", text)]
    near = dict.fromkeys(m for n in found for m in (n, n + 1, n - 1) if m > 3)
    return [*near][:9]


def _constructors(context: str) -> dict[str, list[str]]:
    """The constructors of the types that the context defines. Those with arguments are included: instances with them merely fail."""
    parts = re.split(r"\binductive\s+([\w.]+)", masked(context))
    return {
        name: [f".{c}" for c in re.findall(r"\|\s*(\w+)", body)][:12]
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }
