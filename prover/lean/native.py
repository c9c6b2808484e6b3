"""Builds the proof server as an executable, once for each native Lean and source, in the user's cache."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections import deque
from pathlib import Path

from filelock import FileLock

from prover.console import plain, say
from prover.errors import UserError
from prover.files import write_whole
from prover.lean.embedded.install import cache_dir
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


def build_folder(lean: NativeLean) -> Path:
    """The folder of a Lean's server. Its name changes with the build of Lean and with the server's source."""
    source = server_source(lean.version, embedded=False)
    return cache_dir() / "native" / f"{lean.version}-{digest(lean.banner, lean.toolchain, source)}"


def executable(lean: NativeLean) -> Path:
    """The server for a native Lean, built if there is none. Raises UserError, with Lean's error, if it cannot be built."""
    folder = build_folder(lean)
    program = folder / ".lake" / "build" / "bin" / EXECUTABLE
    complete = folder / "complete"
    if complete.exists() and os.access(program, os.X_OK):
        return program
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(str(folder) + ".lock"):
        if not (complete.exists() and os.access(program, os.X_OK)):
            write_whole(folder / "Server.lean", server_source(lean.version, embedded=False).encode())
            write_whole(folder / "lakefile.toml", _LAKEFILE.encode())
            if lean.toolchain:
                write_whole(folder / "lean-toolchain", f"{lean.toolchain}\n".encode())
            _build(lean, folder)
            if not os.access(program, os.X_OK):
                raise UserError(f"{folder}: `lake build` made no {EXECUTABLE}: delete this folder and try again")
            complete.touch()
    return program


def _build(lean: NativeLean, folder: Path) -> None:
    """Run `lake build`, with its progress on standard error and its whole output in build.log."""
    say(f"turnstile: building the proof server for Lean {lean.version} (once; a few minutes)")
    # Not the project's: the server is built from Lean's own modules only.
    env = {k: v for k, v in os.environ.items() if k not in ("LEAN_PATH", "LEAN_SRC_PATH", "LEAN_SYSROOT", "LAKE_HOME")}
    last: deque[str] = deque(maxlen=200)
    log = folder / "build.log"
    try:
        with (
            log.open("w") as kept,
            subprocess.Popen(
                [*lean.lake, "build"],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process,
        ):
            assert process.stdout
            for line in process.stdout:
                kept.write(line)
                last.append(line)
                if line.startswith(("✔", "ℹ", "⚠", "✖", "[", "Build")):
                    say(f"turnstile: {plain(line)}")
    except OSError as error:
        raise UserError(
            f"`{' '.join(lean.lake)} build` did not start: {error.strerror}: install Lean with elan"
        ) from None
    if process.returncode:
        why = next((line for line in last if "error" in line), last[-1] if last else "no output")
        with contextlib.suppress(OSError):
            (folder / "complete").unlink()
        raise UserError(f"the proof server does not build with Lean {lean.version}: {plain(why)} (all of it: {log})")
