"""Builds the proof server as an executable, once for each native Lean and source, in the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

from prover.console import say
from prover.errors import UserError
from prover.files import making, write_whole
from prover.lean.embedded.install import cache_dir
from prover.lean.lake import ToolFailed, run_tool
from prover.lean.source import digest, server_source
from prover.lean.toolchain import NativeLean

EXECUTABLE = "turnstile-server"
_LAKEFILE = f"""name = "turnstile"
defaultTargets = ["{EXECUTABLE}"]

[[lean_exe]]
name = "{EXECUTABLE}"
root = "Server"
supportInterpreter = true
"""


def executable(lean: NativeLean) -> Path:
    """The server for a native Lean, built if necessary. Raises UserError, with Lean's error, if it cannot be built."""
    source = server_source(lean.version, embedded=False)
    # The name changes with the build of Lean and with the server's source.
    folder = cache_dir() / "native" / f"{lean.version}-{digest(lean.banner, lean.toolchain, source)}"
    program = folder / ".lake" / "build" / "bin" / EXECUTABLE
    complete = folder / "complete"
    if complete.exists() and os.access(program, os.X_OK):
        return program
    with making(folder):
        folder.mkdir(exist_ok=True)
        if not (complete.exists() and os.access(program, os.X_OK)):
            write_whole(folder / "Server.lean", source.encode())
            write_whole(folder / "lakefile.toml", _LAKEFILE.encode())
            if lean.toolchain:
                write_whole(folder / "lean-toolchain", f"{lean.toolchain}\n".encode())
            _build(lean, folder)
            if not os.access(program, os.X_OK):
                raise UserError(f"{folder}: `lake build` made no {EXECUTABLE}: delete this folder and try again")
            complete.touch()
    return program


def _build(lean: NativeLean, folder: Path) -> None:
    say(f"turnstile: building the proof server for Lean {lean.version} (once; a few minutes)")
    log = folder / "build.log"
    try:
        run_tool([*lean.lake, "build"], folder, log)
    except ToolFailed as why:
        (folder / "complete").unlink(missing_ok=True)
        raise UserError(f"the proof server does not build with Lean {lean.version}: {why} (all of it: {log})") from None
