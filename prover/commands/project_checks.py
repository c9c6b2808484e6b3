"""The report of `turnstile doctor PROJECT` on a Lake project: the Lean that it pins, and its packages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prover.commands.checks import Check
from prover.errors import UserError
from prover.files import read_file
from prover.lean.project import is_project
from prover.lean.toolchain import pin_of

MANIFEST = "lake-manifest.json"
_MAX_BYTES = 4 << 20


def project_checks(folder: Path) -> list[Check]:
    """The report on a project. Raises UserError if the folder is not a Lake project or its manifest cannot be read."""
    if not is_project(folder):
        raise UserError(f"{folder}: is not a Lake project: name a folder with a lakefile")
    return [_toolchain(folder), *_packages(folder), _own(folder)]


def _toolchain(folder: Path) -> Check:
    pin = pin_of(folder)
    if pin is None:
        return Check("toolchain", True, "no lean-toolchain file: any supported Lean is used", needed=False)
    return Check("toolchain", True, f"{pin.name} ({pin.file})")


def _packages(folder: Path) -> list[Check]:
    path = folder / MANIFEST
    if not path.is_file():
        return [Check("packages", True, f"no {MANIFEST}: no packages", needed=False)]
    try:
        manifest = json.loads(read_file(path, _MAX_BYTES))
        packages = manifest["packages"]
        where = folder / str(manifest.get("packagesDir") or ".lake/packages")
        return [_package(folder, where, package) for package in packages] or [Check("packages", True, "none")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path}: cannot be read as a Lake manifest: run `lake update` in {folder}") from None


def _package(folder: Path, packages: Path, package: dict[str, Any]) -> Check:
    name = str(package["name"]).strip("«»")
    version = str(package.get("inputRev") or package.get("rev") or package.get("dir") or "")
    place = folder / str(package["dir"]) if package.get("type") == "path" else packages / name
    if not place.is_dir():
        return Check(name, False, f"{version}: not downloaded", f"run `lake update {name}` in {folder}", needed=False)
    if not _built(place):
        todo = "lake exe cache get" if name == "mathlib" else f"lake build {name}"
        return Check(name, False, f"{version}: not built", f"run `{todo}` in {folder}", needed=False)
    return Check(name, True, f"{version}: built")


def _own(folder: Path) -> Check:
    if _built(folder):
        return Check("project", True, "built")
    todo = f"run `lake build` in {folder}; native Lean imports built modules only"
    return Check("project", False, "not built", todo, needed=False)


def _built(place: Path) -> bool:
    """Whether Lake has compiled any module of a package."""
    return next((place / ".lake" / "build" / "lib").rglob("*.olean"), None) is not None
