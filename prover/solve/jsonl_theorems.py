"""Reads JSONL theorem sets in the formats of public benchmarks.

| format | fields | used by |
|---|---|---|
| plain | name, statement (binders, colon, type), optional imports, context | this project |
| whole | a name, and Lean source that ends in a theorem, optional header | miniF2F, DeepSeek-Prover, PutnamBench … |

NAMES, STATEMENTS and HEADERS list the accepted field names. Lean source is split at its last `theorem`: the text before it
becomes the context and the imports, the rest the name and statement. Nothing is elaborated until a theorem is opened.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.jsonl import jsonl_rows
from prover.lean.text import code_words, masked, parse
from prover.lean.theorem import Theorem
from prover.solve.negation import split_statement
from prover.solve.statements import lean_name

STATEMENTS = ("formal_statement", "lean4_statement", "lean4_code", "statement", "theorem_statement", "formal")
"""Fields that may contain the statement, in order of preference."""
NAMES = ("name", "problem_name", "theorem_name", "full_name", "problem_id", "id")
HEADERS = ("header", "lean4_header", "srcHeader", "context")


def load_jsonl(path: Path, imports: Sequence[str] = ()) -> list[Theorem]:
    """All theorems of a file. A different theorem with the same name becomes `NAME_2`. Raises UserError with `file:line` for the
    first line that is not a theorem or repeats one."""
    found: dict[str, list[Theorem]] = {}
    taken: set[str] = set()
    theorems = []
    for row, where in jsonl_rows(path):
        theorem = theorem_of_row(row, where, imports)
        alike = found.setdefault(theorem.name, [])
        for other in alike:
            if replace(other, source="") == replace(theorem, source=""):
                raise UserError(f"{where}: duplicate of {theorem.name!r} at {other.source}; remove one")
        alike.append(theorem)
        n = max(2, len(alike))
        while theorem.name in taken:
            theorem, n = replace(theorem, name=_numbered(alike[0].name, n)), n + 1
        taken.add(theorem.name)
        theorems.append(theorem)
    if not theorems:
        raise UserError(f"{path}: no theorems; add one JSON object per line")
    return theorems


def _numbered(name: str, n: int) -> str:
    return f"{name[:-1]}_{n}»" if name.endswith("»") else f"{name}_{n}"


def theorem_of_row(row: dict[str, Any], where: str, imports: Sequence[str] = ()) -> Theorem:
    """The theorem of a row, in any of the formats."""
    field = next((f for f in STATEMENTS if f in row), None)
    if field is None:
        raise UserError(f"{where}: no statement; add one of the fields {', '.join(STATEMENTS)}")
    text = row[field]
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{where}: `{field}` must be a non-empty string")
    name = next((str(row[f]).strip() for f in NAMES if isinstance(row.get(f), str | int) and str(row[f]).strip()), "")
    header = next((row[f] for f in HEADERS if row.get(f)), "")
    own = row.get("imports") or []
    if not isinstance(header, str) or not isinstance(own, list) or not all(isinstance(x, str) and x for x in own):
        raise UserError(f"{where}: a header must be a string, and `imports` a list of module names")
    whole = parse(f"{header.rstrip()}\n\n{text}".encode(), where)
    used = tuple(dict.fromkeys([*whole.imports, *(own or (() if len(whole.imports) > 1 else imports))]))
    start = _last_theorem(text)
    if start is None:
        if not name:
            raise UserError(f"{where}: no name: one of {', '.join(NAMES)} is needed")
        context = parse(header.encode(), where).body.strip("\n ") if header else ""
        statement = _without_proof(text)
        if split_statement(statement) is None:
            raise UserError(f"{where}: `{field}` has no `:` before its type, as in `(n : Nat) : n = n`")
        return Theorem(lean_name(name, where), statement, imports=used, context=context, source=where)
    body = whole.body
    at = len(body) - len(text) + start if body.endswith(text) else _last_theorem(body)
    assert at is not None
    declared = re.match(
        r"(?:theorem|lemma|example)\b\s*((?:«[^»]*»|[^\s({\[⦃:.]|\.(?!\{))+)?(?:\.\{([^}]*)\})?", body[at:]
    )
    assert declared is not None
    statement = _without_proof(body[at + declared.end() :])
    own_name = declared.group(1) or ""
    # `foo.{u, v}`: the universes move to the context, so that the name is plain.
    known = {u for line in re.findall(r"^\s*universe (.*)$", body[:at], re.M) for u in line.split()}
    universes = " ".join(u for u in re.findall(r"[^\s,]+", declared.group(2) or "") if u not in known)
    if split_statement(statement) is None:
        raise UserError(f"{where}: `{field}` has no `:` before its type, as in `(n : Nat) : n = n`")
    shown = own_name or (lean_name(name, where) if name else "")
    if not shown:
        raise UserError(f"{where}: no name: one of {', '.join(NAMES)} is needed")
    context = body[:at].strip("\n ") + (f"\nuniverse {universes}" if universes else "")
    return Theorem(shown, statement, imports=used, context=context.strip("\n "), source=where)


def _last_theorem(text: str) -> int | None:
    """Index of the last `theorem`, `lemma` or `example` in the code; None if there is none."""
    last = None
    for word, at in code_words(text):
        if word in ("theorem", "lemma", "example"):
            last = at
    return last


def _without_proof(text: str) -> str:
    """The text up to the first `:=` outside brackets that does not belong to a `let` or `have` in the type."""
    closing: list[str] = []
    pairs = {"(": ")", "{": "}", "[": "]", "⟨": "⟩"}
    code = masked(text)  # ignores brackets in comments
    binding = {at for word, at in code_words(text) if word in ("let", "have", "letI", "haveI")}
    bound = 0
    for i, c in enumerate(code):
        if c in pairs:
            closing.append(pairs[c])
        elif closing and c == closing[-1]:
            closing.pop()
        elif closing:
            continue
        elif i in binding:
            bound += 1
        elif code.startswith(":=", i):
            if not bound:
                return text[:i].strip()
            bound -= 1
    return text.strip()
