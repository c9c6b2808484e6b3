"""Small functional programs with specifications: a compiler, a queue by two lists, and insertion sort."""

from __future__ import annotations

import random

from curricula.worlds import compiler, queues, sorting
from curricula.worlds.chains import RADIUS
from curricula.worlds.theorems import WorldTheorem

DIFFICULTIES = (2, 9)
HARDER = 2 * RADIUS
"""`split=harder` begins above this. The distance of an equation is exact up to here, so no statement is on both sides."""
SAMPLES = 1000
"""Samples without a new theorem after which the world counts as exhausted."""
DEVELOPMENTS = (compiler.WORLD, queues.WORLD, sorting.WORLD)


def sample(rng: random.Random, difficulty: tuple[int, int]) -> WorldTheorem | None:
    """A theorem about one of the programs (see Development.sample)."""
    return rng.choice(DEVELOPMENTS).sample(rng, difficulty)
