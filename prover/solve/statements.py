"""Parses names, statements and proofs from user input."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from prover.errors import UserError
from prover.lean.brackets import PAIRS, closing, cut, outside
from prover.lean.declarations import KEYWORDS, THEOREMS, Declarations, context_before, statement_in, without_lines
from prover.lean.names import IDENTIFIER, is_component
from prover.lean.protocol import split_hypotheses
from prover.lean.text import LeanText, index_at, masked
from prover.lean.theorem import Goal, Theorem
from prover.solve.negation import split_statement


def theorem_of(row: dict[str, Any], where: str, imports: Sequence[str] = ()) -> Theorem:
    """The theorem of a JSON object with name, statement, and optional imports and context. Raises UserError."""
    for field in ("name", "statement"):
        if not isinstance(row.get(field), str) or not row[field].strip():
            raise UserError(f"{where}: `{field}` must be a non-empty string")
    own = row.get("imports")
    if own is not None and (not isinstance(own, list) or not all(isinstance(x, str) and x for x in own)):
        raise UserError(f"{where}: `imports` must be a list of module names")
    context = row.get("context") or ""
    if not isinstance(context, str):
        raise UserError(f"{where}: `context` must be a string of Lean source")
    name = row["name"].strip()
    if re.match(rf"\s*(?:{'|'.join(THEOREMS)})\b", row["statement"]):
        raise UserError(f"{where}: `statement` is what stands after `theorem NAME`, as in `(n : Nat) : n = n`")
    statement = statement_of(row["statement"])
    if statement is None:
        raise UserError(f"{where}: `statement` has no `:` before its type, as in `(n : Nat) : n = n`")
    used = tuple(dict.fromkeys(["Init", *(own or imports)]))
    return Theorem(lean_name(name, where), statement, imports=used, context=context, source=where)


def statement_of(text: str) -> str | None:
    """A text as a statement `BINDERS : TYPE`. A bare proposition, such as `∀ n : Nat, n = n`, is a type without binders.
    None for binders without a type."""
    text = text.strip()
    split = split_statement(text)
    bare = "".join(c for _, c in outside(masked(text if split is None else split[0])))
    words = re.findall(r"«[^»]*»|\S+", bare)
    if split is not None and all(_is_name(word) for word in words):
        return text
    # `(2 : Nat) …` and `⟦φ⟧` are terms, `(n : Nat) {α : Type}` are binders.
    if split is None and not words and masked(text).lstrip()[:1] in "({[⦃":
        inner = split_statement(text[1:-1])
        if not text.startswith("(") or (inner is not None and all(_is_name(word) for word in inner[0].split())):
            return None
    return f": {text}"


def goal_of(statement: str) -> Goal | None:
    """The goal of a statement, read from its text without Lean: names are not resolved, and notation hides constants. None without a
    type."""
    if (split := split_statement(statement)) is None:
        return None
    binders, target = (" ".join(part.split()) for part in split)
    lines: list[str] = []
    while at := next((i + 1 for i, c in enumerate(binders) if c in PAIRS), 0):
        end = closing(binders, at - 1)
        if end < 0:
            return None
        names, colon, type_ = cut(binders[at:end], ":")
        lines.append(f"{names.strip()} : {type_.strip()}" if colon else f"inst : {names.strip()}")
        binders = binders[end + 1 :]
    text = "\n".join([*lines, f"⊢ {target}"])
    hypotheses, target = split_hypotheses(text)
    bound = {name for name, _ in hypotheses}
    named = dict.fromkeys(m[0] for part in (target, *(t for _, t in hypotheses)) for m in IDENTIFIER.finditer(part))
    return Goal(text, hypotheses, target, tuple(n for n in named if n not in bound))


def script_of(proof: str) -> str:
    """The tactic script of a proof written as tactics, as `by …`, or as `:= …`. A bare term is read as tactics (see `script_of_term`)."""
    text = proof.replace("\r\n", "\n").rstrip()
    bare = text.lstrip()
    if bare.startswith(":="):
        text = bare = bare[2:].lstrip()
        if not bare.startswith("by") or bare[2:3].isalnum():
            return _exact(text)
    if bare.startswith("by") and not (bare[2:3].isalnum() or bare[2:3] in ("_", "'", ".")):
        at = text.index("by")
        text = " " * at + "  " + text[at + 2 :]  # keeps the columns
    lines = text.split("\n")
    while lines and not lines[0].strip():
        lines.pop(0)
    common = min((len(x) - len(x.lstrip(" ")) for x in lines if x.strip()), default=0)
    return "\n".join(x[common:] for x in lines)


def script_of_term(proof: str) -> str | None:
    """The tactic script of a proof that may be a bare term. None for proofs that start with `by` or `:=`."""
    return None if re.match(r"\s*(:=|by\b)", proof) else _exact(proof)


def _exact(term: str) -> str:
    return f"exact (\n{term})" if "\n" in term else f"exact ({term})"


def lean_name(name: str, where: str = "name") -> str:
    """The name with « » around components that are not identifiers. Raises UserError if that is impossible."""
    # Quotes must enclose whole components, so that a name cannot inject other source.
    parts = re.findall(r"«[^«»\n\r]+»|[^.«»\n\r]+", name)
    if ".".join(parts) == name:
        return ".".join(p if _is_name(p) else f"«{p}»" for p in parts)
    if re.search(r"[«»\n\r]", name):
        raise UserError(f"{where}: `name` is not a valid Lean name; « and » must enclose whole components, on one line")
    return f"«{name}»"


def _is_name(part: str) -> bool:
    """Whether a text is one component of a name as Lean reads it, with « » or without."""
    return re.fullmatch("«[^«»]+»", part) is not None or is_component(part)


_BEGUN = re.compile(r":=\s*(?:by\s*)?\Z")


class FileTheorems:
    """The theorems of a file. The text is read once, for any number of `sorry`s."""

    def __init__(self, text: LeanText, errors: Collection[int] = ()) -> None:
        """`errors`: lines with errors, whose declarations the contexts omit."""
        self._file = text
        self._source = Declarations(text.body)
        self._accepted = without_lines(self._source, errors) if errors else None

    def at(self, start: int) -> Theorem | None:
        """The theorem whose whole proof is the `sorry` at byte `start`, with the text before it as context; else None."""
        source, stop = self._source, index_at(self._file.body, start)
        if (at := source.last(("theorem", "lemma"), stop)) is None:
            return None
        if (value := source.value(at, stop)) is None and at == source.last(KEYWORDS, stop):
            # A `let` that is defined by cases has no `:=`.
            value = found.start() if (found := _BEGUN.search(source.code, at, stop)) is not None else None
        if value is None or not _BEGUN.fullmatch(source.text, value, stop):
            return None
        head = source.head(at)
        statement, column = statement_in(source.text, head.end, value)
        if not head.name or not statement:
            return None
        # A context must end with a whole command, because it is also elaborated alone.
        context = f"{context_before(source, at, self._accepted)}\n"
        if head.universes:  # Lean refuses a head that names one in scope
            context += f"universe {' '.join(head.universes)}\n"
        file = self._file
        return Theorem(head.written, statement, imports=file.imports, context=context, source=file.path, column=column)
