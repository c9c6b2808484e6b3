"""Which Lean runs here, native toolchain or the embedded one, and how to start the proof server on it."""

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
from prover.lean.embedded import install, snapshot
from prover.lean.embedded.patch import MEND_VERSION
from prover.lean.sandbox.seal import Layer, Seal, layers

TOOLCHAIN = "4.28.0"
PARTS = (
    *("Basic", "Goals", "Print", "Step", "Inert", "Text", "Load", "Modules", "Export", "Declare"),
    *("Guard", "Replay", "Compare", "Check", "Everything", "Library", "Main"),
)
"""The server's modules in order; both runtimes run them as one file, since the embedded Lean cannot run imported code."""


@dataclass(frozen=True)
class LeanRuntime:
    """How to start the proof server."""

    kind: Literal["native", "embedded"]
    version: str
    command: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    seal: Seal = field(default_factory=Seal)
    """What the process may do on this machine."""
    protection: tuple[Layer, ...] = ()
    """The layers that keep Lean code from the machine, and whether they hold: for `doctor`."""

    @property
    def name(self) -> str:
        return f"Lean {self.version} ({self.kind})"


def project_dir() -> Path:
    """The Lake project with the server's source: in the repository, or beside the installed package."""
    here = Path(__file__).resolve()
    for candidate in (here.parents[2] / "lean_project", here.parents[1] / "_lean_project"):
        if (candidate / "Turnstile" / "Main.lean").exists():
            return candidate
    raise UserError("lean_project/ is missing from this installation: reinstall turnstile-prover")


def server_source() -> str:
    """The server's modules as one file: library imports first, then every part in order."""
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
    """The server's source in a folder of its own in the cache, named by its content."""
    source = server_source()
    folder = install.cache_dir() / "server" / hashlib.sha256(source.encode()).hexdigest()[:16]
    target = folder / "Server.lean"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        scratch = folder / f".{os.getpid()}.tmp"
        scratch.write_text(source, encoding="utf-8")
        os.replace(scratch, target)
    return target


def native_leans() -> list[tuple[tuple[str, ...], str]]:
    """(command, version) of every native Lean found here, of whatever version. Through elan it is the pinned one that is asked for,
    not the one that some folder's default happens to be."""
    found = []
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
    """A sentence on native Lean of another release, which is not used; empty: there is none."""
    others = {version for _, version in native_leans()} if native_lean() is None else set()
    if not others:
        return ""
    return f"native Lean {', '.join(sorted(others))} is installed, but the proof server is written for {TOOLCHAIN}"


@functools.cache
def find_runtime(kind: str | None = None) -> LeanRuntime:
    """The Lean to use: native where the pinned one is installed, else the embedded one, installing it if need be.

    `kind` (or $TURNSTILE_LEAN): `native` or `embedded` to insist. Raises UserError when that one cannot be had.
    """
    kind = kind or os.environ.get("TURNSTILE_LEAN")
    if kind not in (None, "", "native", "embedded"):
        raise UserError(f"TURNSTILE_LEAN={kind}: say native or embedded")
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
    if modules:  # as `lake env` sets it: a project's modules and packages
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
        "--stack-size=60000",  # KiB; the process gets a larger stack limit before it starts
        "--disallow-code-generation-from-strings",
        "--permission",
        f"--allow-fs-read={root}",
        f"--allow-fs-read={source.parent}",
        "--allow-worker",
        "--disable-warning=SecurityWarning",
        "--wasm-lazy-validation",  # a second of processor time; the install has checked the module's hash
        str(root / "lean.js"),
        "--run",
        "/srv/Server.lean",
    )
    seal = Seal((str(node), str(root), str(source.parent)))
    kept = source.parent / f"snapshot-m{MEND_VERSION}"
    if snapshot.make(command, env, seal, kept):
        env["TURNSTILE_RESTORE"] = str(kept)
    inside = (
        Layer("lean.js", True, "WebAssembly: no processes, no sockets, no dynamic loading, no threads but Lean's"),
        Layer("no code from strings", True, "JavaScript runs from lean.js and watch.js only"),
        Layer("Node permissions", True, "reads only its own library and server, writes nothing"),
    )
    return LeanRuntime("embedded", install.LEAN_VERSION, command, env, seal, (*inside, *layers()))
