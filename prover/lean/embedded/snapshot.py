"""Snapshots of the embedded server's memory when it is ready, so that later starts do not elaborate its source again.

A snapshot is made and tested once for each source of the server, and kept beside it in the cache. Without one, a start takes
half a minute longer.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from prover.errors import UserError
from prover.files import making
from prover.lean.sandbox.seal import Seal, Sealing

UNUSED_S = 24 * 3600
"""Seconds after which an unused snapshot (250 MB) is deleted when a new one is made. Until then, a running server may need its snapshot
again after a crash."""
_SECONDS = 600
_log = logging.getLogger(__name__)


def _run(command: tuple[str, ...], env: dict[str, str], seal: Seal, stdin: bytes) -> str:
    with contextlib.closing(Sealing(seal, command)) as sealing:
        done = subprocess.run(
            sealing.command,
            env=env,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=sealing.cwd,
            pass_fds=sealing.fds,
            timeout=_SECONDS,
            preexec_fn=sealing.apply,
            check=False,
        )
    return done.stdout.decode(errors="replace")


def complete(folder: Path) -> bool:
    """Whether the folder has a whole snapshot."""
    try:
        state = json.loads((folder / "state.json").read_text())
        return (folder / "memory").stat().st_size == state["bytes"]
    except (OSError, ValueError, KeyError):
        return False


def _works(command: tuple[str, ...], env: dict[str, str], seal: Seal, folder: Path) -> bool:
    """Whether a server that starts from it can load source, which needs imports, files and tasks on new threads."""
    request = {
        "id": 1,
        "cmd": "load",
        "source": "example : 1 = 1 := by sorry",
        "file": "<snapshot>",
        "imports": ["Init"],
    }
    out = _run(command, env | {"TURNSTILE_RESTORE": str(folder)}, seal, f"nonce:\n{json.dumps(request)}\n".encode())
    return 'nonce:{"ready"' in out and '"errors":[]' in out


def make(command: tuple[str, ...], env: dict[str, str], seal: Seal, folder: Path) -> bool:
    """Put the snapshot of the server that `command` starts into `folder` if it has none. False if that fails."""
    if complete(folder):
        with contextlib.suppress(OSError):  # the folder may be read-only or belong to another user
            os.utime(folder)
        return True
    try:
        with making(folder):
            if complete(folder):
                return True
            with tempfile.TemporaryDirectory(prefix="snapshot-", dir=folder.parent) as scratch:
                fresh = Path(scratch) / "new"
                fresh.mkdir()
                writing = (command[0], f"--allow-fs-write={fresh}", *command[1:])
                out = _run(writing, env | {"TURNSTILE_SAVE": str(fresh)}, seal.writing(str(fresh)), b"")
                if not complete(fresh) or not _works(command, env, seal.reading(str(fresh)), fresh):
                    _log.warning("no snapshot of the Lean server, it will start slowly: %s", out.strip()[-300:])
                    return False
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(fresh, folder)
    except (OSError, UserError, subprocess.SubprocessError) as e:
        _log.warning("no snapshot of the Lean server, it will start slowly: %s", e)
        return False
    for old in folder.parent.parent.glob("*/snapshot-m*"):
        with contextlib.suppress(OSError):  # another process may have removed it
            if time.time() - old.stat().st_mtime > UNUSED_S:
                shutil.rmtree(old, ignore_errors=True)
    return True
