"""Intuitionistic propositional theorems. Keeps random formulas that are provable, with only the hypotheses that are needed."""

from __future__ import annotations

import random

from curricula.worlds.derivations import TooHard, prove
from curricula.worlds.formulas import CONTEXT, FALSE, Formula, classically_valid
from curricula.worlds.sequents import LEAST_DIFFICULTY, canonical, names_in, needed, random_formula, stated
from curricula.worlds.theorems import WorldTheorem

VARIABLES = ("p", "q", "r", "s")
NAMES = {"p": ("a",), "q": ("b",), "r": ("c",), "s": ("d",), "Both": ("Pair", "Conj"), "Either": ("Choice", "Disj")}
NAMES |= {"Never": ("Absurd", "Nope")}


def sample(rng: random.Random, difficulty: tuple[int, int]) -> WorldTheorem | None:
    """A random theorem whose difficulty is likely in that range, or None."""
    aim = rng.randint(*difficulty)
    variables = VARIABLES[: rng.randint(2, 4)]

    def variable(symbols: int) -> Formula | None:
        return rng.choice(variables) if symbols <= 1 else None

    goal = random_formula(rng, rng.randint(1, 2 + aim // 4), variable)
    count = rng.randint(1, 2 + aim // 4)
    given = [random_formula(rng, rng.randint(1, 3 + aim // 6), variable) for _ in range(count)]
    while goal[0] == "imp":
        given, goal = [*given, goal[1]], goal[2]
    try:
        every = tuple(dict.fromkeys(given))
        if not classically_valid(every, goal, variables):
            return None
        hypotheses = needed(every, lambda some: prove(some, goal) is not None)
        if hypotheses is None or (goal != FALSE and prove(hypotheses, FALSE) is not None):
            return None
        key, hypotheses, goal = canonical(hypotheses, goal, VARIABLES)
        derivation = prove(hypotheses, goal)
    except TooHard:
        return None
    assert derivation is not None, "renaming variables keeps a theorem provable"
    if derivation.size < LEAST_DIFFICULTY:
        return None
    types = [f"({' '.join(names_in((*hypotheses, goal))[0])} : Prop)"]
    return stated(rng, "logic", key, (hypotheses, goal), derivation, types, CONTEXT, NAMES)
