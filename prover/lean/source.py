"""The source of the proof server for one Lean: its modules as one file, with the parts that differ between releases."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from prover.errors import UserError
from prover.files import making, write_whole
from prover.lean.embedded import install

PINNED = "4.28.0"
"""The release of the worlds and theorem sets, and of the embedded Lean."""
OLDEST, NEWEST = (4, 22), (4, 34)
"""Supported releases. lean_project/SUPPORTED.md lists the sources that were read for each."""

BEFORE = ("Basic",)
_AFTER = (
    "Goals Kinds Print Step Inert Text Load Modules Export Added Declare Guard Replay Compare Assume Check Everything"
)
AFTER = tuple(_AFTER.split())
LAST = ("Library", "Surroundings", "Extract", "Main")
"""The server's modules in order. Parts of Compat/ come between them."""
_SINCE = ((4, 28), (4, 22))
"""First releases of the ranges in Compat/, newest first."""


def project_dir() -> Path:
    """The Lake project with the server's source, in the repository or in the installed package."""
    here = Path(__file__).resolve()
    for candidate in (here.parents[2] / "lean_project", here.parents[1] / "_lean_project"):
        if (candidate / "Turnstile" / "Main.lean").exists():
            return candidate
    raise UserError("lean_project/ is missing from this installation: reinstall turnstile-prover")


def release_of(version: str) -> tuple[int, int] | None:
    """(major, minor) of a Lean version such as `4.30.0-rc1` or `v4.30.0`; None if it has none."""
    m = re.match(r"v?(\d+)\.(\d+)\.\d", version)
    return (int(m[1]), int(m[2])) if m else None


def supported(version: str) -> bool:
    release = release_of(version)
    return release is not None and OLDEST <= release <= NEWEST


def supported_text() -> str:
    return f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"


def files(version: str, embedded: bool) -> list[Path]:
    """The files of the server for a supported Lean, in order."""
    release = release_of(version)
    assert release is not None
    since = next(first for first in _SINCE if release >= first)
    folder = project_dir()
    own, compat = folder / "Turnstile", folder / "Compat"
    return [
        *(own / f"{name}.lean" for name in BEFORE),
        compat / ("Embedded.lean" if embedded else "Native.lean"),
        *(own / f"{name}.lean" for name in AFTER),
        compat / f"From{since[1]}.lean",
        *(own / f"{name}.lean" for name in LAST),
    ]


def server_source(version: str, embedded: bool) -> str:
    """The server as one file. The embedded Lean cannot run imported code, and a single file is a single unit to build."""
    imports: list[str] = []
    body: list[str] = []
    for path in files(version, embedded):
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("import "):
                body.append(line)
            elif not line.startswith(("import Turnstile", "import Compat")) and line not in imports:
                imports.append(line)
    text = "\n".join([*imports, *body, ""])
    # The embedded Lean takes a file for a module, whose declarations are private. Its library lacks what inlined code needs.
    if embedded:
        return text.replace("\nunsafe def main ", "\npublic unsafe def main ")
    return text.replace("set_option compiler.small 0\n", "")


def server_file(version: str) -> Path:
    """The embedded server's source as a file in the cache, in a folder named by its hash."""
    source = server_source(version, embedded=True)
    folder = install.cache_dir() / "server" / digest(source)
    target = folder / "Server.lean"
    if not target.exists():
        with making(target):
            write_whole(target, source.encode())
    return target


def server_key() -> str:
    """Hash of the server's source for all Leans."""
    return digest(
        *(server_source(f"{first[0]}.{first[1]}.0", embedded) for first in _SINCE for embedded in (True, False))
    )


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
