"""The modules of a Lake project that a file imports, given to Lean as source.

The embedded Lean has only its own modules, and the audit does not trust modules that a project's code compiled. Therefore Lean
elaborates the imported files before the file (`Turnstile/Modules.lean`).
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

from prover.errors import UserError
from prover.files import read_file
from prover.lean.runtime import find_runtime
from prover.lean.source import supported_text
from prover.lean.text import MAX_BYTES, LeanText, code_words, read

SHIPPED = ("Init", "Std", "Lean", "Lake")
"""First components of the names of the modules that every Lean has."""
LAKEFILES = ("lakefile.toml", "lakefile.lean")
PROJECT_FILES = (*LAKEFILES, "lean-toolchain", "lake-manifest.json")
"""Files that belong to a project besides its Lean files."""
SKIPPED = (".lake", "build", "lake-packages", ".git")
"""Folders of a project that contain none of its modules."""


@dataclass(frozen=True)
class SourceModule:
    """A module given as source. `text`: as LeanText.body, without imports."""

    module: str
    file: str
    text: str

    def message(self) -> dict[str, str]:
        return {"module": self.module, "file": self.file, "text": self.text}


@dataclass(frozen=True)
class OwnModule:
    """A module of a project."""

    module: str
    text: LeanText


@dataclass(frozen=True)
class Imports:
    """The imports of a file, direct and indirect."""

    shipped: tuple[str, ...]
    """Modules that Lean has compiled."""
    own: tuple[OwnModule, ...] = ()
    """Modules of the file's project, each after its imports."""
    compiled: tuple[str, ...] = ()
    """Name and hash of the modules of its project that Lean reads compiled."""

    def sources(self) -> list[SourceModule]:
        return [SourceModule(own.module, own.text.path, own.text.body) for own in self.own]


def is_project(folder: Path) -> bool:
    return any((folder / name).is_file() for name in LAKEFILES)


def project_of(path: Path) -> Project | None:
    """The project of a file: the nearest folder above it with a lakefile."""
    for folder in path.absolute().parents:
        if is_project(folder):
            # Relative if the user's path is relative.
            shown = Path(os.path.relpath(folder)) if not path.is_absolute() else folder
            return Project(shown)
    return None


def imports_of(text: LeanText, project: Project | None = None) -> Imports:
    """The imports of a file, looked up in `project`, or else in the file's own project.

    Raises UserError if an import is missing.
    """
    project = project or project_of(Path(text.path))
    if project is None:
        return Imports(text.imports)
    if _compiled():
        return Imports(text.imports, compiled=project.compiled(text))
    return project.imports(text)


def _compiled() -> bool:
    """Whether native Lean finds the project's compiled modules, in the folders that `lake env` sets."""
    embedded = os.environ.get("TURNSTILE_LEAN") == "embedded" or not os.environ.get("LEAN_PATH")
    return not embedded and find_runtime().kind == "native"


@dataclass(frozen=True)
class Project:
    """A folder with a lakefile."""

    folder: Path
    chosen: frozenset[Path] | None = None
    """The files to prove, resolved; None for all."""

    def files(self) -> list[Path]:
        """Its Lean files, sorted by path, without those of nested projects. Raises UserError for a link to a file outside of it."""
        return [
            self.inside(path)
            for path in sorted(self.folder.rglob("*.lean"))
            # Editors create locks like `.#A.lean` and copies like `._A.lean`, which are not Lean files.
            if path.name != "lakefile.lean"
            and not path.name.startswith(".")
            and path.is_file()
            and self._owns(path.parent)
        ]

    def inside(self, path: Path) -> Path:
        """The path itself. Raises UserError if it leads out of the project, because it could show private files."""
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise UserError(f"{path}: leads out of the project, to {path.resolve()}: put the file itself there")
        return path

    def _owns(self, folder: Path) -> bool:
        parts = folder.relative_to(self.folder).parts
        inner = [self.folder.joinpath(*parts[: i + 1]) for i in range(len(parts))]
        return not any(p.name in SKIPPED or is_project(p) for p in inner)

    @cached_property
    def source_folders(self) -> tuple[Path, ...]:
        """Folders of modules: the project itself and each `srcDir` in its lakefile."""
        named: list[str] = [""]
        for name in LAKEFILES:
            path = self.folder / name
            if not path.is_file():
                continue
            try:
                written = read_file(self.inside(path), MAX_BYTES).decode()
                if name.endswith(".lean"):
                    named += re.findall(r'\bsrcDir\s*:=\s*"([^"\n]*)"', written)
                else:
                    named += _source_folders(tomllib.loads(written))
            except (ValueError, RecursionError) as e:
                raise UserError(f"{path}: cannot be read as a lakefile: {e}") from None
        return tuple(dict.fromkeys(self.inside(self.folder / n) for n in named))

    def file_of(self, module: str) -> Path | None:
        """The file of a module of this project, or None."""
        parts = module.split(".")
        for folder in self.source_folders:
            path = folder.joinpath(*parts[:-1], parts[-1] + ".lean")
            if path.is_file():
                return self.inside(path)
        return None

    def imports(self, text: LeanText) -> Imports:
        """The direct and indirect imports of a file. Raises UserError."""
        shipped: dict[str, None] = {}
        own: dict[str, OwnModule] = {}
        self._collect(text, [], shipped, own)
        if (last := next((o.text for o in own.values() if _is_module(o.text)), None)) is not None:
            raise UserError(f"{last.path}:1: is a `module`, of which other files see only a part: {_NATIVE}")
        return Imports(tuple(shipped), tuple(own.values()))

    def compiled(self, text: LeanText) -> tuple[str, ...]:
        """Name and hash of each module of this project that a file imports, directly or not: of its source and its compiled file."""
        folders = [Path(f) for f in os.environ.get("LEAN_PATH", "").split(os.pathsep) if f]
        found: dict[str, str] = {}
        todo = list(text.imports)
        while todo:
            module = todo.pop()
            if module in found or (path := self.file_of(module)) is None:
                continue
            source = read(path)
            todo += source.imports
            digest = hashlib.sha256(source.text.encode())
            olean = module.replace(".", "/") + ".olean"
            if (file := next((f / olean for f in folders if (f / olean).is_file()), None)) is not None:
                digest.update(file.read_bytes())
            found[module] = digest.hexdigest()
        return tuple(f"{module} {found[module]}" for module in sorted(found))

    def _collect(self, text: LeanText, above: list[str], shipped: dict[str, None], own: dict[str, OwnModule]) -> None:
        missing: list[str] = []
        for module in text.imports:
            if module in own:
                continue
            if module.split(".")[0] in SHIPPED:
                shipped[module] = None
            elif module in above:
                circle = " → ".join([*above[above.index(module) :], module])
                raise UserError(f"{text.path}:{_line_of(text, module)}: imports go in a circle: {circle}")
            elif (path := self.file_of(module)) is None:
                missing.append(module)
            else:
                imported = OwnModule(module, read(path))
                self._collect(imported.text, [*above, module], shipped, own)
                own[module] = imported
        if missing:
            where = f"{text.path}:{_line_of(text, missing[0])}: imports {', '.join(missing)}"
            if any((folder / missing[0].split(".")[0]).is_dir() for folder in self.source_folders):
                raise UserError(f"{where}: {self.folder} has no file {missing[0].replace('.', '/')}.lean")
            raise UserError(
                f"{where}: not of this project, and the embedded Lean has only {', '.join(SHIPPED)}: {_NATIVE}"
            )


_NATIVE = f"install the native Lean ({supported_text()}) that the project pins and run `lake build`"


def _source_folders(lakefile: dict[str, object]) -> list[str]:
    found = [lakefile]
    for kind in ("lean_lib", "lean_exe"):
        targets = lakefile.get(kind)
        if isinstance(targets, list):
            found += [cast("dict[str, object]", t) for t in cast("list[object]", targets) if isinstance(t, dict)]
    return [str(f["srcDir"]) for f in found if "srcDir" in f]


def _is_module(text: LeanText) -> bool:
    """Whether the header begins with `module`. In Lean's module system, other files see only a part of such a file."""
    header = text.text.encode()[: text.header_bytes].decode()
    return next((word for word, _ in code_words(header)), "") == "module"


def _line_of(text: LeanText, module: str) -> int:
    """1-based line of an import."""
    for word, at in code_words(text.text):
        if word.replace("«", "").replace("»", "") == module:
            return text.text.count("\n", 0, at) + 1
    return 1


def explain_import(message: str, path: Path | str) -> str:
    """Lean's message about a missing module, with advice."""
    for sign in ("unknown module prefix", "object file", "unknown package"):
        if sign in message:
            return f"{path}: {message}: this Lean has only Init, Std, Lean and Lake" + (
                ""
                if "Mathlib" not in message
                else "; for Mathlib, run `turnstile setup mathlib`, or prove in a Lake project that requires it"
            )
    if "Unknown constant `_private." in message:
        return f"{message}: a file that it imports has a private declaration of the same name, which only native Lean keeps apart"
    return message
