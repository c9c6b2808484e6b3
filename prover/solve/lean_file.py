"""Proves a `.lean` file: attempts its `sorry`s, inserts the proofs, and audits the file as a whole."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prover.console import one_line, say
from prover.errors import UserError
from prover.files import read_file, write_whole
from prover.lean.project import Imports, Project, explain_import, imports_of
from prover.lean.server import LeanDied, LeanError
from prover.lean.sorries import Hole
from prover.lean.text import MAX_BYTES, LeanText, code_words
from prover.lean.theorem import Theorem
from prover.solve.batch import NOT_SHOWN, Batch, Task, row_of
from prover.solve.executor import Executor
from prover.solve.fill import Filled, Filler, Standing
from prover.solve.job import Found, Sorry, SourceFile
from prover.solve.marks import mark, without_marks
from prover.solve.remarks import duplicates
from prover.solve.results import Results
from prover.solve.session import Settings, document, stoppable
from prover.solve.statements import theorem_at

WITH_PROOF = ("found", "proved", "rejected")
"""Outcomes in a results file whose proof may be inserted. The file is audited again each time."""


async def prove_file(
    text: LeanText,
    settings: Settings,
    log: Results,
    executor: Executor,
    project: Project | None = None,
    done: Mapping[str, Standing] | None = None,
) -> tuple[dict[str, Any], bytes, Standing]:
    """Returns (the answer's fields, the bytes of the filled file, the filled file for files that import it).

    `failure` in the answer: the exception that ended the search early, or None. `project`: where imports are looked up
    (None: the project that contains the file). `done`: filled files of the project, by path. Raises UserError if the file or
    an import has an error.
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
    holes = every[: settings.limit]
    # Relative to the project, because a resumed command may spell the path differently.
    place = Path(text.path).relative_to(project.folder).as_posix() if project is not None else Path(text.path).name
    tasks_of_file = [_task(place, file, i, hole, settings) for i, hole in enumerate(holes)]
    for task, hole in zip(tasks_of_file, holes, strict=True):
        if not hole.proposition and (task.key, 0) not in log.rows:
            log.add(
                row_of(
                    task,
                    Found(
                        "data", reason="not a proposition but data; only propositions can be proved", goal=hole.goals[0]
                    ),
                )
            )
    batch = Batch(tasks_of_file, settings, log)
    figures: dict[str, Any] = {}
    failure: Exception | None = None
    with stoppable() as stop:
        if not batch.finished():
            figures, failure = await batch.prove(executor, stop, "sorries")
        rows = batch.rows()
        scripts = {i: row["proof"] for i, row in enumerate(rows) if row["outcome"] in WITH_PROOF}
        filled = Filled()
        if scripts:
            async with Filler(text, every, imports.shipped, before) as filler:
                filled = await filler.settle(scripts)
        interrupted = stop.is_set() or failure is not None
    tasks = [
        _answer(i, hole, rows[i], batch.last.get(i, rows[i])["lean_calls"], filled, log) for i, hole in enumerate(holes)
    ]
    duplicates(tasks)
    for task in tasks:
        task.pop("statement_hash", None)
    edits = without_marks(text, ((holes[i].start, holes[i].stop, t) for i, t in filled.texts.items()))
    if settings.mark and not interrupted:
        left = [(h, t) for h, t in zip(holes, tasks, strict=True) if t["outcome"] not in ("proved", "data")]
        edits += [e for h, t in left if (e := mark(text, h.start, h.stop, t["outcome"], t["lean_calls"])) is not None]
    answer = {
        **document(tasks, began, interrupted, executor.lean),
        **figures,
        "unreached": _unreached(text, every),
        "failure": failure,
    }
    return answer, text.to_bytes(edits), Standing("", text, every, filled.texts)


def _task(place: str, file: SourceFile, number: int, hole: Hole, settings: Settings) -> Task:
    where = f"{hole.name} at {hole.line}:{hole.column}"
    theorem = Theorem(hole.name, "", context=file.text.path, imports=file.imports)
    stated = theorem_at(file.text, hole.start) if settings.disprove and not file.before else None
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


def _answer(
    number: int, hole: Hole, row: dict[str, Any], last_calls: int, filled: Filled, log: Results
) -> dict[str, Any]:
    """A sorry's row in the answer. Records in the results what the audit of the file says of its proof."""
    task = dict(row)
    if task["outcome"] in WITH_PROOF:
        proved = number in filled.texts
        outcome = "proved" if proved else "error" if number in filled.unjudged else "rejected"
        reason = "" if proved else filled.refused.get(number, "")
        if (outcome, reason) != (task["outcome"], task["reason"]):
            task.update(outcome=outcome, reason=reason)
            if outcome != "error":  # the audit's fault and not the proof's: a resumed command audits it again
                log.add({**{k: v for k, v in task.items() if k != "outline"}, "lean_calls": last_calls})
    shown = {k: v for k, v in task.items() if k not in (*NOT_SHOWN, "area")}
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
        elif all(word != "sorry" for word, _ in code_words(own.text.body)):
            found.append(Standing(own.module, own.text))
        else:
            sources = tuple(b.source(proved=True) for b in found)
            holes = await executor.sorries(SourceFile(own.text, imports.shipped, sources))
            found.append(Standing(own.module, own.text, holes))
    return found


def _unreached(text: LeanText, holes: Sequence[Hole]) -> list[int]:
    """Lines of `sorry`s that Lean never elaborates, as in a field's default tactic or an unused alternative of `first`."""
    starts = {h.start for h in holes}
    found = [len(text.text[:i].encode()) for word, i in code_words(text.text) if word == "sorry"]
    return sorted({text.line(at) for at in found if at not in starts})


def sorry_count(text: LeanText) -> int:
    """How often the word `sorry` stands in the file's code."""
    return sum(word == "sorry" for word, _ in code_words(text.body))
