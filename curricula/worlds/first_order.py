"""Intuitionistic first-order theorems with unary predicates. Random formulas are kept if a derivation is found that needs a quantifier."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from curricula.worlds.intuitionistic import FALSE, Derivation, Formula, TooHard
from curricula.worlds.quantified import (
    BOUND,
    CONTEXT_WITH_QUANTIFIERS,
    QUANTIFIERS,
    QuantifiedScript,
    classically_valid,
    height,
    prove,
    show,
    substituted,
    terms_of,
)
from curricula.worlds.sequents import needed, representative, stated
from curricula.worlds.theorems import WorldTheorem

DIFFICULTIES = (3, 20)
HARDER = 8
"""`split=harder` begins above this."""
SAMPLES = 30_000
"""Samples without a new theorem after which the world counts as exhausted."""
MOST_SEQUENTS = 400
DEEPEST_NESTING = 2
"""Quantifiers in each other's scope."""
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
        valid = classically_valid(some, goal, predicates, constants)
        return valid and prove(some, goal, MOST_SEQUENTS) is not None

    try:
        hypotheses = needed(tuple(dict.fromkeys(given)), provable)
        if hypotheses is None or (goal != FALSE and prove(hypotheses, FALSE, MOST_SEQUENTS) is not None):
            return None
        key, hypotheses, target = canonical(hypotheses, goal)
        derivation = prove(hypotheses, target, MOST_SEQUENTS)
    except TooHard:
        return None
    if derivation is None or derivation.size < DIFFICULTIES[0] or not any(" " in rule for rule in _rules(derivation)):
        return None
    ps, cs = _names((*hypotheses, target))
    types = ["(T : Type)", f"({' '.join(ps)} : T → Prop)", *([f"({' '.join(cs)} : T)"] * bool(cs))]
    sequent = hypotheses, target
    return stated(
        rng, "first_order", key, sequent, derivation, QuantifiedScript, types, CONTEXT_WITH_QUANTIFIERS, NAMES
    )


def _rules(d: Derivation) -> Iterator[str]:
    yield d.rule
    for p in d.premises:
        yield from _rules(p)


def _formula(rng: random.Random, predicates: str, terms: str, symbols: int) -> Formula:
    """A random formula with about that many atoms. `terms`: constants, and variables of the quantifiers around it."""
    if not terms or (len(terms) < 4 and rng.random() < 0.4):
        return _quantified(rng, predicates, terms, symbols)
    if symbols <= 1:
        return f"{rng.choice(predicates)} {rng.choice(terms)}"
    if rng.random() < 0.12:
        return ("imp", _formula(rng, predicates, terms, symbols - 1), FALSE)
    left = rng.randint(1, symbols - 1)
    a, b = _formula(rng, predicates, terms, left), _formula(rng, predicates, terms, symbols - left)
    return a if a == b else (rng.choice(("imp", "imp", "and", "or")), a, b)


def _quantified(rng: random.Random, predicates: str, terms: str, symbols: int) -> Formula:
    variable = next(c for c in "123456789" if c not in terms)
    while variable not in terms_of(body := _formula(rng, predicates, terms + variable, symbols)):
        pass
    if height(body) >= DEEPEST_NESTING:
        return _quantified(rng, predicates, terms, symbols)
    bound = BOUND[height(body)]
    return (rng.choice(QUANTIFIERS), bound, substituted(body, variable, bound))


def canonical(hypotheses: tuple[Formula, ...], goal: Formula) -> tuple[str, tuple[Formula, ...], Formula]:
    """The representative of a theorem up to names and order of hypotheses, with its text."""
    predicates, constants = _names((*hypotheses, goal))
    renamings = [
        dict(zip([*predicates, *constants], [*ps, *cs], strict=True))
        for ps in itertools.permutations(PREDICATES[: len(predicates)])
        for cs in itertools.permutations(CONSTANTS[: len(constants)])
    ]
    return representative(hypotheses, goal, [lambda f, names=names: _renamed(f, names) for names in renamings], show)


def _names(formulas: tuple[Formula, ...]) -> tuple[list[str], list[str]]:
    """The predicates and the constants of formulas."""
    return sorted(set().union(*map(_predicates, formulas))), sorted(set().union(*map(terms_of, formulas)))


def _predicates(f: Formula) -> set[str]:
    if isinstance(f, str):
        return {f.split()[0]}
    return set().union(*(_predicates(g) for g in f[1:] if g not in BOUND))


def _renamed(f: Formula, names: dict[str, str]) -> Formula:
    if isinstance(f, str):
        predicate, term = f.split()
        return f"{names[predicate]} {names.get(term, term)}"
    return (f[0], *(g if g in BOUND else _renamed(g, names) for g in f[1:]))
