"""Lake projects with Mathlib in the user's cache, one for each Lean release. `turnstile setup mathlib` makes them, and inputs outside of
Lake projects use them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from prover.console import say
from prover.errors import UserError
from prover.files import cache_dir, existing, making, write_whole
from prover.lean.lake import ToolFailed, lake_path, run_tool
from prover.lean.native import executable
from prover.lean.project import project_of
from prover.lean.runtime import native_lean
from prover.lean.source import PINNED, release_of, supported, supported_text
from prover.lean.toolchain import PIN, NativeLean, Pin, find_elan, full_name, obey, obeyed, pinned_lean

NEEDED_BYTES = 7 * 10**9
"""Disk space of a project: about 6 GB of compiled modules and 1 GB for the repositories of Mathlib and its packages."""
CHOSEN_VARIABLE = "TURNSTILE_MATHLIB_PATH"
"""Environment variable with the LEAN_PATH that `use_mathlib` set, which the next input replaces."""
_LAKEFILE = """name = "turnstile-mathlib"

[[require]]
name = "mathlib"
git = "https://github.com/leanprover-community/mathlib4"
rev = "{tag}"
"""
_STEPS = (("update", "downloading Mathlib's source"), ("exe cache get", "downloading Mathlib's compiled modules"))
"""Arguments of `lake`, in order, and what they do."""
_NO_CACHE = {"MATHLIB_NO_CACHE_ON_UPDATE": "1"}
"""Lets `lake update` leave the compiled modules to the second step."""


@dataclass(frozen=True)
class MathlibProject:
    """The project of a Lean release. It may be unfinished or absent."""

    version: str
    """The Lean version, without `v`."""

    @property
    def folder(self) -> Path:
        return cache_dir() / "mathlib" / self.version

    @property
    def tag(self) -> str:
        """Mathlib has a tag for each release of Lean."""
        return f"v{self.version}"

    @property
    def pin(self) -> Pin:
        return Pin(self.folder / PIN, full_name(self.version))

    @property
    def complete(self) -> bool:
        return (self.folder / "complete").is_file() and (self.folder / ".lake" / "packages" / "mathlib").is_dir()


def projects() -> list[MathlibProject]:
    """The projects in the cache, including unfinished ones: first that of the worlds' release, then the newest."""

    def rank(project: MathlibProject) -> tuple[bool, bool, list[int]]:
        numbers = [int(n) for n in re.findall(r"\d+", project.version)]
        return release_of(project.version) == release_of(PINNED), "-rc" not in project.version, numbers

    folders = [folder for folder in (cache_dir() / "mathlib").glob("*") if folder.is_dir()]
    return sorted((MathlibProject(f.name) for f in folders if supported(f.name)), key=rank, reverse=True)


def free_bytes(folder: Path) -> int:
    """Free disk space where the folder is or will be."""
    return shutil.disk_usage(existing(folder)).free


def set_up(version: str, free: Callable[[Path], int] = free_bytes) -> tuple[MathlibProject, Path]:
    """Make the project of a Lean release, or continue to make it. Returns the project and the proof server for that Lean.

    Raises UserError without elan, network or disk space, and for a release that is not supported.
    """
    if not supported(version):
        raise UserError(f"Lean {version} is not supported: choose a release from {supported_text()}")
    project = MathlibProject(version)
    if pinned_lean(project.pin) is None and find_elan() is None:
        raise UserError(
            f"Lean {version} is not installed, and elan is missing: install elan (https://github.com/leanprover/elan) and run the same "
            "command again"
        )
    if not project.complete:
        _check_disk(project.folder, free)
    with making(project.folder):
        if not project.complete:
            project.folder.mkdir(exist_ok=True)
            write_whole(project.folder / "lakefile.toml", _LAKEFILE.format(tag=project.tag).encode())
            write_whole(project.pin.file, f"{project.pin.name}\n".encode())
        lean = _installed(project)
        if not project.complete:
            _make(project, lean)
        server = executable(lean)
        (project.folder / "complete").touch()
    return project, server


def _check_disk(folder: Path, free: Callable[[Path], int]) -> None:
    there = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
    room, needed = free(folder), NEEDED_BYTES - there
    if room < needed:
        raise UserError(
            f"{folder}: {room / 1e9:.1f} GB free, Mathlib needs {needed / 1e9:.1f}: make room or set TURNSTILE_CACHE to another disk"
        )


def _installed(project: MathlibProject) -> NativeLean:
    """The project's Lean, which elan installs if it is missing."""
    if (lean := pinned_lean(project.pin)) is not None:
        return lean
    say(f"turnstile: installing Lean {project.version}")
    _run([str(find_elan()), "toolchain", "install", project.pin.name], project.folder)
    if (lean := pinned_lean(project.pin)) is None:
        raise UserError(
            f"elan installed {project.pin.name}, but it does not run: run `lean +{project.pin.name} --version`"
        )
    return lean


def _make(project: MathlibProject, lean: NativeLean) -> None:
    """Run the steps that an earlier call has not finished."""
    for number, (step, says) in enumerate(_STEPS):
        done = project.folder / f"step-{number}"
        if not done.exists():
            say(f"turnstile: {says} ({project.tag})")
            _run([*lean.lake, *step.split()], project.folder)
            if number == len(_STEPS) - 1:
                _check_compiled(project, lean)
            done.touch()


def _run(command: list[str], folder: Path) -> None:
    shown = " ".join([Path(command[0]).name, *command[1:]])
    log = folder / "setup.log"
    try:
        run_tool(command, folder, log, _NO_CACHE)
    except ToolFailed as why:
        raise UserError(f"`{shown}` failed: {why}; the same command continues (all of it: {log})") from None


def _check_compiled(project: MathlibProject, lean: NativeLean) -> None:
    """`cache get` succeeds, with a warning, when it finds no compiled modules."""
    if not any(
        (Path(place) / "Mathlib.olean").is_file() for place in lake_path(lean, project.folder).split(os.pathsep)
    ):
        raise UserError(
            f"there are no compiled modules of Mathlib {project.tag}: choose another release with --lean, or run "
            f"`lake build Mathlib`, which takes hours, in {project.folder}"
        )


def use_mathlib(imports: Iterable[str], near: Path | None = None) -> MathlibProject | None:
    """Let native Lean find Mathlib if an input imports it and belongs to no Lake project. Call it after `obey`.

    `near`: the input's file. The project is that of the Lean which `obey` found; where nothing pins a Lean, a project decides it. None,
    and no change, if there is no such project or LEAN_PATH is set.
    """
    chosen = os.environ.pop(CHOSEN_VARIABLE, None)
    if chosen is not None and os.environ.get("LEAN_PATH") == chosen:
        del os.environ["LEAN_PATH"]
    if os.environ.get("LEAN_PATH") or os.environ.get("TURNSTILE_LEAN") == "embedded":
        return None
    if all(module.split(".")[0] != "Mathlib" for module in imports):
        return None
    if any(project_of(path) for path in (near, Path.cwd() / PIN) if path is not None):
        return None
    pin = obeyed()
    project = next((p for p in projects() if p.complete and (pin is None or pin.version == p.version)), None)
    if project is None:
        return None
    if pin is None:
        obey([project.folder])
    if (lean := native_lean()) is None:
        return None
    os.environ["LEAN_PATH"] = os.environ[CHOSEN_VARIABLE] = lake_path(lean, project.folder)
    say(f"turnstile: Mathlib {project.tag} in {project.folder} is used, with Lean {lean.version}")
    return project
