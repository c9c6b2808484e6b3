"""The worlds of definitions and lemmas."""

from __future__ import annotations

import random

from curricula.worlds.development import Development
from curricula.worlds.theorems import WorldTheorem
from curricula.worlds.theories import read_theory

PEANO = Development("peano", read_theory("peano"))
"""Natural numbers: laws of addition, multiplication, doubling, powers and order."""
SEQUENCES = Development("sequences", read_theory("sequences"))
"""Lists and trees: append, reverse, map, length, mirror image, size and flattening."""
PROGRAMS = tuple(Development("programs", read_theory(name)) for name in ("compiler", "queues", "sorting"))
"""Small functional programs with specifications: a compiler for a stack machine, a queue by two lists, and insertion sort."""


def program(rng: random.Random, difficulty: tuple[int, int]) -> WorldTheorem | None:
    """A theorem about one of the programs (see Development.sample)."""
    return rng.choice(PROGRAMS).sample(rng, difficulty)
