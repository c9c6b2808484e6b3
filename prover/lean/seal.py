"""What native Lean sees of the machine inside bubblewrap: the system's own files and Lean's, read-only; nobody's home.

Without bubblewrap there are resource limits only (`process.py`): Lean then writes no file, but reads what its user may read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

HOMES = ("/home", "/root", "/Users", "/mnt", "/media", "/srv", "/run", "/var/tmp", "/tmp")
"""Folders that are empty inside, with what Lean needs of them put back. The user's home, wherever it is, is one more."""


def sealed(bwrap: str, lean: Sequence[str], server: Path, lean_path: str = "") -> list[str]:
    """The start of a command that runs `lean` sealed. `server`: the folder of the proof server's source. `lean_path`: folders of
    compiled modules, as LEAN_PATH names them."""
    needed = [Path(lean[0]).parent, Path(os.path.realpath(lean[0])).parent.parent, Path.home() / ".elan", server]
    needed += [Path(folder) for folder in lean_path.split(os.pathsep) if folder]
    hidden = sorted({folder for folder in (*HOMES, str(Path.home())) if os.path.isdir(folder) and not os.path.islink(folder)})
    command = [bwrap, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    for folder in hidden:
        command += ["--tmpfs", folder]
    for path in dict.fromkeys(str(p) for p in needed if p.exists() and str(p) not in ("/", *hidden)):
        command += ["--ro-bind", path, path]
    for folder in hidden:
        command += ["--remount-ro", folder]
    return [*command, "--unshare-all", "--die-with-parent", *lean]
