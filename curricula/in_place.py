"""Theorem sets from `.lean` files and Lake projects with proofs. Each theorem has everything before it as its context, and nothing after it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from curricula.library import Split, split_of
from curricula.novel_premises import novel_premises
from prover.console import say
from prover.errors import UserError
from prover.lean.extract import ExtractServer
from prover.lean.in_place import theorem_of
from prover.lean.project import explain_import, is_project
from prover.lean.server import LeanDied, LeanError
from prover.lean.theorem import Theorem
from prover.solve.extraction import LIMITS, Input, inputs_of

SplitBy = Literal["name", "file", "novel_premises"]


@dataclass(frozen=True)
class Placed:
    """A theorem at its place in a file."""

    theorem: Theorem
    file: str
    """Its file, relative to the project."""
    premises: tuple[str, ...]
    """Constants that its proof names; empty if they were not requested."""


def theorems_in_place(target: str, split: Split | None = None, by: SplitBy = "name") -> list[Theorem]:
    """The theorems of a `.lean` file or Lake project, in order, or one split of them.

    `by`: a hash of the name, a hash of the file's path, or LeanDojo's split by premises. Skips files of a project that cannot be
    elaborated, with a line on standard error. Raises UserError if none can.
    """
    placed = placed_in(target, by == "novel_premises" and split is not None)
    if split is None:
        return [p.theorem for p in placed]
    if by == "novel_premises":
        splits = novel_premises({p.theorem.name: p.premises for p in placed})
        return [p.theorem for p in placed if splits[p.theorem.name] == split]
    return [p.theorem for p in placed if split_of(p.theorem.name if by == "name" else p.file) == split]


def placed_in(target: str, premises: bool = True) -> list[Placed]:
    """The theorems of a `.lean` file or Lake project, in order, with the constants that their proofs name if `premises`.

    Skips files as theorems_in_place does. Raises UserError.
    """
    inputs, skipped = inputs_of(target)
    placed = _placed(tuple(inputs), premises)
    for file, why in skipped.items():
        say(f"turnstile: skipped: {file}: {why}")
    return placed


@functools.lru_cache(maxsize=16)
def _placed(inputs: tuple[Input, ...], premises: bool) -> list[Placed]:
    """Cached, because a command may open a set several times."""
    found, failed = asyncio.run(_read(inputs, premises))
    if failed and len(failed) == len(inputs):
        raise UserError(failed[0])
    for why in failed:
        say(f"turnstile: skipped: {why}")
    return found


async def _read(inputs: Sequence[Input], premises: bool) -> tuple[list[Placed], list[str]]:
    """(the theorems, a message for each file that failed)."""
    found: list[Placed] = []
    failed: list[str] = []
    async with ExtractServer(limits=LIMITS) as server:
        for each in inputs:
            try:
                got = await server.extract(each.text, each.imports.shipped, each.imports.sources(), steps=premises)
            except (LeanError, LeanDied) as error:
                failed.append(explain_import(str(error), each.text.path))
                continue
            await server.free([state for step in got.steps for state in step.states])
            for d in got.declarations:
                if (theorem := theorem_of(each.text, d, each.imports)) is not None:
                    named = tuple(name for s in got.steps if s.declaration == d for name, _ in s.uses)
                    found.append(Placed(theorem, each.file, named))
            if server.own_mb() > LIMITS.memory_mb / 2:  # Lean never releases an environment
                await server.restart()
    return found, failed


def has_theorems(path: Path) -> bool:
    """Whether a path names a `.lean` file or a Lake project."""
    return path.suffix == ".lean" or (path.is_dir() and is_project(path))
