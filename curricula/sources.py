"""What `turnstile prove` takes besides files of its own: theorem sets, library modules, LeanDojo Benchmark."""

from __future__ import annotations

from pathlib import Path

from curricula.lean_dojo_benchmark import checkout_theorems
from curricula.library import module_theorems
from curricula.sets import load_set, open_set
from prover.errors import UserError
from prover.lean.text import LeanText, read
from prover.lean.theorem import Theorem
from prover.premises.index import library_index


def theorem_set(name: str, sources: Path | None) -> LeanText | list[Theorem]:
    """`set:NAME`. A set of one `.lean` file is that file, so that Lean itself finds its tasks."""
    chosen = load_set(name)
    if chosen.kind == "lean" and len(chosen.files) == 1:
        return read(chosen.path_of(chosen.files[0]))
    return open_set(chosen)


def library(module: str, sources: Path | None) -> list[Theorem]:
    """`library:MODULE`, also with `*`."""
    return module_theorems(library_index(), module)


def lean_dojo(path: str, sources: Path | None) -> list[Theorem]:
    """`FILE.json`: a split of LeanDojo Benchmark, about the repository that is checked out in `sources`."""
    if sources is None:
        raise UserError(f"{path}: name a checkout of the repository that it is about with --sources FOLDER")
    return checkout_theorems(Path(path), sources)
