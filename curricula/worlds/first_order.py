"""Intuitionistic first-order theorems with unary predicates. Random formulas are kept if a derivation is found that needs a quantifier."""

from __future__ import annotations

import random

from curricula.worlds.derivations import TooHard, prove
from curricula.worlds.formulas import (
    BOUND,
    CONTEXT_WITH_QUANTIFIERS,
    FALSE,
    QUANTIFIERS,
    Formula,
    classically_valid,
    height,
    renamed,
    terms_of,
)
from curricula.worlds.sequents import LEAST_DIFFICULTY, canonical, names_in, needed, random_formula, stated
from curricula.worlds.theorems import WorldTheorem

MOST_SEQUENTS = 400
DEEPEST_NESTING = 2
"""Maximum nesting of quantifiers."""
PREDICATES, CONSTANTS = "PQR", "cd"
NAMES = {"P": ("A", "F"), "Q": ("B", "G"), "R": ("C", "H"), "T": ("Thing", "U"), "c": ("a", "m"), "d": ("b", "n")}
NAMES |= {"Both": ("Pair", "Conj"), "Either": ("Choice", "Disj"), "Never": ("Absurd", "Nope"), "Exist": ("Some", "Ex")}


def sample(rng: random.Random, difficulty: tuple[int, int]) -> WorldTheorem | None:
    """A random theorem whose difficulty is likely in that range, or None."""
    aim = rng.randint(*difficulty)
    predicates, constants = PREDICATES[: rng.randint(1, 3)], CONSTANTS[: rng.choice((0, 0, 1, 1, 2))]
    goal = _formula(rng, predicates, constants, rng.randint(1, 2 + aim // 5))
    count = rng.randint(1, 2 + aim // 5)
    given = [_formula(rng, predicates, constants, rng.randint(1, 2 + aim // 5)) for _ in range(count)]
    while goal[0] == "imp":
        given, goal = [*given, goal[1]], goal[2]

    def provable(some: tuple[Formula, ...]) -> bool:
        valid = classically_valid(some, goal, predicates, constants, most_elements=2)
        return valid and prove(some, goal, MOST_SEQUENTS) is not None

    try:
        hypotheses = needed(tuple(dict.fromkeys(given)), provable)
        if hypotheses is None or (goal != FALSE and prove(hypotheses, FALSE, MOST_SEQUENTS) is not None):
            return None
        key, hypotheses, target = canonical(hypotheses, goal, PREDICATES, CONSTANTS)
        derivation = prove(hypotheses, target, MOST_SEQUENTS)
    except TooHard:
        return None
    if derivation is None or derivation.size < LEAST_DIFFICULTY or not any(" " in rule for rule in derivation.rules):
        return None
    ps, cs = names_in((*hypotheses, target))
    types = ["(T : Type)", f"({' '.join(ps)} : T → Prop)", *([f"({' '.join(cs)} : T)"] * bool(cs))]
    sequent = hypotheses, target
    return stated(rng, "first_order", key, sequent, derivation, types, CONTEXT_WITH_QUANTIFIERS, NAMES)


def _formula(rng: random.Random, predicates: str, terms: str, symbols: int) -> Formula:
    """A random formula with about `symbols` atoms. `terms`: constants, and variables of the quantifiers around it."""

    def part(symbols: int) -> Formula | None:
        if not terms or (len(terms) < 4 and rng.random() < 0.4):
            return _quantified(rng, predicates, terms, symbols)
        return f"{rng.choice(predicates)} {rng.choice(terms)}" if symbols <= 1 else None

    return random_formula(rng, symbols, part)


def _quantified(rng: random.Random, predicates: str, terms: str, symbols: int) -> Formula:
    variable = next(c for c in "123456789" if c not in terms)
    while variable not in terms_of(body := _formula(rng, predicates, terms + variable, symbols)):
        pass
    if height(body) >= DEEPEST_NESTING:
        return _quantified(rng, predicates, terms, symbols)
    bound = BOUND[height(body)]
    return (rng.choice(QUANTIFIERS), bound, renamed(body, {variable: bound}))
