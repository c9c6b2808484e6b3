"""Find a Lean, native or embedded, and the command that starts the proof server on it."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from prover.console import say
from prover.errors import UserError
from prover.lean import toolchain
from prover.lean.embedded import install, snapshot
from prover.lean.embedded.patch import PATCH_VERSION
from prover.lean.native import executable
from prover.lean.sandbox.seal import Layer, Seal, layers
from prover.lean.source import PINNED, release_of, server_file, supported, supported_text
from prover.lean.toolchain import NativeLean, Pin

HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage"
"""The system's settings of huge pages, which the C library reads before it requests any."""


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


def version_drift() -> str:
    """A sentence about native Leans that are installed but not supported; empty if a supported one is installed."""
    installed = toolchain.versions_installed()
    if not installed or any(map(supported, installed)):
        return ""
    return f"native Lean {', '.join(sorted(installed))} is installed, but the proof server supports {supported_text()}"


def native_lean() -> NativeLean | None:
    """The native Lean that would be used here, or None. Raises UserError if the project pins one that is not supported."""
    pin = toolchain.obeyed()
    return toolchain.pinned_lean(pin) if pin is not None else toolchain.best_installed()


def find_runtime(kind: str | None = None) -> LeanRuntime:
    """The Lean to use, made ready: the one that the project pins (see toolchain.obey), else an installed native one, else the embedded.

    `kind` (or $TURNSTILE_LEAN): `native` or `embedded` forces one. Raises UserError if it is not available; a pinned Lean is never
    replaced by another release.
    """
    kind = kind or os.environ.get("TURNSTILE_LEAN") or None
    if kind not in (None, "native", "embedded"):
        raise UserError(f"TURNSTILE_LEAN={kind}: choose native or embedded")
    pin = None if kind == "embedded" else toolchain.obeyed()
    return _found(kind, pin, os.environ.get("LEAN_PATH", ""))


@functools.cache
def _found(kind: str | None, pin: Pin | None, _lean_path: str) -> LeanRuntime:
    if kind != "embedded":
        if (native := native_lean()) is not None:
            return _native(native)
        if kind == "native" and pin is None:
            why = version_drift() or f"no native Lean {supported_text()} on PATH or through elan"
            raise UserError(f"{why}: run `elan toolchain install leanprover/lean4:v{PINNED}`, or unset TURNSTILE_LEAN")
        if pin is not None and (kind == "native" or release_of(pin.version) != release_of(install.LEAN_VERSION)):
            otherwise = "unset TURNSTILE_LEAN" if kind == "native" else "set TURNSTILE_LEAN=embedded"
            raise UserError(
                f"{pin.file}: pins {pin.name}, which is not installed: {toolchain.how_to_install(pin)}, or {otherwise} to use Lean "
                f"{install.LEAN_VERSION}"
            )
        if pin is not None:
            say(
                f"turnstile: {pin.file} pins {pin.name}, which is not installed; the embedded Lean {install.LEAN_VERSION} is used"
            )
    return _embedded()


def _native(lean: NativeLean) -> LeanRuntime:
    program, prefix = executable(lean), lean.prefix()
    modules = [os.path.abspath(folder) for folder in os.environ.get("LEAN_PATH", "").split(os.pathsep) if folder]
    env = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(Path.home()),
        "LEAN_SYSROOT": str(prefix),  # without it the server would start `lean` to find it, which the sandbox forbids
        "LD_LIBRARY_PATH": str(prefix / "lib" / "lean"),
    }
    if modules:  # set by `lake env`: the project's modules and packages
        env["LEAN_PATH"] = os.pathsep.join(modules)
    reads = [program.parent, prefix / "bin", prefix / "lib", *map(Path, modules)]
    return LeanRuntime("native", lean.version, (str(program),), env, Seal(tuple(map(str, reads))), layers())


def embedded_command(root: Path, source: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """(command, environment) that runs the embedded Lean in `root`, which may read only itself and the folder `source` (as /srv)."""
    command = (
        str(install.node_path()),
        "--stack-size=60000",  # KiB; the process's stack limit is larger
        "--disallow-code-generation-from-strings",
        "--permission",
        f"--allow-fs-read={root}",
        f"--allow-fs-read={source}",
        "--allow-worker",
        "--disable-warning=SecurityWarning",
        "--wasm-lazy-validation",  # saves a second of CPU time; the installation checked the module's hash
        # Optimise later than V8 would (13 MB). The optimiser's threads took 40 % of the first 100 steps' CPU time, and 25 % of 1,700
        # steps'; the thread that runs Lean is no slower.
        "--wasm-tiering-budget=300000000",
        str(root / "lean.js"),
    )
    return command, {
        "TURNSTILE_LEAN_LIB": str(root / "lib"),
        "TURNSTILE_LEAN_SERVER": str(source),
        "LANG": "C.UTF-8",
        # A start copies the module twice. With huge pages, that and the end of the process take half of the page faults.
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }


def _embedded() -> LeanRuntime:
    root = install.install()
    source = server_file(install.LEAN_VERSION)
    lean, env = embedded_command(root, source.parent)
    command = (*lean, "--run", "/srv/Server.lean")
    seal = Seal((lean[0], str(root), str(source.parent), HUGE_PAGES))
    kept = source.parent / f"snapshot-m{PATCH_VERSION}"
    if snapshot.make(command, env, seal, kept):
        env["TURNSTILE_RESTORE"] = str(kept)
    inside = (
        Layer("lean.js", True, "WebAssembly: no processes, no sockets, no dynamic loading, no threads but Lean's"),
        Layer("no code from strings", True, "JavaScript runs from lean.js and watch.js only"),
        Layer("Node permissions", True, "reads only its own library and server, writes nothing"),
    )
    return LeanRuntime("embedded", install.LEAN_VERSION, command, env, seal, (*inside, *layers()))
