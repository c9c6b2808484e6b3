"""A world as a file: its definitions, and theorems to prove that come with no lemma."""

from __future__ import annotations

import importlib
import random

from curricula.worlds.development import Development
from prover.errors import UserError
from prover.lean.text import LeanText, parse

WORLDS = ("peano", "sequences")
"""Worlds of definitions and lemmas. The others have no lemmas to find."""
SAMPLES = 2000


def development(name: str) -> Development:
    """Raises UserError for a world that is no development."""
    if name not in WORLDS:
        raise UserError(f"world {name!r}: has no definitions of its own; choose one of {', '.join(WORLDS)}")
    return importlib.import_module(f"curricula.worlds.{name}").WORLD


def world_file(name: str, goals: int, seed: int, difficulty: tuple[int, int] = (2, 5)) -> LeanText:
    """The definitions of a world, then `goals` examples with `sorry`, no two alike. Equal arguments give equal files."""
    world = development(name)
    rng = random.Random(f"turnstile conjecture {name} {seed}")
    found: dict[str, None] = {}
    for _ in range(SAMPLES):
        if len(found) == goals:
            break
        if (statement := world.derived(rng, difficulty)) is not None:
            found[statement] = None
    if len(found) < goals:
        raise UserError(f"world {name}: found {len(found)} of {goals} goals; lower --goals")
    examples = [f"example {statement} := by\n  sorry" for statement in found]
    return parse("\n\n".join([world.definitions(), *examples, ""]).encode(), f"{name}.lean")


def textbook(name: str) -> str:
    """The definitions and the lemmas of the world as `sorry`s: what a textbook would have."""
    world = development(name)
    render = world.renderer(())
    lemmas = [f"theorem {lemma.name} {render(lemma.statement)} := by\n  sorry" for lemma in world.theory.lemmas]
    return "\n\n".join([world.definitions(), *lemmas]) + "\n"
