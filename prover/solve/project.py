"""Proves the files of a Lake project that contain a `sorry`, in import order (`turnstile prove FOLDER`)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prover.console import one_line, say
from prover.errors import UserError
from prover.files import read_file, write_whole
from prover.lean.lake import lake_path
from prover.lean.project import PROJECT_FILES, Project, imports_of
from prover.lean.runtime import native_lean
from prover.lean.server import LeanDied, LeanError
from prover.lean.text import MAX_BYTES, LeanText, read
from prover.solve.batch import executor_for
from prover.solve.executor import Executor
from prover.solve.fill import Standing
from prover.solve.lean_file import prove_file, sorry_count, write_over
from prover.solve.options import Settings
from prover.solve.results import Results
from prover.solve.session import document


def project_files(project: Project) -> list[LeanText]:
    """The chosen files with a `sorry`, by path. Raises UserError if one is not Lean source, or all were chosen and none has a `sorry`."""
    chosen = project.chosen
    texts = [read(path) for path in project.files() if chosen is None or path.resolve() in chosen]
    found = [text for text in texts if sorry_count(text)]
    if not found and chosen is None:
        raise UserError(f"{project.folder}: no .lean file of this project has a `sorry`")
    return found


def use_project(folder: Path) -> bool:
    """Point native Lean to the project's compiled modules and packages. False if native Lean is not used."""
    if os.environ.get("TURNSTILE_LEAN") == "embedded" or (lean := native_lean()) is None:
        return False
    os.environ["LEAN_PATH"] = lake_path(lean, folder)
    return True


def _in_order(texts: Sequence[LeanText], project: Project) -> tuple[list[LeanText], dict[str, str]]:
    """(the files in import order, path -> reason why a file cannot be loaded)."""
    wanted = {text.path: text for text in texts}
    ordered: dict[str, LeanText] = {}
    unloadable: dict[str, str] = {}
    for text in texts:
        try:
            before = imports_of(text, project).own
        except UserError as error:
            before, unloadable[text.path] = (), _with_path(text, error)
        for path in [*(own.text.path for own in before), text.path]:
            if path in wanted:
                ordered.setdefault(path, wanted[path])
    return list(ordered.values()), unloadable


def _with_path(text: LeanText, error: UserError) -> str:
    """The error, prefixed with this file if it is about an import."""
    return str(error) if str(error).startswith(f"{text.path}:") else f"{text.path}: an import fails: {error}"


async def prove_project(project: Project, settings: Settings, log: Results) -> dict[str, Any]:
    """Returns the answer's fields. Filled files replace the originals, or go to --out with a copy of the project, where --resume keeps
    existing files. A total budget is divided evenly among the files; unused calls go to later files.
    """
    folder = project.folder
    began = time.monotonic()
    in_order, _ = _in_order(project_files(project), project)  # before use_project, which makes compiled files modules
    use_project(folder)
    texts, unloadable = _in_order(in_order, project)
    if len(unloadable) == len(texts):
        raise UserError(f"{folder}: no file with a `sorry` can be loaded: {unloadable[texts[0].path]}")
    if settings.out is not None:
        _copy(project, settings.out, settings.resume)
    run = _Run(project, settings, log)
    async with executor_for(settings, max(map(sorry_count, texts))) as executor:
        for number, text in enumerate(texts):
            await run.file(text, unloadable.get(text.path, ""), len(texts) - number, executor)
    # The results file describes the original files, so they stay unchanged until the batch is done.
    if run.interrupted and run.over:
        say(f"turnstile: the files are unchanged; the same command with --resume continues from {log.path}")
    else:
        _write_over(run.over)
    return {
        **document(run.tasks, began, run.interrupted, run.lean, run.failure),
        "files": run.files,
        "errors": run.errors,
        "unreached": run.unreached,
    }


@dataclass
class _Run:
    """A pass over the files of a project, and their results."""

    project: Project
    settings: Settings
    log: Results
    tasks: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    over: list[tuple[LeanText, bytes, dict[str, Any]]] = field(default_factory=list)
    """Filled files that will replace the originals."""
    errors: list[dict[str, Any]] = field(default_factory=list)
    unreached: list[dict[str, Any]] = field(default_factory=list)
    filled: dict[str, Standing] = field(default_factory=dict)
    spent: int = 0
    """Lean calls of this run. Those of runs before a retry do not count."""
    interrupted: bool = False
    lean: str = ""
    failure: Exception | None = None

    async def file(self, text: LeanText, reason: str, files_left: int, executor: Executor) -> None:
        """Prove one file. `reason`: the reason why it cannot be loaded; empty if it can."""
        entry: dict[str, Any] = {
            "file": text.path,
            "proved": 0,
            "total": 0,
            "reason": reason,
            "out": None,
            "errors": [],
        }
        self.files.append(entry)
        settings = self._share(files_left)
        if settings is None:
            return
        if self.interrupted and not reason:
            entry["reason"] = "interrupted"
            return
        if not reason:
            try:
                answer, filled, self.filled[text.path] = await prove_file(
                    text, settings, self.log, executor, self.project, self.filled
                )
            except UserError as error:  # skip a broken file and continue
                reason = _with_path(text, error)
            except (LeanDied, LeanError) as error:
                reason = f"{text.path}: {one_line(str(error))}"
        if reason:
            entry["reason"] = reason
            say(f"turnstile: skipped: {reason}")
            return
        self.interrupted, self.lean, self.failure = answer["interrupted"], answer["lean"], answer["failure"]
        entry.update({key: answer[key] for key in ("proved", "total", "errors")})
        self.spent += answer["spent"]
        self.errors += answer["errors"]
        self.unreached += [{"file": text.path, **left} for left in answer["unreached"]]
        self.tasks += [{"file": text.path, **task} for task in answer["tasks"]]
        say(f"turnstile: {text.path}: {answer['proved']} of {answer['total']} proved")
        self._write(text, filled, entry)

    def _share(self, files_left: int) -> Settings | None:
        """The settings with this file's share of the limits; None if nothing is left."""
        limit, total = self.settings.limit, self.settings.total_budget
        if limit is not None and (limit := limit - len(self.tasks)) < 1:
            return None
        if total is not None:
            total = (total - self.spent) // files_left
        return replace(self.settings, limit=limit, total_budget=total)

    def _write(self, text: LeanText, filled: bytes, entry: dict[str, Any]) -> None:
        if self.settings.out is not None:
            target = self.settings.out / Path(text.path).relative_to(self.project.folder)
            write_whole(target, filled)
            entry["out"] = str(target)
        elif self.settings.in_place:
            self.over.append((text, filled, entry))
            if self.log.path is None:
                _write_over(self.over)


def _write_over(over: list[tuple[LeanText, bytes, dict[str, Any]]]) -> None:
    """Write filled files over the originals, and record the paths in their entries."""
    while over:
        text, filled, entry = over.pop(0)
        entry["out"] = str(write_over(text, filled))


def _copy(project: Project, out: Path, resumed: bool) -> None:
    """Copy the project's own files to `out`, so that the result can be built and verified.

    `resumed`: keep existing files, which may be filled already.
    """
    extra = [project.folder / name for name in PROJECT_FILES if (project.folder / name).is_file()]
    for path in [*project.files(), *extra]:
        target = out / path.relative_to(project.folder)
        if resumed and target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, read_file(project.inside(path), MAX_BYTES))
