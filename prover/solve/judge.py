"""Audits proofs for `turnstile verify`: those of runs and JSONL rows, and files against their originals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from prover.console import one_line
from prover.errors import UserError
from prover.jsonl import jsonl_rows
from prover.lean.audit import Auditor, Judgement, Source
from prover.lean.judges import died
from prover.lean.project import Imports, Project, explain_import, imports_of, is_project, project_of
from prover.lean.server import LeanDied, LeanError
from prover.lean.text import LeanText, parse, read
from prover.lean.theorem import Theorem, Verdict
from prover.solve.ledger import Ledger
from prover.solve.statements import script_of, script_of_term, theorem_of

AT_ONCE = 4
"""Concurrent audits, enough to keep the three processes busy."""


class Claim(NamedTuple):
    """A theorem and its claimed proof."""

    name: str
    """The name shown in the verdict, without the « and » that Lean may need."""
    theorem: Theorem
    script: str
    term: str | None = None
    """The script if the proof is a term, for a proof that may be either."""


def jsonl_proofs(path: Path, imports: Sequence[str] = ()) -> Iterator[Claim]:
    """The claim of each row. Raises UserError with the line of a bad row."""
    empty = True
    for row, where in jsonl_rows(path):
        empty = False
        if not isinstance(row.get("proof"), str):
            raise UserError(f"{where}: `proof` must be a string")
        theorem = theorem_of(row, where, imports)
        yield Claim(row["name"], theorem, script_of(row["proof"]), script_of_term(row["proof"]))
    if empty:
        raise UserError(f"{path}: nothing to verify; add one JSON object per line")


def run_proofs(folder: Path) -> Iterator[Claim]:
    """All proofs that a run claims. Raises UserError if the folder is not a run."""
    ledger = folder / "ledger.sqlite"
    if not ledger.exists():
        raise UserError(f"{folder}: not a run folder (no ledger.sqlite); name a folder under runs/")
    book = Ledger.open(ledger, readonly=True)
    for theorem, script in book.claims():
        yield Claim(theorem.name, theorem, script)


async def judged(auditor: Auditor, claims: Iterable[Claim]) -> AsyncIterator[Verdict]:
    """A verdict for each claim, in order."""
    waiting: list[asyncio.Task[Verdict]] = []

    async def judge(claim: Claim) -> Verdict:
        verdict = await auditor.audit(claim.theorem, claim.script)
        if claim.term is not None and verdict.verdict == "rejected" and verdict.reason.startswith("elaboration:"):
            as_term = await auditor.audit(claim.theorem, claim.term)
            verdict = as_term if as_term.verdict == "proved" else verdict
        return replace(verdict, name=claim.name)

    try:
        for claim in claims:
            waiting.append(asyncio.create_task(judge(claim)))
            if len(waiting) == AT_ONCE:
                yield await waiting.pop(0)
        for task in waiting:
            yield await task
    finally:
        for task in waiting:
            task.cancel()


async def judged_files(
    auditor: Auditor, target: Path, against: Path | None = None, imports: Sequence[str] = ()
) -> AsyncIterator[Judgement]:
    """The judgement on a file, or on each file of a project. Raises UserError for bad input, if possible before the first audit."""
    pairs = _pairs(target, against)
    for text, original in pairs:  # raises for missing imports before the first audit
        _imports(text, original)
    for text, original in pairs:
        yield await _file(auditor, text, original, imports)


async def _file(auditor: Auditor, text: LeanText, original: LeanText | None, imports: Sequence[str]) -> Judgement:
    """Verdicts on the declarations of a file, in source order."""
    before, reference_before = _imports(text, original)
    # The original determines the environment of the statements.
    modules = tuple(dict.fromkeys([*(before if original is None else reference_before).shipped, *imports]))
    reference = _source(original, modules, reference_before) if original is not None else None
    try:
        return await auditor.judge(_source(text, modules, before), reference)
    except LeanError as error:
        raise UserError(explain_import(one_line(str(error)), text.path)) from None
    except LeanDied as error:
        return Judgement([Verdict(text.path, "error", died(error), lean=auditor.runtime.name)])


def _pairs(target: Path, against: Path | None) -> list[tuple[LeanText, LeanText | None]]:
    """(candidate, original) for a file, or for each file of a project."""
    if not target.is_dir():
        return [(read(target), read(against) if against is not None else None)]
    if against is not None and not is_project(against):
        raise UserError(f"{against}: not a Lake project (no lakefile); name the original of the project {target}")
    paths = {path.relative_to(target): path for path in Project(target).files()}
    if not paths:
        raise UserError(f"{target}: no .lean files to verify in this project")
    asked = {path.relative_to(against): path for path in Project(against).files()} if against is not None else {}
    pairs = [(read(path), read(asked[name]) if name in asked else None) for name, path in paths.items()]
    # A missing file counts as empty, so its theorems are not proved.
    return pairs + [(parse(b"", str(target / name)), read(path)) for name, path in asked.items() if name not in paths]


def _source(text: LeanText, modules: tuple[str, ...], before: Imports) -> Source:
    return Source(text.text, modules, text.path, tuple(before.sources()), header=text.imports)


def _imports(text: LeanText, original: LeanText | None) -> tuple[Imports, Imports]:
    """The imports of a file and of its original. Raises UserError.

    A file outside any project uses the project of its original."""
    if original is None:
        before = imports_of(text)
        return before, before
    if missing := set(text.imports) - set(original.imports):
        raise UserError(
            f"{text.path}: imports {', '.join(sorted(missing))}, which {original.path} does not import; remove them"
        )
    home = project_of(Path(original.path))
    return imports_of(text, project_of(Path(text.path)) or home), imports_of(original, home)
