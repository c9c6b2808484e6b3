"""A world as a file: its definitions, and theorems to prove without lemmas."""

from __future__ import annotations

import random
from collections.abc import Sequence

from curricula.conjectures.bench import Bench
from curricula.conjectures.filters import Novelty
from curricula.conjectures.order import path_order
from curricula.conjectures.signature import Known, Signature
from curricula.conjectures.statements import Statement
from curricula.worlds.development import Development
from curricula.worlds.developments import PEANO, SEQUENCES
from prover.errors import UserError
from prover.lean.text import LeanText, parse

WORLDS = {"peano": PEANO, "sequences": SEQUENCES}
"""Worlds of definitions and lemmas. The others have no lemmas to find."""
SAMPLES = 2000
DIFFICULTY = (2, 5)


def development(name: str) -> Development:
    """The development of a world in WORLDS. Raises UserError for other names."""
    if name not in WORLDS:
        raise UserError(f"world {name!r}: has no definitions of its own; choose one of {', '.join(WORLDS)}")
    return WORLDS[name]


def world_file(name: str, goals: int, seed: int) -> LeanText:
    """The definitions of a world, then `goals` different examples with `sorry`. Equal arguments give equal files. Raises UserError if the
    world has too few goals."""
    world = development(name)
    rng = random.Random(f"turnstile conjecture {name} {seed}")
    found: dict[str, None] = {}
    for _ in range(SAMPLES):
        if len(found) == goals:
            break
        if (statement := world.derived(rng, DIFFICULTY)) is not None:
            found[statement] = None
    if len(found) < goals:
        raise UserError(f"world {name}: found {len(found)} of {goals} goals; lower --goals")
    examples = [f"example {statement} := by\n  sorry" for statement in found]
    return parse("\n\n".join([world.definitions(), *examples, ""]).encode(), f"{name}.lean")


def textbook(name: str) -> str:
    """The definitions of the world and its lemmas, each with `sorry`, as in a textbook."""
    world = development(name)
    render = world.renderer(())
    lemmas = [f"theorem {lemma.name} {render(lemma.statement)} := by\n  sorry" for lemma in world.theory.lemmas]
    return "\n\n".join([world.definitions(), *lemmas]) + "\n"


def found_again(signature: Signature, textbook: Sequence[Known], found: Sequence[Statement]) -> dict[str, list[str]]:
    """The names of a textbook's lemmas: `found` has those that a library contains up to names and symmetry, `follows` those that are
    instances of it or follow by rewriting, and `missing` the others."""
    forms = {s.form for s in found}
    known = [k.statement for k in signature.known]
    given = Novelty(known, less=path_order(signature))
    library = Novelty([*known, *found], less=path_order(signature))
    by: dict[str, list[str]] = {"found": [], "follows": [], "missing": []}
    for lemma in textbook:
        if not given.new(lemma.statement):
            continue
        kind = "found" if lemma.statement.form in forms else "missing" if library.new(lemma.statement) else "follows"
        by[kind].append(str(lemma.name[-1]))
    return by


async def read_textbook(bench: Bench, name: str) -> tuple[Signature, list[Known]]:
    """The signature of a world with its textbook, and the textbook's lemmas. Raises LeanError."""
    signature, _ = await bench.signature(parse(textbook(name).encode(), f"{name}.lean"))
    stated = [k for k in signature.known if k.open]
    signature.known = [k for k in signature.known if not k.open]
    return signature, stated
