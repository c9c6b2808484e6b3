"""The outer structure of a type, read from its text: its premises, and the head and arguments of its conclusion."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from prover.lean.brackets import bare, cut

_INFIX = "↔ ∨ ∧ = ≠ ≤ < ≥ > ∈ ∉ ⊆ ∣ :: ++ + - * / % ^"
_CONNECTIVES = tuple(_INFIX.split())
"""Infix notation, loosest first."""
_IDENTIFIER = re.compile(r"[^\W\d][\w.'!?]*")


@dataclass(frozen=True, slots=True)
class Shape:
    """`∀ x, A → B → f a b` has one binder, the premises `A` and `B`, the head `f` and the arguments `a` and `b`."""

    binders: int
    premises: tuple[str, ...]
    conclusion: str
    head: str
    """An identifier, an infix symbol, `¬`, `∃`, or the first character of anything else."""
    arguments: tuple[str, ...]

    @property
    def outermost(self) -> str:
        """`∀`, `→`, or else the head."""
        return "∀" if self.binders else "→" if self.premises else self.head


@lru_cache(1 << 15)
def shape_of(type_: str) -> Shape:
    """The structure of a type as Lean prints it. Unknown notation is treated as part of the text around it."""
    binders, premises = 0, list[str]()
    rest = bare(" ".join(type_.split()))
    while True:
        if rest.startswith("∀"):
            _, _, body = cut(rest, ", ")
            if body:
                binders, rest = binders + 1, bare(body)
                continue
        before, arrow, after = cut(rest, " → ")
        if not arrow:
            break
        premises.append(bare(before))
        rest = bare(after)
    return Shape(binders, tuple(premises), rest, *_head(rest))


def _head(text: str) -> tuple[str, tuple[str, ...]]:
    if text.startswith(("∃", "¬")):
        return text[0], (bare(text[1:]),)
    for symbol in _CONNECTIVES:
        left, found, right = cut(text, f" {symbol} ")
        if found:
            return symbol, (bare(left), bare(right))
    first, _, rest = cut(text, " ")
    found = _IDENTIFIER.match(first)
    arguments = list[str]()
    while rest:
        argument, _, rest = cut(rest, " ")
        arguments.append(bare(argument))
    return found[0] if found else text[:1], tuple(arguments)
