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
from curricula.worlds.theorems import WorldTheorem, renaming, world_theorem

DIFFICULTIES = (3, 20)
HARDER = 8
"""`split=harder` begins above this."""
SAMPLES = 30_000
"""Samples without a new theorem after which the world counts as exhausted."""
MOST_SEQUENTS = 400
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
    hypotheses = tuple(dict.fromkeys(given))
    try:
        needed = _needed(hypotheses, goal, predicates, constants)
        if needed is None or (goal != FALSE and prove(needed, FALSE, MOST_SEQUENTS) is not None):
            return None
        key, needed, goal = canonical(needed, goal)
        derivation = prove(needed, goal, MOST_SEQUENTS)
    except TooHard:
        return None
    if derivation is None or derivation.size < DIFFICULTIES[0] or not any(" " in rule for rule in _rules(derivation)):
        return None
    return _stated(rng, key, needed, goal, derivation)


def _rules(d: Derivation) -> Iterator[str]:
    yield d.rule
    for p in d.premises:
        yield from _rules(p)


def _stated(
    rng: random.Random, key: str, hypotheses: tuple[Formula, ...], goal: Formula, derivation: Derivation
) -> WorldTheorem:
    every = (*hypotheses, goal)
    predicates = sorted(set().union(*map(_predicates, every)))
    constants = sorted(set().union(*map(terms_of, every)))
    named = rng.random() < 0.5
    binders = [f"(h{i} : {show(h)})" for i, h in enumerate(hypotheses)] if named else []
    premises = [] if named else [show(h, not isinstance(h, str) and h[0] in ("imp", *QUANTIFIERS)) for h in hypotheses]
    names = {h: f"h{i}" for i, h in enumerate(hypotheses)}
    lines = QuantifiedScript(len(hypotheses)).lines(derivation, names, goal)
    if hypotheses and not named:
        lines.insert(0, f"intro {' '.join(names.values())}")
    types = [
        "(T : Type)",
        f"({' '.join(predicates)} : T → Prop)",
        *([f"({' '.join(constants)} : T)"] * bool(constants)),
    ]
    statement = " ".join([*types, *binders, ":", " → ".join([*premises, show(goal)])])
    rename = renaming(rng, NAMES)
    size = derivation.size
    proof = rename("\n".join(lines))
    return world_theorem("first_order", key, rename(statement), rename(CONTEXT_WITH_QUANTIFIERS), proof, size, size)


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
    bound = BOUND[height(body)] if height(body) < 2 else None
    if bound is None:  # deeper than anything wanted
        return _quantified(rng, predicates, terms, symbols)
    return (rng.choice(QUANTIFIERS), bound, substituted(body, variable, bound))


def _needed(given: tuple[Formula, ...], goal: Formula, predicates: str, constants: str) -> tuple[Formula, ...] | None:
    """A part of the hypotheses without which no derivation is found; None if none is found with all of them."""
    if not classically_valid(given, goal, predicates, constants) or prove(given, goal, MOST_SEQUENTS) is None:
        return None
    for h in given:
        fewer = tuple(g for g in given if g != h)
        if classically_valid(fewer, goal, predicates, constants) and prove(fewer, goal, MOST_SEQUENTS) is not None:
            given = fewer
    return given


def canonical(hypotheses: tuple[Formula, ...], goal: Formula) -> tuple[str, tuple[Formula, ...], Formula]:
    """The representative of a theorem up to names and order of hypotheses, with its text. The goal is no implication."""
    every = (*hypotheses, goal)
    predicates = sorted(set().union(*map(_predicates, every)))
    constants = sorted(set().union(*map(terms_of, every)))
    found = []
    for ps in itertools.permutations(PREDICATES[: len(predicates)]):
        for cs in itertools.permutations(CONSTANTS[: len(constants)]):
            names = dict(zip([*predicates, *constants], [*ps, *cs], strict=True))
            renamed = tuple(sorted({_renamed(h, names) for h in hypotheses}, key=repr))
            target = _renamed(goal, names)
            found.append((f"{', '.join(map(show, renamed))} ⊢ {show(target)}", renamed, target))
    return min(found, key=lambda f: f[0])


def _predicates(f: Formula) -> set[str]:
    if isinstance(f, str):
        return {f.split()[0]}
    return set().union(*(_predicates(g) for g in f[1:] if g not in BOUND))


def _renamed(f: Formula, names: dict[str, str]) -> Formula:
    if isinstance(f, str):
        predicate, term = f.split()
        return f"{names[predicate]} {names.get(term, term)}"
    return (f[0], *(g if g in BOUND else _renamed(g, names) for g in f[1:]))
