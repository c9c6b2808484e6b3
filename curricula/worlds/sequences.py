"""Lists and trees defined from scratch: append, reverse, map, length, mirror image, size, flattening, and equations that follow from laws."""

from __future__ import annotations

from curricula.worlds.development import Development
from curricula.worlds.theories import read_theory

WORLD = Development("sequences", read_theory("sequences"))
sample = WORLD.sample
