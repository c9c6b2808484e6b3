"""Bubblewrap: a process sees the system's own files and those that Lean needs, read-only, in namespaces of its own.

The seal (seal.py) uses it where the kernel's Landlock is missing or too old.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

HOMES = ("/home", "/root", "/Users", "/mnt", "/media", "/srv", "/run", "/var/tmp", "/tmp")
"""Folders that are empty inside, with what Lean needs of them put back. The user's home, wherever it is, is one more."""
PID = 2
"""The number of the command inside: bubblewrap itself is 1 there."""


def wrapped(bwrap: str, command: Sequence[str], reads: Iterable[str], writes: Iterable[str] = ()) -> list[str]:
    """The command that runs `command` inside. `reads`, `writes`: what of the hidden folders it sees, and may change."""
    hidden = sorted(
        {folder for folder in (*HOMES, str(Path.home())) if os.path.isdir(folder) and not os.path.islink(folder)}
    )
    line = [bwrap, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    for folder in hidden:
        line += ["--tmpfs", folder]
    for path in dict.fromkeys(p for p in reads if os.path.exists(p)):
        real = os.path.realpath(path)
        for place in dict.fromkeys((path, real)):  # links lead to where they led
            if any(Path(folder) in Path(place).parents for folder in hidden):
                line += ["--ro-bind", real, place]
    for path in writes:
        line += ["--bind", path, path]
    for folder in hidden:
        line += ["--remount-ro", folder]
    return [*line, "--chdir", "/tmp", "--unshare-all", "--die-with-parent", *command]


@functools.cache
def working() -> str:
    """The path of a bubblewrap that works here; empty: there is none. A system may forbid it the namespaces that it needs."""
    bwrap, true = shutil.which("bwrap"), shutil.which("true")
    if not bwrap or not true:
        return ""
    try:
        done = subprocess.run(wrapped(bwrap, [true], ()), capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return bwrap if done.returncode == 0 else ""
