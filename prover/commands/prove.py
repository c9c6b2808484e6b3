"""Find proofs: for the sorries of a .lean file or project, a .jsonl file, or a theorem set."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from prover import plugins
from prover.console import answer, plain, say
from prover.errors import UserError
from prover.files import check_writable, read_file, write_whole
from prover.lean.project import PROJECT_FILES, Project, imports_of, is_project
from prover.lean.text import MAX_BYTES, LeanText, read
from prover.lean.theorem import Theorem
from prover.search import Budget
from prover.solve.batch import executor_for, prove_theorems
from prover.solve.jsonl_theorems import load_jsonl
from prover.solve.lean_file import prove_file, write_over
from prover.solve.policies import provers_named
from prover.solve.results import Results
from prover.solve.session import Settings

THEOREMS = "turnstile.theorems"
"""Group of entry points: functions from (text after the prefix, or path; --sources) to a file's text or theorems."""


def prove(
    target: Annotated[str | None, tyro.conf.Positional] = None,
    *,
    statement: str | None = None,
    name: str = "statement",
    imports: tuple[str, ...] = (),
    policy: str = "portfolio",
    budget: int = 64,
    seconds: float | None = None,
    tokens: int | None = None,
    out: Path | None = None,
    in_place: bool = False,
    results: Path | None = None,
    resume: bool = False,
    workers: int = 0,
    total_budget: int | None = None,
    disprove: float = 0.0,
    sources: Path | None = None,
    look: bool = True,
    ray: str | None = None,
    tree: Path | None = None,
    limit: int | None = None,
    mark_failed: bool = False,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Find proofs, and have every one audited in its own context.

    Args:
        target: FILE.lean (every `sorry` is a task), a Lake project's folder, FILE.jsonl, FILE.json of LeanDojo Benchmark,
            library:MODULE (also with *), or set:NAME (see `turnstile sets`).
        statement: one statement, as it stands after `theorem NAME`: binders, colon, type.
        name: what to call that statement.
        imports: modules to import, for statements that do not name their own.
        policy: portfolio, explorer, the folder of a run or checkpoint, http://…; several with commas, tried in turn.
        budget: Lean calls a theorem; with --total-budget, calls that the last and largest of its tries may take.
        seconds: wall time that a theorem may take besides (with --total-budget, each of its tries). What a time limit ends
            comes out otherwise on another machine.
        tokens: tokens that models may read and write in a theorem's searches.
        out: write the filled file (or the proofs, for other inputs) here. Without it, it goes to standard output.
        in_place: write the filled file over FILE.lean.
        results: keep a line a task here (JSON), as it goes; `turnstile report` makes a page of it.
        resume: go on with that results file; without --results, with results.jsonl beside the output.
        workers: Lean processes; 0: as many as cores and memory allow.
        total_budget: Lean calls for all theorems together: a little for each first, then more where it pays best.
        disprove: share of the Lean calls spent on proving that a statement is false. In a .lean file this concerns sorries
            that are the whole proof of a theorem.
        sources: for LeanDojo Benchmark: a checkout of the repository that the file is about.
        look: say what is odd about a statement: hypotheses that contradict each other, one tactic that closes it.
        ray: address of a Ray cluster whose machines do the work (`auto`: the one this machine is in; `local`: one of this
            machine's processes).
        tree: write the search as an HTML page; with several tasks, a folder of pages.
        limit: only the first so many tasks.
        mark_failed: in the filled file, leave a comment behind every `sorry` that stays.
        seed: of whatever is drawn at random.
        json: print one JSON document.
    """
    _check_numbers(budget, seconds, tokens, workers, disprove, limit, total_budget)
    if (target is None) == (statement is None):
        raise UserError("give one of: FILE.lean, FILE.jsonl, library:MODULE, set:NAME, or --statement")
    if name != "statement" and statement is None:
        raise UserError("--name goes with --statement")
    if ray is not None:
        from prover.solve.ray_executor import check_reachable

        check_reachable(ray)
    _distinct(target, out, results, tree)
    settings = Settings(
        provers_named(policy, seed),
        budget,
        workers,
        disprove,
        tree,
        limit,
        seed,
        policy,
        total_budget,
        look,
        ray,
        Budget(model_tokens=tokens, seconds=seconds),
        mark_failed,
    )
    if target is not None and Path(target).is_dir():
        return _project(Path(target), replace(settings, project=True), out, in_place, results, resume, json)
    text, theorems = _input(target, statement, name, imports, sources)
    if text is not None and imports:
        raise UserError(f"--imports is not for .lean files: write `import {imports[0]}` at the top of {text.path}")
    if in_place and (text is None or out is not None):
        raise UserError("--in-place is for a .lean file, and without --out")
    if mark_failed and text is None:
        raise UserError("--mark-failed is for .lean files: other inputs have no `sorry` to leave a comment behind")
    destination = Path(text.path) if text is not None and in_place else out
    _check_outputs(tree, destination, results)
    if resume and results is None:
        results = (destination or Path("x")).with_name("results.jsonl")
    log = Results(results, _asked(_fingerprint(text, theorems), settings), resume)
    try:
        if text is not None:
            document, filled = asyncio.run(_file(text, settings, log))
        else:
            document, filled = asyncio.run(prove_theorems(theorems, settings, log))
    finally:
        log.close()
    if text is not None and in_place:
        if document["interrupted"] and results is not None:
            destination = None  # the file stays as the results describe it
            filled = b""
            say(f"turnstile: {text.path} is unchanged; the same command with --resume continues from {results}")
        else:
            destination = write_over(text, filled)
    elif destination is not None:
        write_whole(destination, filled)
    return _finish(document, target or name, settings, filled, destination, json)


def _check_numbers(
    budget: int,
    seconds: float | None,
    tokens: int | None,
    workers: int,
    disprove: float,
    limit: int | None,
    total_budget: int | None,
) -> None:
    """Raise UserError for an option out of its range."""
    if budget < 1:
        raise UserError(f"--budget {budget}: at least 1 Lean call")
    if seconds is not None and not seconds > 0:
        raise UserError(f"--seconds {seconds:g}: a time above 0")
    if tokens is not None and tokens < 1:
        raise UserError(f"--tokens {tokens}: at least 1")
    if workers < 0:
        raise UserError(f"--workers {workers}: a number of processes, or 0")
    if not 0.0 <= disprove <= 1.0:
        raise UserError(f"--disprove {disprove:g}: a share between 0 and 1")
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit}: at least 1")
    if total_budget is not None and total_budget < 1:
        raise UserError(f"--total-budget {total_budget}: at least 1 Lean call")


def _asked(fingerprint: str, settings: Settings) -> dict[str, Any]:
    """The settings that results depend on: a results file is resumed only with the same ones."""
    limits = {"seconds": settings.within.seconds, "tokens": settings.within.model_tokens}
    return {
        "input": fingerprint,
        "policy": settings.policy,
        "budget": settings.budget,
        "seed": settings.seed,
        "total_budget": settings.total,
        "disprove": settings.disprove,
        "look": settings.look,
        # Absent where there is none, so that files from before these limits existed still match.
        **{name: limit for name, limit in limits.items() if limit is not None},
    }


async def _file(text: LeanText, settings: Settings, log: Results) -> tuple[dict[str, Any], bytes]:
    async with executor_for(settings, 2) as executor:
        document, filled, _ = await prove_file(text, settings, log, executor)
    return document, filled


def _finish(
    document: dict[str, Any], name: str, settings: Settings, filled: bytes, destination: Path | None, json: bool
) -> int:
    """Show the answer; the exit code."""
    failure = document.pop("failure")
    project = settings.project
    out = destination if destination is not None and not project else None
    document = {
        "input": name,
        "policy": settings.policy,
        "budget": settings.budget,
        "out": str(out) if out else None,
        **document,
    }
    _show(document, filled, destination, json)
    if failure is not None:
        raise failure
    if document["interrupted"]:
        return 130
    skipped = any(f["reason"] for f in document.get("files", ()))
    return 0 if document["proved"] == document["total"] and not skipped else 1


def _distinct(target: str | None, out: Path | None, results: Path | None, tree: Path | None) -> None:
    """Raise UserError where one file would be written over another. A .lean file may be filled in its place."""
    taken = {os.path.realpath(target): "the input"} if target is not None else {}
    if target is not None and target.endswith(".lean") and out is not None and os.path.realpath(out) in taken:
        taken = {}
    for option, path in (("--out", out), ("--results", results), ("--tree", tree)):
        if path is None:
            continue
        if (other := taken.setdefault(os.path.realpath(path), option)) != option:
            raise UserError(f"{option} {path}: is {other}, too, and would be written over: name another file")


def _check_outputs(tree: Path | None, *files: Path | None) -> None:
    """Raise UserError for what could not be written later. Pages may go into a folder that is there."""
    for path in (*files, None if tree is not None and tree.is_dir() else tree):
        if path is not None:
            check_writable(path)


def _project(
    folder: Path, settings: Settings, out: Path | None, in_place: bool, results: Path | None, resume: bool, json: bool
) -> int:
    from prover.solve.project import project_files, prove_project

    if not is_project(folder):
        raise UserError(f"{folder}: is a folder without a lakefile; name a .lean or .jsonl file in it")
    if in_place and out is not None:
        raise UserError("--in-place is without --out")
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; for a project, --out names a folder")
    if out is not None and not resume and out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out}: is not empty, and its files would be overwritten: name a new folder, or --resume")
    _check_outputs(settings.tree, results)
    if results is None and resume:
        results = folder / "results.jsonl"
    own = Project(folder)
    project_files(own)  # raises where there is nothing to do
    log = Results(results, _asked(_project_fingerprint(own), settings), resume)
    try:
        document = asyncio.run(prove_project(own, settings, log, out, in_place, resume))
    finally:
        log.close()
    document["out"] = str(out) if out else None
    return _finish(document, str(folder), settings, b"", folder, json)


def _show(document: dict[str, Any], filled: bytes, destination: Path | None, json: bool) -> None:
    if json:
        if destination is None:
            document["source"] = filled.decode()
        answer(document)
        return
    if destination is None:
        import sys

        sys.stdout.flush()
        sys.stdout.buffer.write(filled)
        sys.stdout.buffer.flush()
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1))
    for title in ("line", "name", "outcome", "Lean calls", "proof or reason", "the statement"):
        table.add_column(title)
    for task in document["tasks"]:
        last = plain((task["proof"] or task["reason"]).replace("\n", " ↵ "))
        colour = {"proved": "green", "disproved": "magenta"}.get(task["outcome"], "yellow")
        table.add_row(
            str(task["line"] or ""),
            Text(plain(task["name"])),
            Text(task["outcome"], colour),
            str(task["lean_calls"]),
            Text(last[:100]),
            Text(plain("; ".join(r["text"] for r in task["remarks"]))),
        )
    Console(stderr=True).print(table)
    say(f"{document['proved']} of {document['total']} proved in {document['seconds']:.1f} s by {document['lean']}")
    if "lean_utilisation" in document:
        memory = document["memory_mb"]["peak"] / 1024
        say(
            f"Lean had work {document['lean_utilisation']:.0%} of the time; at most {memory:.1f} GiB in all its processes"
        )


def _input(
    target: str | None, statement: str | None, name: str, imports: tuple[str, ...], sources: Path | None
) -> tuple[LeanText | None, list[Theorem]]:
    if statement is not None:
        from prover.solve.statements import theorem_of

        return None, [theorem_of({"name": name, "statement": statement}, "--statement", imports)]
    assert target is not None
    prefix, _, rest = target.partition(":")
    path = Path(target)
    sources_of = plugins.registered(THEOREMS)
    if rest and prefix in sources_of and not os.path.lexists(path):
        return _told_apart(plugins.load(THEOREMS, prefix)(rest, sources))
    if path.suffix == ".jsonl":
        return None, load_jsonl(path, imports)
    if path.suffix == ".lean":
        return read(path), []
    if not os.path.lexists(path):
        raise UserError(f"{target}: no such file")
    if path.suffix[1:] in sources_of:
        return _told_apart(plugins.load(THEOREMS, path.suffix[1:])(target, sources))
    raise UserError(f"{target}: neither .lean nor .jsonl nor .json")


def _told_apart(found: LeanText | list[Theorem]) -> tuple[LeanText | None, list[Theorem]]:
    return (None, found) if isinstance(found, list) else (found, [])


def _fingerprint(text: LeanText | None, theorems: list[Theorem]) -> str:
    """Of what is asked: a file, and those before it that its goals are about."""
    if text is not None:
        what = "\0".join([text.text, *(own.text.text for own in imports_of(text).own)])
    else:
        what = repr([(t.name, t.statement, t.library, t.imports, t.context) for t in theorems])
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def _project_fingerprint(project: Project) -> str:
    """Of all that a project's goals are about: every file, and what says which packages stand before them."""
    found = hashlib.sha256()
    also = [path for name in PROJECT_FILES if (path := project.folder / name).is_file()]
    for path in [*project.files(), *also]:
        found.update(f"{path.relative_to(project.folder).as_posix()}\0".encode())
        found.update(hashlib.sha256(read_file(project.inside(path), MAX_BYTES)).digest())
    return found.hexdigest()[:16]
