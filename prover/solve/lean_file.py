"""Proves a `.lean` file: attempts its `sorry`s, inserts the proofs, and audits the file as a whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from prover.console import one_line, plain, say
from prover.errors import UserError
from prover.files import read_file, write_whole
from prover.lean.declared import LeanMessage
from prover.lean.project import Imports, Project, explain_import, imports_of
from prover.lean.server import LeanDied, LeanError
from prover.lean.sorries import FileSorries, Hole
from prover.lean.text import MAX_BYTES, LeanText, code_words
from prover.lean.theorem import Theorem
from prover.solve.batch import NOT_SHOWN, Batch, Task, row_of
from prover.solve.executor import Executor
from prover.solve.file_errors import untried
from prover.solve.fill import Filled, Filler, Standing
from prover.solve.job import Found, Sorry, SourceFile
from prover.solve.marks import mark, without_marks
from prover.solve.options import Settings
from prover.solve.remarks import Remark, remarks_to
from prover.solve.results import Results
from prover.solve.selection import select, unreached
from prover.solve.session import document, stoppable
from prover.solve.statements import FileTheorems

WITH_PROOF = ("found", "proved", "rejected")
"""Outcomes in a results file whose proof may be inserted. The file is audited again each time."""

SHOWN_ERRORS = 20
"""Errors of a file that are printed on standard error. The answer has all."""


async def prove_file(
    text: LeanText,
    settings: Settings,
    log: Results,
    executor: Executor,
    project: Project | None = None,
    done: Mapping[str, Standing] | None = None,
) -> tuple[dict[str, Any], bytes, Standing]:
    """Returns (the answer's fields, the bytes of the filled file, the filled file for files that import it).

    `failure` in the answer: the exception that ended the search early, or None. `spent`: Lean calls of this run. `project`: where imports
    are looked up (None: the project that contains the file). `done`: filled files of the project, by path. Raises UserError if an
    import has an error, or if errors of the file leave nothing to try.
    """
    began = time.monotonic()
    imports = imports_of(text, project)
    try:
        before = await _before(executor, imports, done or {})
        sources = tuple(b.source(proved=True) for b in before)
        file = SourceFile(text, imports.shipped, sources)
        every = await executor.sorries(file)
    except LeanError as error:
        raise UserError(explain_import(one_line(str(error)), text.path)) from None
    except LeanDied as error:
        raise UserError(f"{text.path}: Lean stopped while elaborating the file: {one_line(str(error))}") from None
    numbers = select(text, every.holes, settings.names, settings.line)[: settings.limit]
    async with Filler(text, every.holes, imports.shipped, before, lenient=bool(every.errors)) as filler:
        skipped = await _skipped(every, numbers, filler)
        # Relative to the project, because a resumed command may spell the path differently.
        place = Path(text.path).relative_to(project.folder).as_posix() if project is not None else Path(text.path).name
        theorems = cache(lambda: FileTheorems(text, {e.line for e in every.errors}))
        tasks = {i: _task(place, file, i, every.holes[i], theorems, settings) for i in numbers}
        for i, found in skipped.items():
            if (tasks[i].key, 0) not in log.rows:
                log.add(row_of(tasks[i], found))
        rows, figures, filled, failure, interrupted = await _attempted(tasks, skipped, settings, log, executor, filler)
    answers = {i: _answer(every.holes[i], rows[i], filled, i) for i in numbers}
    answer = {
        **document(list(answers.values()), began, interrupted, executor.lean, failure),
        **figures,
        "errors": [{"file": e.file, "line": e.line, "column": e.column, "message": e.m.strip()} for e in every.errors],
        "unreached": unreached(text, every),
    }
    edits = without_marks(text, filler.edits(filled))
    if settings.mark_failed and not answer["interrupted"]:
        left = [(every.holes[i], t) for i, t in answers.items() if t["outcome"] not in ("proved", "data")]
        edits += [e for h, t in left if (e := mark(text, h.start, h.stop, t["outcome"], t["lean_calls"])) is not None]
    return answer, text.to_bytes(edits), Standing("", text, every.holes, filled.texts)


async def _skipped(every: FileSorries, numbers: Sequence[int], filler: Filler) -> dict[int, Found]:
    """The chosen `sorry`s that cannot be tried. Raises UserError if errors of the file leave none to try."""
    holes = every.holes
    reason = "not a proposition but data; only propositions can be proved"
    skipped = {i: Found("data", reason=reason, goal=holes[i].goals[0]) for i in numbers if not holes[i].proposition}
    if not every.errors:
        return skipped
    path = filler.text.path
    try:
        failed = await untried(filler, every.errors)
        skipped |= {i: Found("error", reason=failed[i], goal=holes[i].goals[0]) for i in numbers if i in failed}
    except (LeanError, LeanDied) as error:
        raise UserError(f"{path}: cannot be judged because of its errors: {one_line(str(error))}") from None
    if len(skipped) == len(numbers):
        lines = ", ".join(str(e.line) for e in every.errors[1:])
        more = f" (and errors at line {lines})" if lines else ""
        raise UserError(f"{_told(every.errors[0], 200)}{more}: no `sorry` can be tried; correct the errors first")
    for e in every.errors[:SHOWN_ERRORS]:
        say(f"turnstile: {_told(e)}")
    if (more := len(every.errors) - SHOWN_ERRORS) > 0:
        say(f"turnstile: {path}: and {more} more errors")
    return skipped


def _told(error: LeanMessage, limit: int = 600) -> str:
    """An error on one line, without Lean's hint."""
    return plain(explain_import(one_line(str(error).partition("\n\nHint:")[0], limit), error.file))


async def _attempted(
    tasks: Mapping[int, Task],
    skipped: Mapping[int, Found],
    settings: Settings,
    log: Results,
    executor: Executor,
    filler: Filler,
) -> tuple[dict[int, dict[str, Any]], dict[str, Any], Filled, Exception | None, bool]:
    """(number -> row, further fields of the answer, the proofs that the file accepts, the exception that ended it early, interrupted)."""
    numbers = [i for i in tasks if i not in skipped]
    batch = Batch([tasks[i] for i in numbers], settings, log)
    with stoppable() as stop:
        figures, failure = await batch.prove(executor, stop, "sorries")
        rows = dict(zip(numbers, batch.rows(), strict=True))
        filled = await filler.settle({i: row["proof"] for i, row in rows.items() if row["outcome"] in WITH_PROOF})
        interrupted = stop.is_set()
    for n, i in enumerate(numbers):
        if (judged := _judged(i, rows[i], filled)) != rows[i]:
            rows[i] = judged
            if judged["outcome"] != "error":  # the audit's fault and not the proof's: a resumed command audits it again
                row = {k: v for k, v in judged.items() if k != "outline"}
                # Of this try, not of all. A kept proof may not have had its turn in this run.
                own = batch.last.get(n) or log.rows[row["key"], row.get("try", 0)]
                log.add({**row, "lean_calls": own["lean_calls"]})
    for n in batch.last:
        batch.last[n] = {**batch.last[n], "outcome": rows[numbers[n]]["outcome"]}
    figures |= {"open": batch.open(), "spent": batch.schedule.spent}
    return rows | {i: row_of(tasks[i], f) for i, f in skipped.items()}, figures, filled, failure, interrupted


def _task(
    place: str, file: SourceFile, number: int, hole: Hole, theorems: Callable[[], FileTheorems], settings: Settings
) -> Task:
    where = f"{hole.name} at {hole.line}:{hole.column}"
    theorem = Theorem(hole.name, "", context=file.text.path, imports=file.imports)

    @cache
    def stated() -> Theorem | None:
        found = theorems().at(hole.start)
        return found and replace(found, imports=file.imports, before=file.before)

    page = f"{place.removesuffix('.lean')}-{hole.name}" if settings.project else ""
    return Task(
        f"{place}: {where}",
        theorem,
        file.text.path,
        hole.line,
        Sorry(file, number),
        stated,
        page,
        earlier_key=f"{file.text.path}: {where}",
    )


def _judged(number: int, row: dict[str, Any], filled: Filled) -> dict[str, Any]:
    """The row of a `sorry`, with the outcome that the audit of the file gives its proof."""
    if row["outcome"] not in WITH_PROOF:
        return row
    if number in filled.texts:
        return {**row, "outcome": "proved", "reason": ""}
    outcome = "error" if number in filled.unjudged else "rejected"
    return {**row, "outcome": outcome, "reason": filled.refused.get(number, "")}


def _answer(hole: Hole, row: dict[str, Any], filled: Filled, number: int) -> dict[str, Any]:
    """A `sorry`'s row in the answer."""
    shown = {k: v for k, v in row.items() if k not in (*NOT_SHOWN, "area")}
    if number in filled.conditional:
        shown["remarks"] = [*shown["remarks"], *remarks_to([Remark("conditional", "")])]
    return {**shown, "column": hole.column, "axioms": list(filled.axioms.get(number, ()))}


def write_over(text: LeanText, filled: bytes) -> Path:
    """Overwrite the original with the filled file; if the original has changed, write beside it. Returns the path."""
    path = Path(text.path)
    try:
        same = read_file(path, MAX_BYTES) == text.to_bytes([])
    except UserError:
        same = False
    if not same:
        path = path.with_name(f"{path.name}.filled")
        say(f"turnstile: {text.path} changed during the run and was not overwritten; the filled file is {path}")
    write_whole(path, filled)
    return path


async def _before(executor: Executor, imports: Imports, done: Mapping[str, Standing]) -> list[Standing]:
    """The imported source files, filled if they were filled before."""
    found: list[Standing] = []
    for own in imports.own:
        if (known := done.get(own.text.path)) is not None:
            found.append(replace(known, module=own.module))
        elif not sorry_count(own.text):
            found.append(Standing(own.module, own.text))
        else:
            sources = tuple(b.source(proved=True) for b in found)
            every = await executor.sorries(SourceFile(own.text, imports.shipped, sources))
            found.append(Standing(own.module, own.text, every.holes))
    return found


def sorry_count(text: LeanText) -> int:
    """Number of occurrences of the word `sorry` in the file's code."""
    return sum(word == "sorry" for word, _ in code_words(text.body))
