"""Find a Lean, native or embedded, and the command that starts the proof server on it."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from prover.errors import UserError
from prover.files import making, write_whole
from prover.lean.embedded import install, snapshot
from prover.lean.embedded.patch import PATCH_VERSION
from prover.lean.sandbox.seal import Layer, Seal, layers

TOOLCHAIN = "4.28.0"
PARTS = (
    *("Basic", "Goals", "Kinds", "Print", "Step", "Inert", "Text", "Load", "Modules", "Export", "Added", "Declare"),
    *("Guard", "Replay", "Compare", "Check", "Everything", "Library", "Surroundings", "Extract", "Main"),
)
"""The server's modules in order. They run as one file because the embedded Lean cannot run imported code."""


@dataclass(frozen=True)
class LeanRuntime:
    """How to start the proof server."""

    kind: Literal["native", "embedded"]
    version: str
    command: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict[str, str])
    seal: Seal = field(default_factory=Seal)
    """The process's permissions on this machine."""
    protection: tuple[Layer, ...] = ()
    """The sandbox's layers and whether they work here; `doctor` shows them."""

    @property
    def name(self) -> str:
        return f"Lean {self.version} ({self.kind})"


def project_dir() -> Path:
    """The Lake project with the server's source, in the repository or in the installed package."""
    here = Path(__file__).resolve()
    for candidate in (here.parents[2] / "lean_project", here.parents[1] / "_lean_project"):
        if (candidate / "Turnstile" / "Main.lean").exists():
            return candidate
    raise UserError("lean_project/ is missing from this installation: reinstall turnstile-prover")


def server_source() -> str:
    """The server's modules as one file."""
    imports: list[str] = []
    body: list[str] = []
    for part in PARTS:
        for line in (project_dir() / "Turnstile" / f"{part}.lean").read_text(encoding="utf-8").splitlines():
            if not line.startswith("import "):
                body.append(line)
            elif not line.startswith("import Turnstile") and line not in imports:
                imports.append(line)
    return "\n".join([*imports, *body, ""])


def server_file() -> Path:
    """The server's source as a file in the cache, in a folder named by its hash."""
    source = server_source()
    folder = install.cache_dir() / "server" / hashlib.sha256(source.encode()).hexdigest()[:16]
    target = folder / "Server.lean"
    if not target.exists():
        with making(target):
            write_whole(target, source.encode())
    return target


def native_leans() -> list[tuple[tuple[str, ...], str]]:
    """(command, version) of every native Lean found. elan is asked for the pinned version, not for its default."""
    found: list[tuple[tuple[str, ...], str]] = []
    for candidate in (shutil.which("lean"), str(Path.home() / ".elan/bin/lean")):
        if candidate and os.access(candidate, os.X_OK):
            elan = "elan" in os.path.realpath(candidate)
            command = (candidate, f"+leanprover/lean4:v{TOOLCHAIN}") if elan else (candidate,)
            try:
                out = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=120).stdout
            except (OSError, subprocess.TimeoutExpired):
                continue
            if m := re.search(r"version (\d+\.\d+\.\d+[^\s,]*)", out):
                found.append((command, m.group(1)))
    return found


def native_lean() -> tuple[tuple[str, ...], str] | None:
    """(command, version) of a native Lean of the pinned release, or None."""
    release = TOOLCHAIN.rpartition(".")[0]
    return next((lean for lean in native_leans() if lean[1].rpartition(".")[0] == release), None)


def version_drift() -> str:
    """A sentence about native Lean of another release, which is not used; empty if there is none."""
    others = {version for _, version in native_leans()}
    if not others or native_lean() is not None:
        return ""
    return f"native Lean {', '.join(sorted(others))} is installed, but the proof server is written for {TOOLCHAIN}"


@functools.cache
def find_runtime(kind: str | None = None) -> LeanRuntime:
    """The Lean to use: native if the pinned release is installed, else the embedded one, which is installed on demand.

    `kind` (or $TURNSTILE_LEAN): `native` or `embedded` forces one. Raises UserError if it is not available.
    """
    kind = kind or os.environ.get("TURNSTILE_LEAN")
    if kind not in (None, "", "native", "embedded"):
        raise UserError(f"TURNSTILE_LEAN={kind}: choose native or embedded")
    if kind != "embedded":
        if (native := native_lean()) is not None:
            return _native(*native)
        if kind == "native":
            why = version_drift() or f"no native Lean {TOOLCHAIN} on PATH or through elan"
            raise UserError(f"{why}: install {TOOLCHAIN}, or unset TURNSTILE_LEAN")
    return _embedded()


def _native(lean: tuple[str, ...], version: str) -> LeanRuntime:
    source = server_file()
    modules = [os.path.abspath(folder) for folder in os.environ.get("LEAN_PATH", "").split(os.pathsep) if folder]
    env = {"PATH": os.environ.get("PATH", ""), "HOME": str(Path.home())}
    if modules:  # set by `lake env`: the project's modules and packages
        env["LEAN_PATH"] = os.pathsep.join(modules)
    toolchain = Path(os.path.realpath(lean[0])).parent.parent
    reads = [
        Path(lean[0]),
        toolchain / "bin",
        toolchain / "lib",
        Path.home() / ".elan",
        source.parent,
        *map(Path, modules),
    ]
    seal = Seal(tuple(map(str, reads)))
    return LeanRuntime("native", version, (*lean, "--run", str(source)), env, seal, layers())


def _embedded() -> LeanRuntime:
    root = install.install()
    source = server_file()
    env = {"TURNSTILE_LEAN_LIB": str(root / "lib"), "TURNSTILE_LEAN_SERVER": str(source.parent), "LANG": "C.UTF-8"}
    command = (
        str(node := install.node_path()),
        "--stack-size=60000",  # KiB; the process's stack limit is larger
        "--disallow-code-generation-from-strings",
        "--permission",
        f"--allow-fs-read={root}",
        f"--allow-fs-read={source.parent}",
        "--allow-worker",
        "--disable-warning=SecurityWarning",
        "--wasm-lazy-validation",  # saves a second of CPU time; the installation checked the module's hash
        str(root / "lean.js"),
        "--run",
        "/srv/Server.lean",
    )
    seal = Seal((str(node), str(root), str(source.parent)))
    kept = source.parent / f"snapshot-m{PATCH_VERSION}"
    if snapshot.make(command, env, seal, kept):
        env["TURNSTILE_RESTORE"] = str(kept)
    inside = (
        Layer("lean.js", True, "WebAssembly: no processes, no sockets, no dynamic loading, no threads but Lean's"),
        Layer("no code from strings", True, "JavaScript runs from lean.js and watch.js only"),
        Layer("Node permissions", True, "reads only its own library and server, writes nothing"),
    )
    return LeanRuntime("embedded", install.LEAN_VERSION, command, env, seal, (*inside, *layers()))
