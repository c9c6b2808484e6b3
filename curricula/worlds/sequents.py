"""Theorems of logic from random sequents: the hypotheses that are needed, a representative up to names, and the statement."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from functools import reduce

from curricula.worlds.derivation_scripts import script
from curricula.worlds.derivations import Derivation
from curricula.worlds.formulas import FALSE, Formula, heads_of, renamed, show, terms_of
from curricula.worlds.theorems import WorldTheorem, renaming, world_theorem

LEAST_DIFFICULTY = 3
Hypotheses = tuple[Formula, ...]


def random_formula(rng: random.Random, symbols: int, part: Callable[[int], Formula | None]) -> Formula:
    """A random formula with about `symbols` atoms, without trivial parts such as `p ∧ p` and `p ∨ ⊥`. `part`: returns an atom or another
    formula with a number of atoms, or None for a connective."""
    if (found := part(symbols)) is not None:
        return found
    if rng.random() < 0.12:
        return ("imp", random_formula(rng, symbols - 1, part), FALSE)
    left = rng.randint(1, symbols - 1)
    a, b = random_formula(rng, left, part), random_formula(rng, symbols - left, part)
    return a if a == b else (rng.choice(("imp", "imp", "and", "or")), a, b)


def needed(given: Hypotheses, provable: Callable[[Hypotheses], bool]) -> Hypotheses | None:
    """A minimal part of the hypotheses that proves the goal; None if all of them do not. `provable`: whether given hypotheses prove it."""
    if not provable(given):
        return None
    for h in given:
        fewer = tuple(g for g in given if g != h)
        if provable(fewer):
            given = fewer
    return given


def canonical(
    hypotheses: Hypotheses, goal: Formula, heads: Sequence[str], constants: Sequence[str] = ""
) -> tuple[str, Hypotheses, Formula]:
    """(text, hypotheses, goal) of the representative of a theorem up to names and order of hypotheses. The goal must not be an implication.
    `heads`, `constants`: the names to choose from."""
    used, terms = names_in((*hypotheses, goal))
    found = []
    for some in itertools.permutations(heads[: len(used)]):
        for others in itertools.permutations(constants[: len(terms)]):
            names = dict(zip([*used, *terms], [*some, *others], strict=True))
            mine = tuple(sorted({renamed(h, names) for h in hypotheses}, key=repr))
            target = renamed(goal, names)
            found.append((f"{', '.join(map(show, mine))} ⊢ {show(target)}", mine, target))
    return min(found, key=lambda f: f[0])


def names_in(formulas: Sequence[Formula]) -> tuple[list[str], list[str]]:
    """The variables or predicates, and the constants of formulas."""
    return sorted(set().union(*map(heads_of, formulas))), sorted(set().union(*map(terms_of, formulas)))


def stated(
    rng: random.Random,
    world: str,
    key: str,
    sequent: tuple[Hypotheses, Formula],
    derivation: Derivation,
    types: Sequence[str],
    context: str,
    names: Mapping[str, Sequence[str]],
) -> WorldTheorem:
    """A sequent as a theorem of a world, under random names. `types`: binders of its variables. Its hypotheses are binders or premises."""
    hypotheses, goal = sequent
    lines = script(derivation, hypotheses, goal)
    if rng.random() < 0.5:
        binders = [f"(h{i} : {show(h)})" for i, h in enumerate(hypotheses)]
    else:
        binders, goal = [], reduce(lambda result, h: ("imp", h, result), reversed(hypotheses), goal)
        lines = [f"intro {' '.join(f'h{i}' for i in range(len(hypotheses)))}"] * bool(hypotheses) + lines
    rename = renaming(rng, names)
    statement = " ".join([*types, *binders, ":", show(goal)])
    size = derivation.size
    return world_theorem(world, key, rename(statement), rename(context), rename("\n".join(lines)), size, size)
