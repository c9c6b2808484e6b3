"""Lean identifiers: regular expressions, and the parts of a name that need « »."""

from __future__ import annotations

import re

_HEAD = r"[^\W\d]|[\U0001D400-\U0001D7FF]"
_REST = r"[\w'!?✝₀-₉ₐ-ₜᵢ-ᵪ\U0001D400-\U0001D7FF]"
ATOM = rf"(?:«[^»\n]*»|(?:{_HEAD}){_REST}*)"
"""One component of a name."""
IDENTIFIER = re.compile(rf"(?<![\w'?✝.`]){ATOM}(?:\.(?:{ATOM}|\d+))*")
"""A whole Lean identifier with its dotted components (`Nat.lt_succ`, `h.1`)."""

_LETTER = r"A-Za-z_α-κμ-ωΑ-ΟΡΤ-Ωϊ-ϻἀ-῾℀-⅏À-ÖØ-öø-ſ\U0001D49C-\U0001D59F"
_COMPONENT = re.compile(rf"[{_LETTER}][{_LETTER}0-9'!?₀-₉ₐ-ₜᵢ-ᵪⱼ]*")
"""Lean.isIdFirst and isIdRest."""
_RESERVED_WORDS = """
abbrev assume at attribute axiom break by calc catch class continue decreasing_by def deriving do else end example export
extends finally for forall from fun generalizing have if import in include inductive infix infixl infixr instance let local
macro match mut mutual namespace noncomputable notation nomatch nofun obtain omit open opaque partial postfix prefix private
protected public return scoped section set_option show sorry structure suffices syntax termination_by then theorem this
try universe unless unsafe until using variable where while with Prop Sort Type
"""
_RESERVED = frozenset(_RESERVED_WORDS.split())
"""Keywords of Lean, which cannot be names without quotes."""


def names_in(text: str) -> set[str]:
    """The identifiers of a text."""
    return {m[0] for m in IDENTIFIER.finditer(text)}


def is_component(part: str) -> bool:
    """Whether a component of a name needs no « »."""
    return _COMPONENT.fullmatch(part) is not None and part not in _RESERVED


def without_marks(name: str) -> str:
    """A name without « », as users may type it."""
    return name.replace("«", "").replace("»", "")
