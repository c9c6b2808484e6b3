"""Intuitionistic propositional theorems. Random formulas are kept if they are provable, and only with the hypotheses that are needed."""

from __future__ import annotations

import itertools
import random

from curricula.worlds.intuitionistic import CONTEXT, FALSE, Formula, Script, TooHard, classically_valid, prove, show
from curricula.worlds.sequents import needed, representative, stated
from curricula.worlds.theorems import WorldTheorem

DIFFICULTIES = (3, 20)
HARDER = 8
"""`split=harder` begins above this."""
SAMPLES = 30_000
"""Samples without a new theorem after which the world counts as exhausted. One takes under a millisecond."""
VARIABLES = ("p", "q", "r", "s")
NAMES = {"p": ("a",), "q": ("b",), "r": ("c",), "s": ("d",), "Both": ("Pair", "Conj"), "Either": ("Choice", "Disj")}
NAMES |= {"Never": ("Absurd", "Nope")}


def sample(rng: random.Random, difficulty: tuple[int, int]) -> WorldTheorem | None:
    """A random theorem whose difficulty is likely in that range, or None."""
    aim = rng.randint(*difficulty)
    variables = VARIABLES[: rng.randint(2, 4)]
    goal = _formula(rng, variables, rng.randint(1, 2 + aim // 4))
    given = [_formula(rng, variables, rng.randint(1, 3 + aim // 6)) for _ in range(rng.randint(1, 2 + aim // 4))]
    while goal[0] == "imp":
        given, goal = [*given, goal[1]], goal[2]
    try:
        every = tuple(dict.fromkeys(given))
        if not classically_valid(every, goal, variables):
            return None
        hypotheses = needed(every, lambda some: prove(some, goal) is not None)
        if hypotheses is None or (goal != FALSE and prove(hypotheses, FALSE) is not None):
            return None
        key, hypotheses, goal = canonical(hypotheses, goal)
        derivation = prove(hypotheses, goal)
    except TooHard:
        return None
    assert derivation is not None, "renaming variables keeps a theorem provable"
    if derivation.size < DIFFICULTIES[0]:
        return None
    used = [v for v in VARIABLES if any(v in _variables(f) for f in (*hypotheses, goal))]
    types = [f"({' '.join(used)} : Prop)"]
    return stated(rng, "logic", key, (hypotheses, goal), derivation, Script, types, CONTEXT, NAMES)


def _formula(rng: random.Random, variables: tuple[str, ...], symbols: int) -> Formula:
    """A random formula with about that many occurrences of variables, without silly parts such as `p ∧ p` and `p ∨ ⊥`."""
    if symbols <= 1:
        return rng.choice(variables)
    if rng.random() < 0.12:
        return ("imp", _formula(rng, variables, symbols - 1), FALSE)
    left = rng.randint(1, symbols - 1)
    a, b = _formula(rng, variables, left), _formula(rng, variables, symbols - left)
    return a if a == b else (rng.choice(("imp", "imp", "and", "or")), a, b)


def canonical(hypotheses: tuple[Formula, ...], goal: Formula) -> tuple[str, tuple[Formula, ...], Formula]:
    """The representative of a theorem up to names of variables and order of hypotheses, with its text."""
    used = sorted({v for f in (*hypotheses, goal) for v in _variables(f)})
    renamings = [
        dict[str, str](zip(used, names, strict=True)) for names in itertools.permutations(VARIABLES[: len(used)])
    ]
    return representative(hypotheses, goal, [lambda f, names=names: _renamed(f, names) for names in renamings], show)


def _variables(f: Formula) -> set[str]:
    return {f} if isinstance(f, str) else set().union(*map(_variables, f[1:]))


def _renamed(f: Formula, names: dict[str, str]) -> Formula:
    return names[f] if isinstance(f, str) else (f[0], *(_renamed(g, names) for g in f[1:]))
