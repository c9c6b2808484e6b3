"""The files of a project that git reports as changed (`turnstile prove --changed`)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from prover.console import one_line
from prover.errors import UserError
from prover.lean.project import project_of

_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
"""A repository's own settings may name programs to run."""


def working_project() -> Path:
    """The Lake project that the working folder is in, relative if it is the folder itself. Raises UserError if there is none."""
    here = Path.cwd()
    if (found := project_of(here / "file")) is None:
        raise UserError(f"{here} is in no Lake project; name one as the target")
    return Path() if found.folder == here else found.folder


def changed_files(folder: Path, base: str | None = None) -> frozenset[Path]:
    """The changed and new .lean files of a folder, resolved. `base`: changes since this branch left it; else since the last commit.

    Raises UserError if the folder is in no git repository, or git knows no such branch.
    """
    _git(folder, "rev-parse", "--show-toplevel", advice="; run the command in a git repository")
    since = "HEAD"
    if base is not None:
        if base.startswith("-"):
            raise UserError(f"--base {base} is not the name of a branch or commit")
        since = _git(folder, "merge-base", base, "HEAD", advice="; give --base a branch or commit").strip()
    changed = _git(
        folder,
        "diff",
        "--no-ext-diff",
        "--no-textconv",
        "--name-only",
        "--relative",
        "--diff-filter=d",
        "-z",
        since,
        "--",
        "*.lean",
    )
    new = _git(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.lean")
    return frozenset((folder / name).resolve() for name in f"{changed}\0{new}".split("\0") if name)


def _git(folder: Path, *args: str, advice: str = "") -> str:
    """What git prints. Raises UserError, which ends in `advice`, if git fails."""
    command = ["git", *_SAFE, *args]
    env = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, errors="surrogateescape", check=False
        )
    except OSError as error:
        raise UserError(f"git did not start ({error.strerror}); install git") from None
    if done.returncode:
        reason = one_line(done.stderr).removeprefix("fatal: ").partition(" (or any")[0]
        raise UserError(f"{folder}: git {args[0]} failed with {reason or 'no message'!r}{advice}")
    return done.stdout
