"""Prove the sorries of a .lean file or project, the theorems of a .jsonl file, or a theorem set."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prover import plugins
from prover.commands.prove_options import ProveOptions
from prover.commands.prove_output import show
from prover.console import plain, say
from prover.errors import UserError
from prover.files import check_writable, read_file, write_whole
from prover.lean.mathlib import use_mathlib
from prover.lean.project import PROJECT_FILES, Project, imports_of, is_project
from prover.lean.text import MAX_BYTES, LeanText, parse, read
from prover.lean.theorem import Theorem
from prover.lean.toolchain import obey
from prover.solve.batch import executor_for, prove_theorems
from prover.solve.changed import changed_files, working_project
from prover.solve.data_sets import SUFFIXES, is_data_set, load_theorems
from prover.solve.lean_file import prove_file, sorry_count, write_over
from prover.solve.learning import Learner, LearnOptions, Searched, learner_for, with_learning
from prover.solve.lemmas import Lemma, read_lemmas
from prover.solve.results import Results
from prover.solve.session import Settings
from prover.solve.statements import theorem_of
from prover.solve.theorem_rows import fields_of
from prover.solve.with_lemmas import prove_with_lemmas

THEOREMS = "turnstile.theorems"
"""Entry-point group of functions from (text after the prefix or path, --sources) to a LeanText or a list of theorems."""


_LINE = re.compile(r"(.+\.lean):(\d+)")


@dataclass(frozen=True)
class Answer:
    """The result of a command."""

    document: dict[str, Any]
    """The answer as for `--json`, without the filled source."""
    filled: bytes
    """The filled file, or the proofs as Lean source. Empty for a project."""
    destination: Path | None
    """The file or project that was written."""
    failure: Exception | None
    """The error that ended the batch early, if any."""

    @property
    def whole(self) -> dict[str, Any]:
        """The document, with the filled source unless that is in a file."""
        return self.document if self.destination is not None else {**self.document, "source": self.filled.decode()}


def prove(options: ProveOptions) -> int:
    """Run the command and return its exit code."""
    found = answered(options)
    document = found.document
    show(document, found.filled, found.destination, "json" if options.json else options.format)
    if found.failure is not None:
        raise found.failure
    if document["interrupted"]:
        return 130
    skipped = any(f["reason"] for f in document.get("files", ()))
    wrong = document.get("errors") or any(left["used"] for left in document.get("unreached", ()))
    return 0 if document["proved"] == document["total"] and not skipped and not wrong else 1


def answered(options: ProveOptions, theorems: Sequence[Theorem] | None = None) -> Answer:
    """Do the work of the command, files included. `theorems`: try these instead of the target. Raises UserError."""
    if options.changed and options.target is None:
        options = replace(options, target=str(working_project()))
    options.check()
    options = replace(options, resume=options.resume or options.retry)
    learner = _learner(options)  # before the policy's model is loaded
    settings = options.settings()
    text: LeanText | None = None
    if theorems is None:
        if options.target is not None and _names_project(Path(options.target)):
            if learner is not None:
                raise UserError(f"{options.target}: --learn is not for projects; name one FILE.lean of it")
            obey([Path(options.target)])
            return _project(Path(options.target), options, replace(settings, project=True))
        if options.target is not None and (at := _LINE.fullmatch(options.target)) and not os.path.lexists(at[0]):
            options, settings = replace(options, target=at[1]), replace(settings, line=int(at[2]))
        obey(_pinned_by(options))
        if options.fields and not (options.target is not None and is_data_set(Path(options.target))):
            raise UserError(f"--fields is for data sets ({', '.join(SUFFIXES)})")
        text, theorems = _input(options)
    used = text.imports if text is not None else {module for theorem in theorems for module in theorem.imports}
    use_mathlib(used, Path(options.target) if options.target is not None else None)
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
    lemmas = read_lemmas(read(options.lemmas)) if options.lemmas is not None else []
    if learner is not None and (library := next((t.name for t in theorems if t.statement is None), None)):
        raise UserError(
            f"--learn: {library} is a theorem of the library, whose statement has no source; use theorems with statements"
        )
    results = _results(options, destination)
    log = Results(results, _asked(_fingerprint(text, theorems, lemmas), settings), options.resume, options.retry)

    def search() -> Searched:
        if text is not None:
            return asyncio.run(_file(text, settings, log, lemmas))
        return asyncio.run(prove_theorems(list(theorems), settings, log))

    try:
        document, filled = search() if learner is None else with_learning(learner, search, log)
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
    return _answer(document, options.target or options.name, settings, filled, destination)


def _results(options: ProveOptions, destination: Path | None) -> Path | None:
    """The results file. `destination`: the file that will be written."""
    if options.resume and options.results is None:
        return (destination or Path("x")).with_name("results.jsonl")
    return options.results


def _learner(options: ProveOptions) -> Learner | None:
    """The learner for --learn; None without that option. Raises UserError."""
    if options.learn is None:
        return None
    in_place = Path(options.target) if options.in_place and options.target is not None else None
    results = _results(options, in_place or options.out)
    out = options.learn_out or (results.with_name(f"{results.name}.learned") if results is not None else None)
    return learner_for(
        LearnOptions(
            options.learn,
            options.policy,
            out,
            options.resume,
            options.learn_settings,
            options.learn_variants,
            options.budget,
            options.rule,
            options.workers,
            options.ray,
            options.seed,
        )
    )


def _pinned_by(options: ProveOptions) -> list[Path]:
    """The paths whose `lean-toolchain` decides which Lean runs: the input, or for a statement with imports the working folder."""
    if options.target is None:
        return [Path.cwd()] if options.imports else []
    return [Path(options.target)] if os.path.lexists(options.target) else []


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
        "look": settings.find_remarks,
        # Omitted if unset, so that results files older than these limits still match.
        **{name: limit for name, limit in limits.items() if limit is not None},
        **({"rule": settings.rule} if settings.rule else {}),
    }


async def _file(
    text: LeanText, settings: Settings, log: Results, lemmas: Sequence[Lemma]
) -> tuple[dict[str, Any], bytes]:
    async with executor_for(settings, sorry_count(text)) as executor:
        if lemmas:
            document, filled = await prove_with_lemmas(text, lemmas, settings, log, executor)
            _say_lemmas(document["lemmas"], text.path)
            return document, filled
        document, filled, _ = await prove_file(text, settings, log, executor)
    return document, filled


def _say_lemmas(lemmas: Sequence[dict[str, Any]], path: str) -> None:
    if lemmas:
        names = ", ".join(plain(lemma["name"]) for lemma in lemmas)
        where = f"before line {lemmas[0]['line'] + 1} of {plain(path)}"
        say(f"turnstile: {len(lemmas)} lemmas help and stand {where} in the filled file: {names}")
    else:
        say(f"turnstile: no proof of {plain(path)} uses a lemma of the library")


def _answer(document: dict[str, Any], name: str, settings: Settings, filled: bytes, destination: Path | None) -> Answer:
    failure = document.pop("failure")
    document.pop("open", None)
    out = str(destination) if destination is not None and not settings.project else None
    asked = {"input": name, "policy": settings.policy, "budget": settings.budget, "out": out}
    return Answer({**asked, **document}, filled, destination, failure)


def _check_outputs(tree: Path | None, *files: Path | None) -> None:
    """Raise UserError for an unwritable output. --tree may name an existing folder."""
    for path in (*files, None if tree is not None and tree.is_dir() else tree):
        if path is not None:
            check_writable(path)


def _names_project(path: Path) -> bool:
    """Whether a path is a folder other than a data set's."""
    return path.is_dir() and (is_project(path) or not is_data_set(path))


def _project(folder: Path, options: ProveOptions, settings: Settings) -> Answer:
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
    own = Project(folder, changed_files(folder, options.base) if options.changed else None)
    if own.chosen is not None and not project_files(own):
        say(f"turnstile: {folder}: no changed .lean file has a `sorry`")
        empty = {"tasks": [], "proved": 0, "total": 0, "interrupted": False, "lean": "", "seconds": 0.0}
        return _answer({**empty, "failure": None}, str(folder), settings, b"", folder)
    project_files(own)  # raises if there is nothing to do
    log = Results(results, _asked(_project_fingerprint(own), settings), options.resume, options.retry)
    try:
        document = asyncio.run(prove_project(own, settings, log, out, options.in_place, options.resume))
    finally:
        log.close()
    document["out"] = str(out) if out else None
    return _answer(document, str(folder), settings, b"", folder)


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


def _fingerprint(text: LeanText | None, theorems: Sequence[Theorem], lemmas: Sequence[Lemma] = ()) -> str:
    """Hash of the input: a file, its source imports and the lemmas for it, or the theorems."""
    if text is not None:
        own = (own.text.text for own in imports_of(text).own)
        what = "\0".join([text.text, *own, *(lemma.source for lemma in lemmas)])
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
