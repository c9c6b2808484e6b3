"""Worlds: generators of true theorems of a given difficulty. `logic`, `first_order`, `rewriting`, `peano`, `sequences` and `programs`."""

from __future__ import annotations

import importlib
import random
from dataclasses import dataclass
from typing import Literal, get_args

from curricula.library import Split, split_of
from curricula.worlds.chains import RADIUS
from curricula.worlds.theorems import WorldTheorem
from prover.errors import UserError

__all__ = ["WORLDS", "WorldSplit", "WorldTheorem", "in_split", "world"]


@dataclass(frozen=True)
class Limits:
    """Limits of a world."""

    difficulties: tuple[int, int]
    """Default (lowest, highest) difficulty."""
    harder: int
    """Difficulty above which `split=harder` begins."""
    samples: int
    """Samples without a new theorem after which the world counts as exhausted."""


LOGIC = Limits((3, 20), 8, 30_000)
EQUATIONS = Limits((2, 9), 2 * RADIUS, 1000)
"""The distance of an equation is exact up to `harder`, so no statement is on both sides."""
WORLDS: dict[str, Limits] = {
    "logic": LOGIC,
    "first_order": LOGIC,
    "rewriting": EQUATIONS,
    "peano": EQUATIONS,
    "sequences": EQUATIONS,
    "programs": EQUATIONS,
}
WorldSplit = Literal[Split, "easier", "harder"]
"""A split by hash of the statement up to names, or the theorems up to or above the world's `harder`."""
SPLITS: tuple[str, ...] = get_args(WorldSplit)


def world(
    name: str, seed: int, count: int, difficulty: tuple[int, int] | None = None, split: WorldSplit | None = None
) -> list[WorldTheorem]:
    """`count` theorems of a world, no two of them equal up to names. Equal arguments give equal theorems.

    `difficulty`: the lowest and highest, by default the world's own. Raises UserError for an unknown world, for numbers out of
    range, and if the world has fewer theorems.
    """
    if name not in WORLDS:
        raise UserError(f"unknown world {name!r}; choose one of {', '.join(WORLDS)}")
    module, limits = importlib.import_module(f"curricula.worlds.{name}"), WORLDS[name]
    lowest, highest = difficulty or limits.difficulties
    if count < 1 or not 1 <= lowest <= highest:
        raise UserError(f"world:{name}: count must be at least 1, and difficulty LOW-HIGH with 1 ≤ LOW ≤ HIGH")
    if split is not None and split not in SPLITS:
        raise UserError(f"world:{name}: unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    lowest = max(lowest, limits.harder + 1) if split == "harder" else lowest
    highest = min(highest, limits.harder) if split == "easier" else highest
    rng = random.Random(f"turnstile world {name} {seed}")
    found: dict[str, WorldTheorem] = {}
    fruitless = 0
    while len(found) < count:
        if lowest > highest or fruitless >= limits.samples:
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
        harder = theorem.difficulty > WORLDS[theorem.world].harder
        return harder == (split == "harder")
    return split is None or split_of(theorem.theorem.name) == split
