"""The outer structure of a type, read from its text: its premises, and the head and arguments of its conclusion."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_OPEN, _CLOSE = "([{⟨⦃", ")]}⟩⦄"
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
    """The structure of a type as Lean prints it. Notation that is not known is part of its surroundings."""
    binders, premises = 0, list[str]()
    rest = _bare(" ".join(type_.split()))
    while True:
        if rest.startswith("∀"):
            _, _, body = _cut(rest, ", ")
            if body:
                binders, rest = binders + 1, _bare(body)
                continue
        before, arrow, after = _cut(rest, " → ")
        if not arrow:
            break
        premises.append(_bare(before))
        rest = _bare(after)
    return Shape(binders, tuple(premises), rest, *_head(rest))


def _head(text: str) -> tuple[str, tuple[str, ...]]:
    if text.startswith(("∃", "¬")):
        return text[0], (_bare(text[1:].strip()),)
    for symbol in _CONNECTIVES:
        left, found, right = _cut(text, f" {symbol} ")
        if found:
            return symbol, (_bare(left), _bare(right))
    first, _, rest = _cut(text, " ")
    found = _IDENTIFIER.match(first)
    arguments = list[str]()
    while rest:
        argument, _, rest = _cut(rest, " ")
        arguments.append(_bare(argument))
    return found[0] if found else text[:1], tuple(arguments)


def _cut(text: str, separator: str) -> tuple[str, str, str]:
    """`text.partition(separator)` at the first separator outside brackets."""
    depth = 0
    for i, c in enumerate(text):
        if c in _OPEN:
            depth += 1
        elif c in _CLOSE:
            depth -= 1
        elif not depth and c == separator[0] and text.startswith(separator, i):
            return text[:i], separator, text[i + len(separator) :]
    return text, "", ""


def _bare(text: str) -> str:
    """The text without brackets around all of it."""
    while text.startswith("(") and _closing(text) == len(text) - 1:
        text = text[1:-1]
    return text


def _closing(text: str) -> int:
    """Index of the bracket that closes the first one, or -1."""
    depth = 0
    for i, c in enumerate(text):
        depth += (c in _OPEN) - (c in _CLOSE)
        if not depth:
            return i
    return -1
