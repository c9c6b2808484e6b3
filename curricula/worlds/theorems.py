"""A theorem of a world, with its labels and a proof."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prover.lean.theorem import Theorem


@dataclass(frozen=True)
class WorldTheorem:
    """A theorem that a world made. The theorem's name is a hash of `key`."""

    world: str
    theorem: Theorem
    difficulty: int
    """A function of the statement up to names, so that splits by difficulty do not overlap (see docs/worlds.md)."""
    distance: int | None
    """Number of steps of the shortest known chain or derivation, where the world searches for one."""
    proof: str
    """A tactic script that proves it, as after `:= by`."""
    key: str
    """The statement up to names."""


def world_theorem(
    world: str, key: str, statement: str, context: str, proof: str, difficulty: int, distance: int | None
) -> WorldTheorem:
    """A theorem named by its key, so that the split by name is a split by statement up to names."""
    digest = hashlib.sha256(f"turnstile world {world} {key}".encode()).hexdigest()[:12]
    theorem = Theorem(f"{world}_{digest}", statement, context=context, source=f"world:{world}")
    return WorldTheorem(world, theorem, difficulty, distance, proof, key)


def renaming(rng: random.Random, names: Mapping[str, Sequence[str]]) -> Callable[[str], str]:
    """A random renaming of identifiers in Lean source, also inside names of lemmas: with `add` as `plus`, `add_comm` is `plus_comm`."""
    chosen = {old: rng.choice([old, *new]) for old, new in names.items()}

    def rename(text: str) -> str:
        return re.sub(r"[A-Za-z_]\w*", lambda m: "_".join(chosen.get(part, part) for part in m[0].split("_")), text)

    return rename
