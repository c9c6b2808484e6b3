"""The negation of a statement, as source text."""

from __future__ import annotations

import re
from dataclasses import replace

from prover.lean.brackets import outside
from prover.lean.declarations import with_universes
from prover.lean.text import LAST_DOC, code_words, masked
from prover.lean.theorem import Theorem


def negation(theorem: Theorem) -> Theorem | None:
    """`NAME.negated : ¬ ∀ BINDERS, TYPE`, or `NAME.if_false`, the statement with False for its open answer.

    None for a library theorem, for a statement without a colon, and if the context declares `variable`s: they would stay
    outside the negation, and `variable (h : n < n)` would disprove every statement. None also if the statement is about
    unknown data: it may hold for some values.
    """
    if theorem.if_false is not None:
        statement, context = theorem.if_false
        return replace(theorem, name=f"{theorem.name}.if_false", statement=statement, context=context, if_false=None)
    if theorem.answer == "data":
        return None
    if theorem.statement is None or (split := split_statement(theorem.statement)) is None:
        return None
    words = [word for word, _ in code_words(theorem.context)]
    if "variable" in words or words[-1:] == ["in"]:  # `open X in` would be about the line that is added below
        return None
    binders, type_ = split
    first = theorem.first_column
    column = type_column(theorem.statement.rstrip(), type_, first)
    type_ = placed(type_, column).removeprefix(" ") + "\n" * ("--" in type_)  # the type may end in a line comment
    comment = "\n" * ("--" in binders)
    closed = f"∀{placed(binders, first)}{comment}, ({type_})" if binders else f"({type_})"
    # An auto-bound name would stand outside of the negation. Over an empty type, a true statement's negation is then true as well.
    # Universes may stand outside.
    named = re.findall(r"\b(?:Type|Sort)\s+([a-zA-Z]\w*)", masked(theorem.statement))
    context = with_universes(LAST_DOC.sub("", theorem.context).rstrip(), dict.fromkeys(named))
    context += "\nset_option autoImplicit false\n"
    return replace(theorem, name=f"{theorem.name}.negated", statement=f": ¬ ({closed})", context=context, column=None)


def placed(text: str, column: int) -> str:
    """The text after a space, or at this column of a new line if it has several lines: Lean reads blocks by their columns."""
    return f"\n{' ' * column}{text}" if "\n" in text else f" {text}"


def type_column(statement: str, type_: str, first: int) -> int:
    """Column of the type in a statement that begins at column `first`."""
    _, line, before = statement.removesuffix(type_).rpartition("\n")
    return len(before) if line else first + len(before)


def split_statement(statement: str) -> tuple[str, str] | None:
    """(binders, type), split at the first colon outside brackets; None if there is none."""
    code = masked(statement)
    for i, c in outside(code):
        if c == ":" and not code.startswith(":=", i):
            return statement[:i].strip(), statement[i + 1 :].strip()
    return None
