"""Worlds: generators of true theorems of a given difficulty. `logic`, `first_order`, `rewriting`, `peano`, `sequences` and `programs`."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from curricula.library import Split, split_of
from curricula.worlds import first_order, logic, rewriting
from curricula.worlds.chains import RADIUS
from curricula.worlds.developments import PEANO, SEQUENCES, program
from curricula.worlds.theorems import WorldTheorem
from prover.errors import UserError

__all__ = ["WORLDS", "WorldSplit", "WorldTheorem", "in_split", "world"]
Sample = Callable[[random.Random, tuple[int, int]], WorldTheorem | None]


@dataclass(frozen=True)
class World:
    """A generator of theorems, and its limits."""

    sample: Sample
    """A random theorem whose difficulty is likely in a range, or None."""
    difficulties: tuple[int, int]
    """Default (lowest, highest) difficulty."""
    harder: int
    """Difficulty above which `split=harder` begins."""
    samples: int
    """Samples without a new theorem after which the world counts as exhausted."""


def _logic(sample: Sample) -> World:
    return World(sample, (3, 20), 8, 30_000)


def _equations(sample: Sample) -> World:
    """Whether the distance of an equation is above `harder` depends on the statement alone, so no statement is on both sides."""
    return World(sample, (2, 9), 2 * RADIUS, 1000)


WORLDS = {
    "logic": _logic(logic.sample),
    "first_order": _logic(first_order.sample),
    "rewriting": _equations(rewriting.sample),
    "peano": _equations(PEANO.sample),
    "sequences": _equations(SEQUENCES.sample),
    "programs": _equations(program),
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
    chosen = WORLDS[name]
    lowest, highest = difficulty or chosen.difficulties
    if count < 1 or not 1 <= lowest <= highest:
        raise UserError(f"world:{name}: count must be at least 1, and difficulty LOW-HIGH with 1 ≤ LOW ≤ HIGH")
    if split is not None and split not in SPLITS:
        raise UserError(f"world:{name}: unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    lowest = max(lowest, chosen.harder + 1) if split == "harder" else lowest
    highest = min(highest, chosen.harder) if split == "easier" else highest
    rng = random.Random(f"turnstile world {name} {seed}")
    found: dict[str, WorldTheorem] = {}
    fruitless = 0
    while len(found) < count:
        if lowest > highest or fruitless >= chosen.samples:
            wanted = f"{count} theorems" + (f" of split {split}" if split else "")
            raise UserError(
                f"world:{name}: found {len(found)} of {wanted} with difficulty {lowest}-{highest}; lower count or widen difficulty"
            )
        new = chosen.sample(rng, (lowest, highest))
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
