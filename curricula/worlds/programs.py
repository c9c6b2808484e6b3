"""Small functional programs with specifications: a compiler for a stack machine, a queue by two lists, and insertion sort."""

from __future__ import annotations

import random

from curricula.worlds.development import Development
from curricula.worlds.theorems import WorldTheorem
from curricula.worlds.theories import read_theory

DEVELOPMENTS = tuple(Development("programs", read_theory(name)) for name in ("compiler", "queues", "sorting"))


def sample(rng: random.Random, difficulty: tuple[int, int]) -> WorldTheorem | None:
    """A theorem about one of the programs (see Development.sample)."""
    return rng.choice(DEVELOPMENTS).sample(rng, difficulty)
