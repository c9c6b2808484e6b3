"""Prove the sorries of a .lean file or project, the theorems of a .jsonl file, or a theorem set."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from prover import plugins
from prover.commands.prove_output import show
from prover.console import plain, say
from prover.errors import UserError
from prover.files import check_writable, read_file, write_whole
from prover.lean.mathlib import use_mathlib
from prover.lean.project import PROJECT_FILES, Project, imports_of, is_project
from prover.lean.runtime import find_runtime
from prover.lean.text import MAX_BYTES, LeanText, parse, read
from prover.lean.theorem import Theorem
from prover.lean.toolchain import obey
from prover.solve.batch import executor_for, prove_theorems
from prover.solve.changed import changed_files, working_project
from prover.solve.data_sets import SUFFIXES, is_data_set, load_theorems
from prover.solve.lean_file import prove_file, sorry_count, write_over
from prover.solve.learning import LEARNERS, Learner, LearnOptions, Searched, with_learning
from prover.solve.lemmas import Lemma, read_lemmas
from prover.solve.options import ProveOptions, Settings
from prover.solve.project import project_files, prove_project
from prover.solve.results import Results
from prover.solve.statements import theorem_of
from prover.solve.theorem_rows import fields_of
from prover.solve.with_lemmas import prove_with_lemmas

THEOREMS = "turnstile.theorems"
"""Entry-point group of functions from (text after the prefix or path, --sources) to a LeanText or a list of theorems."""


_LINE = re.compile(r"(.+\.lean):(\d+)")


Answer = tuple[dict[str, Any], Exception | None]
"""(the document of `--json`, the error that ended the batch early or None). The document has the filled file or the proofs as `source`,
unless they are in a file."""


def prove(options: ProveOptions) -> int:
    """Run the command and return its exit code."""
    document, failure = answered(options)
    show(document, "json" if options.json else options.format)
    if failure is not None:
        raise failure
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
    target = Path(settings.target) if settings.target is not None else None
    if theorems is not None:
        return _answered(theorems, settings, learner)
    if target is not None and _names_project(target):
        if learner is not None:
            raise UserError(f"{target}: --learn is not for projects; name one FILE.lean of it")
        obey([target])
        return _project(target, replace(settings, target=str(target), project=True))
    if target is not None and (at := _LINE.fullmatch(str(settings.target))) and not os.path.lexists(at[0]):
        settings = replace(settings, target=at[1], line=int(at[2]))
    obey(_pinned_by(settings))
    if settings.fields and not (target is not None and is_data_set(target)):
        raise UserError(f"--fields is for data sets ({', '.join(SUFFIXES)})")
    return _answered(_input(settings), settings, learner)


def _answered(source: LeanText | Sequence[Theorem], settings: Settings, learner: Learner | None) -> Answer:
    """Prove a file or theorems. Raises UserError for options that are not for them."""
    text, theorems = (source, []) if isinstance(source, LeanText) else (None, list(source))
    used = text.imports if text is not None else {module for theorem in theorems for module in theorem.imports}
    use_mathlib(used, Path(settings.target) if settings.target is not None else None)
    if text is not None and settings.imports:
        first = settings.imports[0]
        raise UserError(f"--imports is not for .lean files: write `import {first}` at the top of {text.path}")
    if settings.sources is not None and (text is not None or settings.statement is not None):
        raise UserError("--sources is for FILE.json of LeanDojo Benchmark: leave it out")
    if text is None and (settings.in_place or settings.mark_failed):
        option = "--in-place" if settings.in_place else "--mark-failed"
        raise UserError(f"{option} is for .lean files: other inputs have no `sorry`")
    if settings.in_place and settings.target == "-":
        raise UserError("--in-place cannot change standard input: leave it out to print the filled text")
    if text is not None and settings.out is not None and os.path.realpath(settings.out) == os.path.realpath(text.path):
        settings = replace(settings, in_place=True)
    destination = Path(text.path) if text is not None and settings.in_place else settings.out
    _check_outputs(settings.tree, destination, settings.results)
    lemmas = read_lemmas(read(settings.lemmas)) if settings.lemmas is not None else []
    if learner is not None and (library := next((t.name for t in theorems if t.statement is None), None)):
        raise UserError(
            f"--learn: {library} is a theorem of the library, whose statement has no source; use theorems with statements"
        )
    results = _results(settings, destination)
    find_runtime()  # installs Lean here, because an event loop would not answer Ctrl-C meanwhile
    asked = _asked(_fingerprint(text, theorems, lemmas), settings)
    with closing(Results(results, asked, settings.resume, settings.retry)) as log:

        def search() -> Searched:
            if text is not None:
                return asyncio.run(_file(text, settings, log, lemmas))
            return asyncio.run(prove_theorems(theorems, settings, log))

        document, filled = search() if learner is None else with_learning(learner, search, log)
    if text is not None and settings.in_place:
        if document["interrupted"] and results is not None:  # the results describe the original file
            say(f"turnstile: {text.path} is unchanged; the same command with --resume continues from {results}")
            return _answer(document, settings, None, b"")
        destination = write_over(text, filled)
    elif destination is not None:
        write_whole(destination, filled)
    return _answer(document, settings, destination, filled if destination is None else None)


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
    return plugins.load(LEARNERS, "run")(
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
    return {
        "input": fingerprint,
        "policy": settings.policy,
        "budget": settings.budget,
        "seed": settings.seed,
        "total_budget": settings.total_budget,
        "disprove": settings.disprove,
        "look": settings.look,
        "seconds": settings.seconds,
        "tokens": settings.tokens,
        "rule": settings.rule,
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


def _answer(document: dict[str, Any], settings: Settings, out: Path | None, source: bytes | None = None) -> Answer:
    """`out`: the file or folder that was written."""
    failure = document.pop("failure")
    for name in ("open", "spent"):
        document.pop(name, None)
    asked = {
        "input": settings.target or settings.name,
        "policy": settings.policy,
        "budget": settings.budget,
        "out": str(out) if out is not None else None,
    }
    return {**asked, **document, **({} if source is None else {"source": source.decode()})}, failure


def _check_outputs(tree: Path | None, *files: Path | None) -> None:
    """Raise UserError for an unwritable output. --tree may name an existing folder."""
    for path in (*files, None if tree is not None and tree.is_dir() else tree):
        if path is not None:
            check_writable(path)


def _names_project(path: Path) -> bool:
    """Whether a path is a folder other than a data set's."""
    return path.is_dir() and (is_project(path) or not is_data_set(path))


def _project(folder: Path, settings: Settings) -> Answer:
    out = settings.out
    if not is_project(folder):
        raise UserError(
            f"{folder}: is a folder without a lakefile; name a Lake project, a folder of {', '.join(SUFFIXES)} files, or a .lean file"
        )
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; for a project, --out names a folder")
    if out is not None and not settings.resume and out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out}: is not empty and would be overwritten; name a new folder, or pass --resume")
    _check_outputs(settings.tree, settings.results)
    if settings.names:
        raise UserError("--only is for one input: name FILE.lean of the project")
    unfit = {"imports": settings.imports, "fields": settings.fields, "sources": settings.sources}
    if given := next((name for name, value in unfit.items() if value), None):
        raise UserError(f"--{given} is not for Lake projects: leave it out")
    own = Project(folder, changed_files(folder, settings.base) if settings.changed else None)
    if not project_files(own):
        say(f"turnstile: {folder}: no changed .lean file has a `sorry`")
        empty = {"tasks": [], "proved": 0, "total": 0, "interrupted": False, "lean": "", "seconds": 0.0}
        return _answer({**empty, "failure": None}, settings, None)
    find_runtime()
    asked = _asked(_project_fingerprint(own), settings)
    results = _results(settings, folder / "results.jsonl")
    with closing(Results(results, asked, settings.resume, settings.retry)) as log:
        document = asyncio.run(prove_project(own, settings, log))
    return _answer(document, settings, out)


def _input(options: ProveOptions) -> LeanText | list[Theorem]:
    """The .lean file, or the theorems of any other input. Raises UserError."""
    target, sources = options.target, options.sources
    if options.statement is not None:
        row = {"name": options.name, "statement": options.statement}
        return [theorem_of(row, "--statement", options.imports)]
    assert target is not None
    prefix, _, rest = target.partition(":")
    path = Path(target)
    sources_of = plugins.registered(THEOREMS)
    if rest and prefix in sources_of and not os.path.lexists(path):
        return plugins.load(THEOREMS, prefix)(rest, sources)
    if target == "-":
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UserError(f"<stdin>: larger than {MAX_BYTES >> 20} MiB")
        return parse(data, "<stdin>")
    if path.suffix == ".lean":
        return read(path)
    if not os.path.lexists(path):
        raise UserError(f"{target}: no such file")
    # A `.json` file is a split of LeanDojo Benchmark if its repository is given.
    if is_data_set(path) and sources is None:
        return load_theorems(path, options.imports, fields_of(options.fields))
    if path.suffix[1:] in sources_of:
        return plugins.load(THEOREMS, path.suffix[1:])(target, sources)
    raise UserError(
        f"{target}: unknown input; name a .lean file, a Lake project, or a data set ({', '.join(SUFFIXES)})"
    )


def _fingerprint(text: LeanText | None, theorems: Sequence[Theorem], lemmas: Sequence[Lemma] = ()) -> str:
    """Hash of the input: a file, its source imports and the lemmas for it, or the theorems."""
    if text is not None:
        imports = imports_of(text)
        own = (own.text.text for own in imports.own)
        what = "\0".join([text.text, *own, *imports.compiled, *(lemma.source for lemma in lemmas)])
    else:
        what = repr([t.content for t in theorems])
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def _project_fingerprint(project: Project) -> str:
    """Hash of all files of a project, including those that specify its packages."""
    found = hashlib.sha256()
    also = [path for name in PROJECT_FILES if (path := project.folder / name).is_file()]
    for path in [*project.files(), *also]:
        found.update(f"{path.relative_to(project.folder).as_posix()}\0".encode())
        found.update(hashlib.sha256(read_file(project.inside(path), MAX_BYTES)).digest())
    return found.hexdigest()[:16]
