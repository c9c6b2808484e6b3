"""Worlds: generators of true theorems with a dial for difficulty. `logic`, `first_order`, `rewriting`, `peano`, `sequences` and `programs`."""

from __future__ import annotations

import importlib
import random
from types import ModuleType
from typing import Literal, get_args

from curricula.library import Split, split_of
from curricula.worlds.theorems import WorldTheorem
from prover.errors import UserError

__all__ = ["WORLDS", "WorldSplit", "WorldTheorem", "in_split", "world"]

WORLDS = ("logic", "first_order", "rewriting", "peano", "sequences", "programs")
WorldSplit = Literal[Split, "easier", "harder"]
"""A split by hash of the statement up to names, or the theorems up to or above the world's HARDER."""
SPLITS: tuple[str, ...] = get_args(WorldSplit)


def world(
    name: str, seed: int, count: int, difficulty: tuple[int, int] | None = None, split: WorldSplit | None = None
) -> list[WorldTheorem]:
    """`count` theorems of a world, no two of them equal up to names. Equal arguments give equal theorems.

    `difficulty`: the lowest and highest, by default the world's DIFFICULTIES. Raises UserError for an unknown world, for numbers out of
    range, and if the world has not that many theorems.
    """
    module = _module(name)
    lowest, highest = difficulty or module.DIFFICULTIES
    if count < 1 or not 1 <= lowest <= highest:
        raise UserError(f"world:{name}: count must be at least 1, and difficulty LOW-HIGH with 1 ≤ LOW ≤ HIGH")
    if split is not None and split not in SPLITS:
        raise UserError(f"world:{name}: unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    lowest = max(lowest, module.HARDER + 1) if split == "harder" else lowest
    highest = min(highest, module.HARDER) if split == "easier" else highest
    rng = random.Random(f"turnstile world {name} {seed}")
    found: dict[str, WorldTheorem] = {}
    fruitless = 0
    while len(found) < count:
        if lowest > highest or fruitless >= module.SAMPLES:
            wanted = f"{count} theorems" + (f" of split {split}" if split else "")
            raise UserError(
                f"world:{name}: found {len(found)} of {wanted} with difficulty {lowest}-{highest}; lower count or widen difficulty"
            )
        new = module.sample(rng, (lowest, highest))
        fruitless += 1
        if new is not None and lowest <= new.difficulty <= highest and in_split(new, split) and new.key not in found:
            found[new.key] = new
            fruitless = 0
    return list(found.values())


def in_split(theorem: WorldTheorem, split: WorldSplit | None) -> bool:
    """Whether a theorem belongs to a split."""
    if split == "easier" or split == "harder":
        harder = theorem.difficulty > _module(theorem.world).HARDER
        return harder == (split == "harder")
    return split is None or split_of(theorem.theorem.name) == split


def _module(name: str) -> ModuleType:
    if name not in WORLDS:
        raise UserError(f"unknown world {name!r}; choose one of {', '.join(WORLDS)}")
    return importlib.import_module(f"curricula.worlds.{name}")
