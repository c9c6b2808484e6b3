"""Writes a world's theorems with their proofs as a Lake project, from which `turnstile extract` makes training data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from curricula.worlds.theorems import WorldTheorem
from prover.files import check_new_folder, write_whole

LAKEFILE = """name = "world"
defaultTargets = ["World"]

[[lean_lib]]
name = "World"
"""


def write_project(theorems: Sequence[WorldTheorem], folder: Path) -> None:
    """One file for each theorem, because each has definitions of its own. Raises UserError if the folder exists or cannot be made."""
    check_new_folder(folder, "--proofs")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        made = Path(scratch) / "made"
        _write(theorems, made)
        made.rename(folder)  # whole or not at all


def _write(theorems: Sequence[WorldTheorem], folder: Path) -> None:
    (folder / "World").mkdir(parents=True)
    write_whole(folder / "lakefile.toml", LAKEFILE.encode())
    for w in theorems:
        t = w.theorem
        body = "\n".join(f"  {line}" if line else "" for line in w.proof.split("\n"))
        source = f"{t.context.rstrip()}\n\ntheorem {t.name} {t.statement} := by\n{body}\n"
        write_whole(folder / "World" / f"{t.name}.lean", source.encode())
