"""Bubblewrap: run a process in its own namespaces, where it can only read the system's files and those that Lean needs.

seal.py uses it if the kernel's Landlock is missing or too old.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

HOMES = ("/home", "/root", "/Users", "/mnt", "/media", "/srv", "/run", "/var/tmp", "/tmp")
"""Folders that appear empty, except for the files that Lean needs. The user's home is always added."""
PID = 2
"""Process id of the command in its namespace; bubblewrap itself is 1."""


def wrapped(bwrap: str, command: Sequence[str], reads: Iterable[str], writes: Iterable[str] = ()) -> list[str]:
    """The command that runs `command` in bubblewrap. `reads`, `writes`: paths in hidden folders that it may read or write."""
    hidden = sorted(
        {folder for folder in (*HOMES, str(Path.home())) if os.path.isdir(folder) and not os.path.islink(folder)}
    )
    line = [bwrap, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    for folder in hidden:
        line += ["--tmpfs", folder]
    for path in dict.fromkeys(p for p in reads if os.path.exists(p)):
        real = os.path.realpath(path)
        for place in dict.fromkeys((path, real)):  # keep symbolic links working
            if any(Path(folder) in Path(place).parents for folder in hidden):
                line += ["--ro-bind", real, place]
    for path in writes:
        line += ["--bind", path, path]
    for folder in hidden:
        line += ["--remount-ro", folder]
    return [*line, "--chdir", "/tmp", "--unshare-all", "--die-with-parent", *command]


@functools.cache
def working() -> str:
    """Path of a working bubblewrap; empty if there is none. Some systems forbid it to create namespaces."""
    bwrap, true = shutil.which("bwrap"), shutil.which("true")
    if not bwrap or not true:
        return ""
    try:
        done = subprocess.run(wrapped(bwrap, [true], ()), capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return bwrap if done.returncode == 0 else ""
