"""Prove the sorries of a .lean file or project, the theorems of a .jsonl file, or a theorem set."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from prover import plugins
from prover.console import answer, plain, say, table_console
from prover.errors import UserError
from prover.files import check_writable, read_file, write_whole
from prover.lean.project import PROJECT_FILES, Project, imports_of, is_project
from prover.lean.text import MAX_BYTES, LeanText, parse, read
from prover.lean.theorem import Theorem
from prover.search import Budget
from prover.solve.batch import executor_for, prove_theorems
from prover.solve.data_sets import SUFFIXES, is_data_set, load_theorems
from prover.solve.lean_file import prove_file, sorry_count, write_over
from prover.solve.policies import provers_named
from prover.solve.results import Results
from prover.solve.session import Settings
from prover.solve.statements import theorem_of
from prover.solve.theorem_rows import fields_of

THEOREMS = "turnstile.theorems"
"""Entry-point group of functions from (text after the prefix or path, --sources) to a LeanText or a list of theorems."""


_LINE = re.compile(r"(.+\.lean):(\d+)")


@dataclass(frozen=True)
class ProveOptions:
    """Find proofs and audit each of them in its context."""

    target: tyro.conf.Positional[str | None] = None
    """FILE.lean (every `sorry` is a task), FILE.lean:LINE, - (Lean source on standard input), the folder of a Lake project, a data
    set (FILE.jsonl, FILE.json, FILE.parquet, or a folder of these), FILE.json of LeanDojo Benchmark with --sources, library:MODULE
    (also with *), or set:NAME (see `turnstile sets`)."""
    statement: str | None = None
    """One statement, as written after `theorem NAME`: binders, colon, type."""
    name: str = "statement"
    """Name of the statement."""
    imports: tuple[str, ...] = ()
    """Modules to import for statements that specify none."""
    fields: tuple[str, ...] = ()
    """PART=FIELD …: the fields of a data set that contain the theorem's parts (statement, name, header, imports), as in
    `--fields statement=autoformalization`. Those of public benchmarks need none."""
    policy: str = "portfolio"
    """portfolio, explorer, the folder of a run or checkpoint, or http://…. Several, separated by commas, are tried in turn."""
    budget: int = 64
    """Lean calls for each theorem. With --total-budget, the limit of a theorem's last and largest try."""
    seconds: float | None = None
    """Wall time for each theorem (with --total-budget, for each try). Time limits make results machine-dependent."""
    tokens: int | None = None
    """Model tokens, read and written, for each theorem."""
    out: Path | None = None
    """Write the filled file, or the proofs for other inputs, to this path. Default: standard output."""
    in_place: bool = False
    """Overwrite FILE.lean, or the project's files, with the filled ones."""
    results: Path | None = None
    """Append a JSON line for each task to this file. `turnstile report` renders it as a page."""
    resume: bool = False
    """Continue from the results file. Default without --results: results.jsonl beside the output."""
    retry: bool = False
    """Like --resume, but first try the tasks without a proof again, with the budget and policy of this command."""
    workers: int = 0
    """Lean processes. 0: as many as cores and memory allow."""
    total_budget: int | None = None
    """Lean calls for all theorems together: a few for each first, then more where they solve the most."""
    disprove: float = 0.0
    """Share of the Lean calls spent on the negation. In a .lean file, only for sorries that are a theorem's whole proof."""
    sources: Path | None = None
    """Checkout of the repository that a LeanDojo Benchmark file describes."""
    look: bool = True
    """Do not flag statements with contradictory hypotheses and goals that one tactic closes."""
    ray: str | None = None
    """Address of a Ray cluster that does the work (`auto`: the one this machine is in; `local`: one started here)."""
    tree: Path | None = None
    """Write the search as an HTML page; for several tasks, a folder of pages."""
    limit: int | None = None
    """Maximum number of tasks."""
    only: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Try only the tasks with this name: a declaration, or one `sorry` in it (NAME#2). Repeatable, or separated by commas."""
    mark_failed: bool = False
    """Add a comment after each remaining `sorry` in the filled file."""
    seed: int = 0
    """Random seed."""
    json: bool = False
    """Print one JSON document."""

    def check(self) -> None:
        """Raise UserError for options out of range and for conflicting options."""
        numbers = {"budget": self.budget, "limit": self.limit, "total-budget": self.total_budget, "tokens": self.tokens}
        for name, number in numbers.items():
            if number is not None and number < 1:
                raise UserError(f"--{name} {number}: must be at least 1")
        if self.seconds is not None and not self.seconds > 0:
            raise UserError(f"--seconds {self.seconds:g}: must be more than 0")
        if self.workers < 0:
            raise UserError(f"--workers {self.workers}: must be at least 0")
        if not 0.0 <= self.disprove <= 1.0:
            raise UserError(f"--disprove {self.disprove:g}: must be between 0 and 1")
        if (self.target is None) == (self.statement is None):
            raise UserError("give one of: FILE.lean, FILE.jsonl, library:MODULE, set:NAME, or --statement")
        fields_of(self.fields)
        if self.name != "statement" and self.statement is None:
            raise UserError("--name goes with --statement")
        if self.in_place and self.out is not None:
            raise UserError("--in-place and --out exclude each other")
        if self.ray is not None:
            from prover.solve.ray_executor import check_reachable

            check_reachable(self.ray)
        _distinct(self.target, self.out, self.results, self.tree)

    def settings(self) -> Settings:
        return Settings(
            provers_named(self.policy, self.seed),
            self.budget,
            self.workers,
            self.disprove,
            self.tree,
            self.limit,
            self.seed,
            self.policy,
            self.total_budget,
            self.look,
            self.ray,
            Budget(model_tokens=self.tokens, seconds=self.seconds),
            self.mark_failed,
            only=tuple(name.strip() for names in self.only for name in names.split(",") if name.strip()),
        )


def prove(options: ProveOptions) -> int:
    """Run the command and return its exit code."""
    options.check()
    settings = options.settings()
    options = replace(options, resume=options.resume or options.retry)
    if options.target is not None and _names_project(Path(options.target)):
        return _project(Path(options.target), options, replace(settings, project=True))
    if options.target is not None and (at := _LINE.fullmatch(options.target)) and not os.path.lexists(options.target):
        options, settings = replace(options, target=at[1]), replace(settings, line=int(at[2]))
    if options.fields and not (options.target is not None and is_data_set(Path(options.target))):
        raise UserError(f"--fields is for data sets ({', '.join(SUFFIXES)})")
    text, theorems = _input(options)
    if text is not None and options.imports:
        first = options.imports[0]
        raise UserError(f"--imports is not for .lean files: write `import {first}` at the top of {text.path}")
    if text is None and (options.in_place or options.mark_failed):
        option = "--in-place" if options.in_place else "--mark-failed"
        raise UserError(f"{option} is for .lean files: other inputs have no `sorry`")
    if options.in_place and options.target == "-":
        raise UserError("--in-place cannot change standard input: leave it out to print the filled text")
    destination = Path(text.path) if text is not None and options.in_place else options.out
    _check_outputs(options.tree, destination, options.results)
    results = options.results
    if options.resume and results is None:
        results = (destination or Path("x")).with_name("results.jsonl")
    log = Results(results, _asked(_fingerprint(text, theorems), settings), options.resume, options.retry)
    try:
        if text is not None:
            document, filled = asyncio.run(_file(text, settings, log))
        else:
            document, filled = asyncio.run(prove_theorems(theorems, settings, log))
    finally:
        log.close()
    if text is not None and options.in_place:
        if document["interrupted"] and results is not None:
            destination = None  # the results describe the original file
            filled = b""
            say(f"turnstile: {text.path} is unchanged; the same command with --resume continues from {results}")
        else:
            destination = write_over(text, filled)
    elif destination is not None:
        write_whole(destination, filled)
    return _finish(document, options.target or options.name, settings, filled, destination, options.json)


def _asked(fingerprint: str, settings: Settings) -> dict[str, Any]:
    """The settings that results depend on. A results file is resumed only with the same ones."""
    limits = {"seconds": settings.within.seconds, "tokens": settings.within.model_tokens}
    return {
        "input": fingerprint,
        "policy": settings.policy,
        "budget": settings.budget,
        "seed": settings.seed,
        "total_budget": settings.total,
        "disprove": settings.disprove,
        "look": settings.look,
        # Omitted if unset, so that results files older than these limits still match.
        **{name: limit for name, limit in limits.items() if limit is not None},
    }


async def _file(text: LeanText, settings: Settings, log: Results) -> tuple[dict[str, Any], bytes]:
    async with executor_for(settings, sorry_count(text)) as executor:
        document, filled, _ = await prove_file(text, settings, log, executor)
    return document, filled


def _finish(
    document: dict[str, Any], name: str, settings: Settings, filled: bytes, destination: Path | None, json: bool
) -> int:
    """Show the answer and return the exit code."""
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
    wrong = document.get("errors") or any(left["used"] for left in document.get("unreached", ()))
    return 0 if document["proved"] == document["total"] and not skipped and not wrong else 1


def _distinct(target: str | None, out: Path | None, results: Path | None, tree: Path | None) -> None:
    """Raise UserError if two outputs, or an output and the input, are the same file. --out may name the input .lean file."""
    taken = {os.path.realpath(target): "the input"} if target is not None else {}
    if target is not None and target.endswith(".lean") and out is not None and os.path.realpath(out) in taken:
        taken = {}
    for option, path in (("--out", out), ("--results", results), ("--tree", tree)):
        if path is None:
            continue
        if (other := taken.setdefault(os.path.realpath(path), option)) != option:
            raise UserError(f"{option} {path}: is the same file as {other}; name another file")


def _check_outputs(tree: Path | None, *files: Path | None) -> None:
    """Raise UserError for an unwritable output. --tree may name an existing folder."""
    for path in (*files, None if tree is not None and tree.is_dir() else tree):
        if path is not None:
            check_writable(path)


def _names_project(path: Path) -> bool:
    """Whether a path is a folder other than a data set's."""
    return path.is_dir() and (is_project(path) or not is_data_set(path))


def _project(folder: Path, options: ProveOptions, settings: Settings) -> int:
    from prover.solve.project import project_files, prove_project

    out, results = options.out, options.results
    if not is_project(folder):
        raise UserError(
            f"{folder}: is a folder without a lakefile; name a Lake project, a folder of {', '.join(SUFFIXES)} files, or a .lean file"
        )
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; for a project, --out names a folder")
    if out is not None and not options.resume and out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out}: is not empty and would be overwritten; name a new folder, or pass --resume")
    _check_outputs(settings.tree, results)
    if results is None and options.resume:
        results = folder / "results.jsonl"
    if settings.only:
        raise UserError("--only is for one input: name FILE.lean of the project")
    own = Project(folder)
    project_files(own)  # raises if there is nothing to do
    log = Results(results, _asked(_project_fingerprint(own), settings), options.resume, options.retry)
    try:
        document = asyncio.run(prove_project(own, settings, log, out, options.in_place, options.resume))
    finally:
        log.close()
    document["out"] = str(out) if out else None
    return _finish(document, str(folder), settings, b"", folder, options.json)


def _show(document: dict[str, Any], filled: bytes, destination: Path | None, json: bool) -> None:
    if json:
        if destination is None:
            document["source"] = filled.decode()
        answer(document)
        return
    if destination is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(filled)
        sys.stdout.buffer.flush()
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1))
    for title in ("line", "name", "outcome", "Lean calls", "proof or reason", "remarks"):
        table.add_column(title, overflow="fold")
    for task in document["tasks"]:
        shown = task["reason"] if task["outcome"] == "rejected" else task["proof"] or task["reason"]
        last = plain(shown.replace("\n", " ↵ "))
        colour = {"proved": "green", "disproved": "magenta"}.get(task["outcome"], "yellow")
        place = [task["file"], task["line"]] if "file" in task else [task["line"]]
        table.add_row(
            ":".join(str(part) for part in place if part),
            Text(plain(task["name"])),
            Text(task["outcome"], colour),
            str(task["lean_calls"]),
            Text(last[:100]),
            Text(plain("; ".join(r["text"] for r in task["remarks"]))),
        )
    table_console(stderr=True).print(table)
    for left in document.get("unreached", ()):
        line = f"line {left['line']}" if left["line"] else ""
        where = ": ".join(part for part in (left.get("file", ""), line, left["name"]) if part)
        say(plain(f"{where}: a `sorry` that cannot be tried: {left['reason']}"))
    say(f"{document['proved']} of {document['total']} proved in {document['seconds']:.1f} s by {document['lean']}")
    if "lean_utilisation" in document:
        peak = document["memory_mb"]["peak"]  # 0 with --ray: other machines' memory is not measured
        memory = f"; its processes used at most {peak / 1024:.1f} GiB" if peak else ""
        say(f"Lean was busy {document['lean_utilisation']:.0%} of the time{memory}")


def _input(options: ProveOptions) -> tuple[LeanText | None, list[Theorem]]:
    """Returns (the .lean file or None, the theorems of any other input). Raises UserError."""
    target, sources = options.target, options.sources
    if options.statement is not None:
        row = {"name": options.name, "statement": options.statement}
        return None, [theorem_of(row, "--statement", options.imports)]
    assert target is not None
    prefix, _, rest = target.partition(":")
    path = Path(target)
    sources_of = plugins.registered(THEOREMS)
    if rest and prefix in sources_of and not os.path.lexists(path):
        return _by_type(plugins.load(THEOREMS, prefix)(rest, sources))
    if target == "-":
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UserError(f"<stdin>: larger than {MAX_BYTES >> 20} MiB")
        return parse(data, "<stdin>"), []
    if path.suffix == ".lean":
        return read(path), []
    if not os.path.lexists(path):
        raise UserError(f"{target}: no such file")
    # A `.json` file is a split of LeanDojo Benchmark if its repository is given.
    if is_data_set(path) and sources is None:
        return None, load_theorems(path, options.imports, fields_of(options.fields))
    if path.suffix[1:] in sources_of:
        return _by_type(plugins.load(THEOREMS, path.suffix[1:])(target, sources))
    raise UserError(
        f"{target}: unknown input; name a .lean file, a Lake project, or a data set ({', '.join(SUFFIXES)})"
    )


def _by_type(found: LeanText | list[Theorem]) -> tuple[LeanText | None, list[Theorem]]:
    return (None, found) if isinstance(found, list) else (found, [])


def _fingerprint(text: LeanText | None, theorems: list[Theorem]) -> str:
    """Hash of the input: a file and its source imports, or the theorems."""
    if text is not None:
        what = "\0".join([text.text, *(own.text.text for own in imports_of(text).own)])
    else:
        what = repr([(t.name, t.statement, t.library, t.imports, t.context, *t.before) for t in theorems])
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def _project_fingerprint(project: Project) -> str:
    """Hash of all files of a project, including those that specify its packages."""
    found = hashlib.sha256()
    also = [path for name in PROJECT_FILES if (path := project.folder / name).is_file()]
    for path in [*project.files(), *also]:
        found.update(f"{path.relative_to(project.folder).as_posix()}\0".encode())
        found.update(hashlib.sha256(read_file(project.inside(path), MAX_BYTES)).digest())
    return found.hexdigest()[:16]
