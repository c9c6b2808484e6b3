"""Intuitionistic propositional theorems. Random formulas are kept if they are provable, and only with the hypotheses that are needed."""

from __future__ import annotations

import itertools
import random

from curricula.worlds.intuitionistic import (
    CONTEXT,
    FALSE,
    Derivation,
    Formula,
    Script,
    TooHard,
    classically_valid,
    prove,
    show,
)
from curricula.worlds.theorems import WorldTheorem, renaming, world_theorem

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
        hypotheses = _needed(tuple(dict.fromkeys(given)), goal, variables)
        if hypotheses is None or (goal != FALSE and prove(hypotheses, FALSE) is not None):
            return None
        key, hypotheses, goal = canonical(hypotheses, goal)
        derivation = prove(hypotheses, goal)
    except TooHard:
        return None
    assert derivation is not None, "renaming variables keeps a theorem provable"
    steps = derivation.size
    return _stated(rng, key, hypotheses, goal, derivation) if steps >= DIFFICULTIES[0] else None


def _stated(
    rng: random.Random, key: str, hypotheses: tuple[Formula, ...], goal: Formula, derivation: Derivation
) -> WorldTheorem:
    used = [v for v in VARIABLES if any(v in _variables(f) for f in (*hypotheses, goal))]
    binders = [f"(h{i} : {show(h)})" for i, h in enumerate(hypotheses)] if rng.random() < 0.5 else []
    target = show(goal) if binders else " → ".join([*(show(h, h[0] == "imp") for h in hypotheses), show(goal)])
    names = {h: f"h{i}" for i, h in enumerate(hypotheses)}
    lines = Script(len(hypotheses)).lines(derivation, names, goal)
    if hypotheses and not binders:
        lines.insert(0, f"intro {' '.join(names.values())}")
    rename = renaming(rng, NAMES)
    statement = rename(" ".join([f"({' '.join(used)} : Prop)", *binders, ":", target]))
    size = derivation.size
    return world_theorem("logic", key, statement, rename(CONTEXT), rename("\n".join(lines)), size, size)


def _formula(rng: random.Random, variables: tuple[str, ...], symbols: int) -> Formula:
    """A random formula with about that many occurrences of variables, without silly parts such as `p ∧ p` and `p ∨ ⊥`."""
    if symbols <= 1:
        return rng.choice(variables)
    if rng.random() < 0.12:
        return ("imp", _formula(rng, variables, symbols - 1), FALSE)
    left = rng.randint(1, symbols - 1)
    a, b = _formula(rng, variables, left), _formula(rng, variables, symbols - left)
    return a if a == b else (rng.choice(("imp", "imp", "and", "or")), a, b)


def _needed(given: tuple[Formula, ...], goal: Formula, variables: tuple[str, ...]) -> tuple[Formula, ...] | None:
    """A part of the hypotheses without which the goal is not provable; None if all together do not prove it."""
    if not classically_valid(given, goal, variables) or prove(given, goal) is None:
        return None
    for h in given:
        fewer = tuple(g for g in given if g != h)
        if prove(fewer, goal) is not None:
            given = fewer
    return given


def canonical(hypotheses: tuple[Formula, ...], goal: Formula) -> tuple[str, tuple[Formula, ...], Formula]:
    """The representative of a theorem up to names of variables and order of hypotheses, with its text. The goal is no implication."""
    found = []
    used = sorted({v for f in (*hypotheses, goal) for v in _variables(f)})
    for names in itertools.permutations(VARIABLES[: len(used)]):
        rename = dict[str, str](zip(used, names, strict=True))
        renamed = tuple(sorted({_renamed(h, rename) for h in hypotheses}, key=repr))
        text = f"{', '.join(map(show, renamed))} ⊢ {show(_renamed(goal, rename))}"
        found.append((text, renamed, _renamed(goal, rename)))
    return min(found, key=lambda f: f[0])


def _variables(f: Formula) -> set[str]:
    return {f} if isinstance(f, str) else set().union(*map(_variables, f[1:]))


def _renamed(f: Formula, names: dict[str, str]) -> Formula:
    return names[f] if isinstance(f, str) else (f[0], *(_renamed(g, names) for g in f[1:]))
