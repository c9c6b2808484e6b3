"""Natural numbers defined from scratch: laws of addition, multiplication, doubling, powers and order, and equations that follow from them."""

from __future__ import annotations

from curricula.worlds.development import Development
from curricula.worlds.theories import read_theory

WORLD = Development("peano", read_theory("peano"))
sample = WORLD.sample
