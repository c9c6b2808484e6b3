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
from prover.lean import install, snapshot
from prover.lean.mend import MEND_VERSION

TOOLCHAIN = "4.28.0"
PARTS = ("Basic", "Goals", "Step", "Load", "Export", "Check", "Library", "Main")
"""The server's modules in order; both runtimes run them as one file, since the embedded Lean cannot run imported code."""


@dataclass(frozen=True)
class LeanRuntime:
    """How to start the proof server."""

    kind: Literal["native", "embedded"]
    version: str
    command: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    cwd: str | None = None
    protection: tuple[str, ...] = ()
    """What keeps Lean code from the machine, for `doctor`."""

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


def native_lean() -> tuple[str, str] | None:
    """(path, version) of a native Lean of the pinned release, or None."""
    for candidate in (shutil.which("lean"), str(Path.home() / ".elan/bin/lean")):
        if candidate and os.access(candidate, os.X_OK):
            command = [candidate, "--version"]
            if "elan" in os.path.realpath(candidate):
                command.insert(1, f"+leanprover/lean4:v{TOOLCHAIN}")
            try:
                out = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
            except (OSError, subprocess.TimeoutExpired):
                continue
            if (m := re.search(r"version (\d+\.\d+\.\d+\S*?),? ", out)) and m.group(1).startswith(TOOLCHAIN[:4]):
                return candidate, m.group(1)
    return None


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
            raise UserError(f"no native Lean {TOOLCHAIN} on PATH or through elan: install it, or unset TURNSTILE_LEAN")
    return _embedded()


def _native(lean: str, version: str) -> LeanRuntime:
    source = server_file()
    command = [lean, "--run", str(source)]
    protection = ["resource limits"]
    if bwrap := shutil.which("bwrap"):
        command = [bwrap, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--ro-bind",
                   str(source.parent), str(source.parent), "--unshare-all", "--die-with-parent", *command]  # fmt: skip
        protection.append("bubblewrap: read-only file system, no network, own processes")
    env = {"PATH": os.environ.get("PATH", ""), "HOME": str(Path.home())}
    return LeanRuntime("native", version, tuple(command), env, str(source.parent), tuple(protection))


def _embedded() -> LeanRuntime:
    root = install.install()
    source = server_file()
    env = {"TURNSTILE_LEAN_LIB": str(root / "lib"), "TURNSTILE_LEAN_SERVER": str(source.parent), "LANG": "C.UTF-8"}
    command = (
        str(install.node_path()),
        "--stack-size=60000",  # KiB; the process gets a larger stack limit before it starts
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
    kept = source.parent / f"snapshot-m{MEND_VERSION}"
    if snapshot.make(command, env, kept):
        env["TURNSTILE_RESTORE"] = str(kept)
    protection = (
        "WebAssembly: no processes, no sockets",
        "Node permissions: reads only its own library and server, writes nothing",
    )
    return LeanRuntime("embedded", install.LEAN_VERSION, command, env, str(root), protection)
