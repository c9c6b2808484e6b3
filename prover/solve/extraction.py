"""Extract proof steps from many files: in parallel, and again only from files that changed.

The record of a file is written whole when the file is done, to `files/PATH.json` in the output folder. Its key is a hash of
everything that it depends on, so a later run with the same key keeps it.
"""

from __future__ import annotations

import asyncio
import bisect
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from prover.console import one_line
from prover.errors import UserError
from prover.files import write_whole
from prover.lean.extract import Declaration, ExtractServer, Span, Step, as_tactic, step_text
from prover.lean.extract_replay import Replay, replay
from prover.lean.project import Imports, Project, explain_import, imports_of, is_project
from prover.lean.runtime import LeanRuntime
from prover.lean.server import LeanDied, LeanError, Limits
from prover.lean.sorries import public
from prover.lean.source import server_key
from prover.lean.text import LeanText, read

FORMAT = 2
Pos = tuple[int, int]
"""Line and column in characters, both from 1, as LeanDojo counts them."""
LIMITS = Limits(heartbeats=200_000, seconds=60.0, open_seconds=600.0)
"""Lean's own default for human proofs."""


class StepRecord(msgspec.Struct, frozen=True):
    """A tactic, or a term that is a whole proof."""

    kind: str
    """`tactic` or `term`."""
    text: str
    start: Pos
    end: Pos
    state_before: str
    """The goals as LeanServer prints them, separated by blank lines."""
    state_after: str
    """`no goals` if none is left."""
    annotated: str
    """The text with the names of constants between `<a>` and `</a>`."""
    uses: tuple[tuple[str, Pos, Pos], ...]
    """The constants that these names mean, with the start and end of each name."""
    assigned: tuple[str, ...]
    """Theorems in the terms that it gave its goals, including those that automation found."""
    replay: str = ""
    """`same`, `differs: …` or `error: …`; empty if it was not replayed."""
    replayed_as: str = ""
    """The tactic that was replayed, if not the step's text."""


class DeclarationRecord(msgspec.Struct, frozen=True):
    """A declaration and the steps of its proofs."""

    full_name: str
    kind: str
    start: Pos
    end: Pos
    code: str
    """Its text; for a theorem, without the proof."""
    statement: str
    """The text between a theorem's name and its proof; empty for other declarations."""
    proof: str
    """A theorem's proof, from `:=` or the first `|` on."""
    sorry: bool
    steps: tuple[StepRecord, ...]


class FileRecord(msgspec.Struct, frozen=True):
    key: str
    lean: str
    file: str
    """Its path in the project."""
    module: str
    imports: tuple[str, ...]
    """Modules that it imports directly."""
    declarations: tuple[DeclarationRecord, ...]
    modules: dict[str, str]
    """The imported module of each constant that a step mentions; empty for constants of the project."""
    unprinted: int = 0
    """Number of steps that are left out because Lean could not print their states."""


@dataclass(frozen=True)
class Input:
    """A file to extract from."""

    text: LeanText
    imports: Imports
    file: str
    module: str

    def key(self, lean: str, replayed: bool) -> str:
        """Hash of all that its record depends on."""
        parts = [str(FORMAT), lean, server_key(), str(replayed), self.file, self.text.text]
        parts += [part for own in self.imports.own for part in (own.module, own.text.text)]
        parts += self.imports.compiled
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def inputs_of(target: str) -> tuple[list[Input], dict[str, str]]:
    """(the files of a project, a single file, or a module of the project in the current folder; path -> reason why a file is skipped).

    Raises UserError if there is nothing to extract from.
    """
    path = Path(target)
    if path.is_dir():
        project = Project(path)
        if not is_project(path):
            raise UserError(f"{path}: is a folder without a lakefile; name a Lake project or a .lean file")
        return _inputs(project, project.files())
    if path.suffix == ".lean":
        text = read(path)
        return [Input(text, imports_of(text), path.name, path.stem)], {}
    project = Project(Path())
    if (file := project.file_of(target)) is None:
        raise UserError(
            f"{target}: is neither a Lake project, nor a .lean file, nor a module of the project in this folder; the proofs of "
            "Lean's own modules are not part of the embedded Lean"
        )
    return _inputs(project, [file])


def _inputs(project: Project, paths: Sequence[Path]) -> tuple[list[Input], dict[str, str]]:
    found: list[Input] = []
    skipped: dict[str, str] = {}
    for path in paths:
        relative = min(
            (path.relative_to(f) for f in project.source_folders if path.is_relative_to(f)), key=lambda p: len(p.parts)
        )
        file = path.relative_to(project.folder).as_posix()
        try:
            text = read(path)
            found.append(Input(text, imports_of(text, project), file, ".".join(relative.with_suffix("").parts)))
        except UserError as error:
            skipped[file] = str(error)
    if skipped and not found:
        raise UserError(next(iter(skipped.values())))
    if not found:
        raise UserError(f"{project.folder}: has no .lean files; name a folder with some")
    return found, skipped


async def extract_files(
    inputs: Sequence[Input],
    out: Path,
    runtime: LeanRuntime,
    workers: int,
    replayed: bool,
    stop: asyncio.Event,
    done: Callable[[FileRecord, bool], None],
) -> tuple[list[FileRecord], dict[str, str]]:
    """(the records in the order of `inputs`, path -> reason why a file has none). Ends early when `stop` is set.

    `replayed`: run every step again on LeanServer. `done` is called with each record and whether it was there before.
    """
    records: dict[str, FileRecord] = {}
    failed: dict[str, str] = {}
    todo: asyncio.Queue[tuple[Input, str]] = asyncio.Queue()
    for i in inputs:
        key = i.key(runtime.name, replayed)
        if (known := read_record(out, i.file)) is not None and known.key == key:
            records[i.file] = known
            done(known, True)
        else:
            todo.put_nowait((i, key))

    async def work() -> None:
        async with ExtractServer(runtime, LIMITS) as server:
            while not todo.empty() and not stop.is_set():
                each, key = todo.get_nowait()
                try:
                    record = await _record(server, each, key, replayed)
                except (LeanError, LeanDied) as error:
                    failed[each.file] = explain_import(one_line(str(error)), each.text.path)
                    continue
                path = record_path(out, each.file)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, msgspec.json.encode(record))
                records[each.file] = record
                done(record, False)
                if server.own_mb() > LIMITS.memory_mb / 2:  # Lean never releases an environment
                    await server.restart()

    await asyncio.gather(*(work() for _ in range(min(workers, todo.qsize()))))
    return [records[i.file] for i in inputs if i.file in records], failed


def record_path(out: Path, file: str) -> Path:
    return out / "files" / f"{file}.json"


def read_record(out: Path, file: str) -> FileRecord | None:
    """The record of a file, or None."""
    try:
        return msgspec.json.decode(record_path(out, file).read_bytes(), type=FileRecord)
    except (OSError, msgspec.MsgspecError):
        return None


async def _record(server: ExtractServer, each: Input, key: str, replayed: bool) -> FileRecord:
    found = await server.extract(each.text, each.imports.shipped, each.imports.sources())
    data = each.text.text.encode()
    at = _Positions(data)
    replays: dict[int, Replay] = {}
    if replayed:
        results = await asyncio.gather(*(replay(server, s, _tactic(data, s)) for s in found.steps))
        replays = dict(enumerate(results))
    await server.free([state for s in found.steps for state in s.states])
    steps: dict[Declaration, list[StepRecord]] = {}
    for number, step in enumerate(found.steps):
        if step.declaration is not None:
            steps.setdefault(step.declaration, []).append(_step(data, at, step, replays.get(number)))
    declarations = tuple(_declaration(data, at, d, steps.get(d, [])) for d in found.declarations)
    return FileRecord(
        key,
        server.runtime.name,
        each.file,
        each.module,
        each.text.imports,
        declarations,
        {public(name): module for name, module in found.modules.items()},
        found.unprinted,
    )


def _tactic(data: bytes, step: Step) -> str:
    text = step_text(data, step.span)
    return text if step.tactic else as_tactic(text)


def _step(data: bytes, at: _Positions, step: Step, replayed: Replay | None) -> StepRecord:
    uses = _apart(step.uses)
    return StepRecord(
        "tactic" if step.tactic else "term",
        step_text(data, step.span),
        at(step.span[0]),
        at(step.span[1]),
        "\n\n".join(step.before),
        "\n\n".join(step.after) or "no goals",
        step_text(data, step.span, [span for _, span in uses]),
        tuple((public(name), at(a), at(b)) for name, (a, b) in uses),
        tuple(map(public, step.assigned)),
        replayed.result if replayed else "",
        replayed.tactic if replayed and replayed.tactic != step_text(data, step.span) else "",
    )


def _apart(uses: Sequence[tuple[str, Span]]) -> list[tuple[str, Span]]:
    """The uses in their order in the text, without those that overlap an earlier one."""
    found: list[tuple[str, Span]] = []
    for name, span in sorted(uses, key=lambda use: (use[1][0], -use[1][1])):
        if not found or found[-1][1][1] <= span[0]:
            found.append((name, span))
    return found


def _declaration(data: bytes, at: _Positions, d: Declaration, steps: list[StepRecord]) -> DeclarationRecord:
    start, end = d.whole
    cut = d.value[0] if d.is_theorem and d.value is not None else end
    statement = data[d.signature[0] : d.signature[1]].decode() if d.is_theorem and d.signature else ""
    code = data[start:cut].decode().strip()
    return DeclarationRecord(
        d.full_name, d.kind, at(start), at(end), code, statement, data[cut:end].decode(), d.sorry, tuple(steps)
    )


class _Positions:
    """Positions of byte offsets."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.starts = [0, *(i + 1 for i, b in enumerate(data) if b == 10)]

    def __call__(self, offset: int) -> Pos:
        line = bisect.bisect_right(self.starts, offset)
        return line, len(self.data[self.starts[line - 1] : offset].decode()) + 1
