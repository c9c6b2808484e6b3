"""Download a part that Turnstile can use: Mathlib."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from prover.console import answer
from prover.errors import UserError
from prover.lean.mathlib import set_up
from prover.lean.source import PINNED, supported
from prover.lean.toolchain import best_installed, pin_of, version_in


def setup(part: Literal["mathlib"], /, *, lean: str = "", json: bool = False) -> int:
    """Make a Lake project with Mathlib in the cache, for inputs that import Mathlib and belong to no Lake project.

    Installs the Lean release by elan if it is missing, downloads Mathlib with its compiled modules (about 7 GB), and builds the proof
    server. The same command continues an interrupted set-up.

    Args:
        part: mathlib.
        lean: the Lean release, as in 4.28.0. Default: the one that the working folder pins, else the one that is installed.
        json: print one JSON document.
    """
    version = version_in(lean) if lean else _version_here()
    if not version:
        raise UserError(f"--lean {lean}: is not a release of Lean: write one such as {PINNED}")
    project, server = set_up(version)
    if json:
        answer({"lean": version, "mathlib": project.tag, "project": str(project.folder), "server": str(server)})
    else:
        print(f"Mathlib {project.tag} is ready in {project.folder}")
    return 0


def _version_here() -> str:
    """The release that the working folder pins, or that is used where nothing pins one. Raises UserError."""
    if (pin := pin_of(Path.cwd())) is not None:
        if not supported(pin.version):
            raise UserError(f"{pin.file}: pins {pin.name}: name a supported release with --lean")
        return pin.version
    installed = best_installed()
    return (version_in(installed.version) if installed is not None else "") or PINNED
