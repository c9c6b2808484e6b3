"""The negation of a statement, as source text."""

from __future__ import annotations

from dataclasses import replace

from prover.lean.text import code_words, masked
from prover.lean.theorem import Theorem

_PAIRS = {"(": ")", "{": "}", "[": "]", "⦃": "⦄", "⟨": "⟩"}


def negation(theorem: Theorem) -> Theorem | None:
    """`NAME.negated : ¬ ∀ BINDERS, TYPE`.

    None for a library theorem, for a statement without a colon, and if the context declares `variable`s: they would stay
    outside the negation, and `variable (h : n < n)` would disprove every statement.
    """
    if theorem.statement is None or (split := split_statement(theorem.statement)) is None:
        return None
    if any(word == "variable" for word, _ in code_words(theorem.context)):
        return None
    binders, type_ = split
    type_ += "\n" * ("--" in type_)  # the type may end in a line comment
    closed = f"∀ {binders}, ({type_})" if binders else f"({type_})"
    return replace(theorem, name=f"{theorem.name}.negated", statement=f": ¬ ({closed})")


def split_statement(statement: str) -> tuple[str, str] | None:
    """(binders, type), split at the first colon outside brackets; None if there is none."""
    closing: list[str] = []
    code = masked(statement)
    for i, c in enumerate(code):
        if c in _PAIRS:
            closing.append(_PAIRS[c])
        elif closing and c == closing[-1]:
            closing.pop()
        elif c == ":" and not closing and not code.startswith(":=", i):
            return statement[:i].strip(), statement[i + 1 :].strip()
    return None
