"""Theorems from the rows of data sets, in the shapes of public benchmarks.

| data set | name | statement | before it |
|---|---|---|---|
| this project | `name` | `statement`: binders, colon, type; or a bare proposition | `context`, `imports` |
| miniF2F, DeepSeek-Prover, ProverBench | `name` | `formal_statement` | `header` |
| PutnamBench | `problem_name` | `lean4_statement` | in the statement |
| ProofNet | `id` | `formal_statement` | `lean4_header` |
| ProofNet# | `id` | `lean4_formalization` | `lean4_src_header` |
| FormalMATH | `theorem_names` | `autoformalization` | in the statement |
| NuminaMath-LEAN | in the statement | `formal_statement` | in the statement |
| Kimina, Lean Workbook, CombiBench, formal-conjectures | `problem_id`, `id`, `theorem_name` … | `formal_statement` | in the statement |

FIELDS lists the accepted names; `--fields` names others. Lean source is split at the theorem that the row names, or else at its last
theorem: the text before it becomes the context and the imports. Nothing is elaborated until a theorem is opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from prover.console import plain
from prover.errors import UserError
from prover.lean.declarations import THEOREMS, Declarations, context_before, statement_in, with_universes
from prover.lean.text import code_words, edited, parse
from prover.lean.theorem import Theorem
from prover.solve.negation import split_statement
from prover.solve.open_answers import with_open_answers
from prover.solve.statements import lean_name, statement_of

FIELDS: dict[str, tuple[str, ...]] = {
    "statement": (
        "formal_statement",
        "lean4_statement",
        "lean4_code",
        "lean4_formalization",
        "autoformalization",
        "lean_statement",
        "lean_code",
        "statement",
        "theorem_statement",
        "formal",
    ),
    "name": ("name", "problem_name", "theorem_name", "theorem_names", "full_name", "problem_id", "id", "uuid"),
    "header": ("header", "lean4_header", "lean4_src_header", "srcHeader", "context"),
    "imports": ("imports",),
}
"""For each part of a theorem, the fields that may contain it, in order of preference."""

_LEAN_DOJO = {"url", "commit", "file_path", "full_name"}
"""Fields of LeanDojo Benchmark, whose statements are in files of a repository."""
MAX_LISTED = 30
"""Limit on the number of fields in a message."""


def fields_of(options: Sequence[str]) -> dict[str, str]:
    """The mapping that `--fields PART=FIELD …` gives. Raises UserError."""
    found: dict[str, str] = {}
    for option in options:
        part, _, field = option.partition("=")
        if part not in FIELDS or not field:
            raise UserError(f"--fields {option}: write PART=FIELD, where PART is one of {', '.join(FIELDS)}")
        found[part] = field
    return found


def theorem_of_row(
    row: Mapping[str, Any], where: str, imports: Sequence[str] = (), fields: Mapping[str, str] | None = None
) -> Theorem:
    """The theorem of a row. `imports`: for rows that have none. `fields`: the fields of some parts (see `fields_of`). Raises UserError."""
    fields = fields or {}
    for part, field in fields.items():
        if row.get(field) is None:
            raise UserError(f"{where}: no field {field!r} for --fields {part}={field}; this row has {_listed(row)}")
    if "statement" not in fields and row.keys() >= _LEAN_DOJO:
        raise UserError(
            f"{where}: a row of LeanDojo Benchmark; give a checkout of its repository with --sources FOLDER"
        )

    def of(part: str) -> str:
        names = (fields[part],) if part in fields else FIELDS[part]
        return next((name for name in names if row.get(name) is not None and row[name] != ""), "")

    if not (field := of("statement")):
        raise UserError(
            f"{where}: no statement; this row has {_listed(row)}. Name the field that contains it with --fields statement=FIELD"
        )
    text, header, own = row[field], row.get(of("header"), ""), row.get(of("imports"), [])
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{where}: `{field}` must be a non-empty string")
    if not isinstance(header, str) or not isinstance(own, list) or not all(isinstance(x, str) and x for x in own):
        raise UserError(f"{where}: a header must be a string, and `imports` a list of module names")
    before, source = parse(header.encode(), where), parse(text.encode(), where)
    modules = tuple(dict.fromkeys([*before.imports, *source.imports]))
    used = tuple(dict.fromkeys([*modules, *(own or (() if len(modules) > 1 else imports))]))
    name = row.get(of("name"))
    name = str(name).strip() if isinstance(name, str | int) else ""
    context = before.body.strip("\n ")
    if (theorem := _declared(context, source.body, name)) is None:
        theorem = Theorem("", statement_of(source.body[: Declarations(source.body).value(0)]) or "", context=context)
    if not theorem.name and not name:
        raise UserError(
            f"{where}: no name; this row has {_listed(row)}. Name the field that contains it with --fields name=FIELD"
        )
    if not theorem.statement:
        raise UserError(f"{where}: `{field}` has no `:` before its type, as in `(n : Nat) : n = n`")
    theorem = replace(theorem, name=theorem.name or lean_name(name, where), imports=used, source=where)
    return with_open_answers(theorem)


def _listed(row: Mapping[str, Any]) -> str:
    shown = [plain(field) for field in row][:MAX_LISTED]
    more = f" and {len(row) - MAX_LISTED} more" if len(row) > MAX_LISTED else ""
    return f"the fields {', '.join(shown)}{more}" if row else "no fields"


def _declared(header: str, body: str, name: str) -> Theorem | None:
    """The theorem of a source text: the one with the row's name, or else the last. Its name is empty for an example, its
    statement if it has no type. None if the text declares no theorem."""
    source = Declarations(f"{header}\n\n{body}")
    starts = [at for at in source.starts(THEOREMS) if at > len(header)]
    if not starts:
        return None
    named = [at for at in starts if (own := source.head(at).name) and f".{name}".endswith(f".{own}")]
    at = (named or starts)[-1]
    head, stop = source.head(at), source.value(at)
    statement, column = statement_in(source.text, head.end, stop)
    context = usable_context(context_before(source, at), statement)
    # `foo.{u, v}`: the universes move to the context, so that the name is plain.
    context = with_universes(context, head.universes).strip("\n ")
    typed = split_statement(statement) is not None
    return Theorem(head.name, statement if typed else "", context=context, column=column)


def usable_context(context: str, statement: str) -> str:
    """The context of the statement in Lean's own keywords, without lemmas that no proof may use."""
    return _with_core_keywords(without_open_lemmas(context, statement))


def _with_core_keywords(context: str) -> str:
    """The context with `theorem` for Mathlib's `lemma`, which means the same."""
    source = Declarations(context)
    lemmas = [at for at in source.starts(("lemma",)) if source.begins_line(at)]
    return edited(context, ((at, at + len("lemma"), "theorem") for at in lemmas))


def without_open_lemmas(context: str, statement: str) -> str:
    """The context without the lemmas whose proof is `sorry` and that nothing else mentions. No proof may use them anyway."""
    source = Declarations(context)
    words = Counter(word for word, _ in [*source.words, *code_words(statement)])
    unused = [at for at in source.starts(THEOREMS) if words[source.head(at).name] <= 1]
    open_ = ((source.begin(at)[0], stop, "") for at in unused if (stop := source.end_of_sorry(at)) is not None)
    return edited(context, open_)
