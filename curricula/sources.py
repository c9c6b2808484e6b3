"""Theorem sources of `turnstile prove` besides files: theorem sets, library modules, worlds and LeanDojo Benchmark."""

from __future__ import annotations

from pathlib import Path

from curricula.lean_dojo_benchmark import checkout_theorems
from curricula.library import module_theorems
from curricula.sets import load_set, open_set, plain_theorems
from curricula.worlds.spec import world_of
from prover.errors import UserError
from prover.lean.text import LeanText, read
from prover.lean.theorem import Theorem
from prover.premises.index import library_index


def theorem_set(name: str, sources: Path | None) -> LeanText | list[Theorem]:
    """`set:NAME`. Returns a set of one `.lean` file whose proofs are all `sorry` as that file, in which Lean finds the tasks."""
    chosen = load_set(name)
    if chosen.kind == "lean" and len(chosen.files) == 1 and chosen.split is None:
        path = chosen.path_of(chosen.files[0])
        if path.is_file() and plain_theorems(text := read(path)) is not None:
            return text
    return open_set(chosen)


def library(module: str, sources: Path | None) -> list[Theorem]:
    """`library:MODULE`, with `*` as a wildcard."""
    return module_theorems(library_index(), module)


def world(spec: str, sources: Path | None) -> list[Theorem]:
    """`world:NAME?count=…&seed=…&difficulty=…&split=…`."""
    return [w.theorem for w in world_of(spec)]


def lean_dojo(path: str, sources: Path | None) -> list[Theorem]:
    """`FILE.json`: a split of LeanDojo Benchmark. `sources`: a checkout of its repository."""
    if sources is None:
        raise UserError(f"{path}: give a checkout of the benchmark's repository with --sources FOLDER")
    return checkout_theorems(Path(path), sources)
