"""Derivations in intuitionistic first-order logic with unary predicates, and their Lean proofs.

The rules of intuitionistic.py, and those for quantifiers. The logic is undecidable, so the search is bounded: universal statements are used
only at terms that occur, and a sequent that comes up again above itself is given up. What it finds is sound.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from curricula.worlds.intuitionistic import (
    CONTEXT,
    FALSE,
    LEAN,
    Derivation,
    Formula,
    Script,
    Search,
    Sequent,
    Step,
    TooHard,
    branchings,
    choices,
    compound,
    simplification,
)

CONTEXT_WITH_QUANTIFIERS = f"""{CONTEXT}
inductive Exist {{T : Type}} (p : T → Prop) : Prop where
  | intro (x : T) (proof : p x) : Exist p"""
BOUND = ("x", "y", "z", "u", "v", "w")
"""The variable of a quantifier, by the number of quantifiers nested in its scope. So formulas that differ in names of bound variables are equal."""
QUANTIFIERS = ("all", "some")
"""An atom is a predicate and a term, as in `"P x"`. A quantified formula is `("all", "x", body)` or `("some", "x", body)`."""
MOST_TERMS = 4
"""With more terms than these, a sequent uses no further universal statement, which might make new ones forever."""
DEEPEST = 80
"""Rules above each other, well below Python's limit on recursion."""


def height(f: Formula) -> int:
    """Quantifiers nested in each other."""
    if isinstance(f, str) or f == FALSE:
        return 0
    if f[0] in QUANTIFIERS:
        return 1 + height(f[2])
    return max(height(f[1]), height(f[2]))


def substituted(f: Formula, old: str, new: str) -> Formula:
    """The formula with one term for another. Quantifiers bind other variables than `old` and `new`."""
    if isinstance(f, str):
        predicate, term = f.split()
        return f"{predicate} {new}" if term == old else f
    if f == FALSE:
        return f
    if f[0] in QUANTIFIERS:
        return (f[0], f[1], substituted(f[2], old, new))
    return (f[0], substituted(f[1], old, new), substituted(f[2], old, new))


def terms_of(f: Formula) -> set[str]:
    """The free terms of a formula."""
    if isinstance(f, str):
        return {f.split()[1]}
    if f == FALSE:
        return set()
    if f[0] in QUANTIFIERS:
        return terms_of(f[2]) - {f[1]}
    return terms_of(f[1]) | terms_of(f[2])


def prove(hypotheses: tuple[Formula, ...], goal: Formula, most_sequents: int = 1500) -> Derivation | None:
    """A short derivation, or None if the search finds none. Raises TooHard."""
    return _FirstOrder(most_sequents).sequent(frozenset(hypotheses), goal)


class _FirstOrder(Search):
    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._under_way: set[Sequent] = set()

    def sequent(self, left: frozenset[Formula], goal: Formula) -> Derivation | None:
        if (left, goal) in self._under_way:
            return None
        if len(self._under_way) >= DEEPEST:
            raise TooHard
        self._under_way.add((left, goal))
        try:
            return super().sequent(left, goal)
        finally:
            self._under_way.discard((left, goal))

    def sure(self, left: frozenset[Formula], goal: Formula) -> Step | None:
        return simplification(left, goal) or _opening(left, goal)

    def options(self, left: frozenset[Formula], goal: Formula) -> tuple[list[Step], bool]:
        if splits := list(branchings(left, goal)):
            return splits, True
        return [*choices(left, goal), *_instances(left, goal)], False


def _opening(left: frozenset[Formula], goal: Formula) -> Step | None:
    """An invertible rule for a quantifier, with the premise."""
    if goal[0] == "all":
        new = _fresh(left, goal)
        return f"intro {new}", goal, [(left, substituted(goal[2], goal[1], new))]
    for f in compound(left):
        if f[0] == "some":
            new = _fresh(left, goal)
            return f"cases {new}", f, [(left - {f} | {substituted(f[2], f[1], new)}, goal)]
        if f[0] == "imp" and f[1][0] == "some":
            return "each", f, [(left - {f} | {_each(f)}, goal)]
    return None


def _each(f: Formula) -> Formula:
    """`∀ x, A → B` for `(∃ x, A) → B`. The variable's name is that of the new scope."""
    (_, variable, body), after = f[1], f[2]
    new = BOUND[max(height(body), height(after))]
    return ("all", new, ("imp", substituted(body, variable, new), after))


def _instances(left: frozenset[Formula], goal: Formula) -> Iterator[Step]:
    """The rules that choose a term, and the use of an implication from a universal statement, which stays."""
    terms = sorted(set().union(*map(terms_of, (*left, goal))))
    if goal[0] == "some":
        for t in terms:
            yield f"witness {t}", goal, [(left, substituted(goal[2], goal[1], t))]
    for f in compound(left) if len(terms) <= MOST_TERMS else ():
        if f[0] == "all":
            for t in terms:
                if (new := substituted(f[2], f[1], t)) not in left:
                    yield f"at {t}", f, [(left | {new}, goal)]
        if f[0] == "imp" and f[1][0] == "all":
            yield "first", f, [(left, f[1]), (left - {f} | {f[2]}, goal)]


def _fresh(left: frozenset[Formula], goal: Formula) -> str:
    used = set().union(*map(terms_of, (*left, goal)))
    return next(name for i in itertools.count(1) if (name := f"t{i}") not in used)


def classically_valid(hypotheses: tuple[Formula, ...], goal: Formula, predicates: str, constants: str) -> bool:
    """Whether the goal holds in every classical model of the hypotheses with one or two elements: necessary for a derivation, and quick."""
    for elements in (range(1), range(2)):
        subsets = [[bits >> e & 1 for e in elements] for bits in range(1 << len(elements))]
        for meanings in itertools.product(subsets, repeat=len(predicates)):
            model = dict(zip(predicates, meanings, strict=True))
            for values in itertools.product(elements, repeat=len(constants)):
                at = dict(zip(constants, values, strict=True))
                if all(_holds(h, model, at, elements) for h in hypotheses) and not _holds(goal, model, at, elements):
                    return False
    return True


def _holds(f: Formula, model: dict[str, list[int]], at: dict[str, int], elements: range) -> bool:
    if isinstance(f, str):
        predicate, term = f.split()
        return bool(model[predicate][at[term]])
    match f:
        case ("and", a, b):
            return _holds(a, model, at, elements) and _holds(b, model, at, elements)
        case ("or", a, b):
            return _holds(a, model, at, elements) or _holds(b, model, at, elements)
        case ("imp", a, b):
            return not _holds(a, model, at, elements) or _holds(b, model, at, elements)
        case ("all", x, body):
            return all(_holds(body, model, at | {x: e}, elements) for e in elements)
        case ("some", x, body):
            return any(_holds(body, model, at | {x: e}, elements) for e in elements)
    return False


# -- Lean ----------------------------------------------------------------------------------------------------------------


def show(f: Formula, argument: bool = False) -> str:
    """A formula as Lean source, with the connectives of CONTEXT_WITH_QUANTIFIERS."""
    if isinstance(f, str):
        return f"({f})" if argument else f
    if f == FALSE:
        return LEAN["false"]
    match f[0]:
        case "imp":
            text = f"{show(f[1], not isinstance(f[1], str) and f[1][0] in ('imp', *QUANTIFIERS))} → {show(f[2])}"
        case "all":
            text = f"∀ {f[1]}, {show(f[2])}"
        case "some":
            text = f"Exist fun {f[1]} => {show(f[2])}"
        case _:
            text = f"{LEAN[f[0]]} {show(f[1], True)} {show(f[2], True)}"
    return f"({text})" if argument else text


class QuantifiedScript(Script):
    """The Lean script of a derivation with quantifiers."""

    def show(self, f: Formula) -> str:
        return show(f)

    def lines(self, d: Derivation, names: dict[Formula, str], goal: Formula) -> list[str]:
        f, (rule, _, term) = d.formula, d.rule.partition(" ")
        if rule == "intro" and term:
            return [f"intro {term}", *self.lines(d.premises[0], names, substituted(f[2], f[1], term))]
        if rule == "cases" and term:
            name, more = self.named(names, substituted(f[2], f[1], term))
            return [f"obtain ⟨{term}, {name}⟩ := {names[f]}", *self.lines(d.premises[0], more, goal)]
        if rule == "witness":
            return [f"apply Exist.intro {term}", *self.lines(d.premises[0], names, substituted(f[2], f[1], term))]
        if rule == "at":
            new = substituted(f[2], f[1], term)
            name, line = self.have(new, f"{names[f]} {term}")
            return [line, *self.lines(d.premises[0], names | {new: name}, goal)]
        if rule == "each":
            name, line = self.have(_each(f), f"fun x a => {names[f]} (Exist.intro x a)")
            return [line, *self.lines(d.premises[0], names | {_each(f): name}, goal)]
        if rule == "first":
            return self.first(d, names, goal)
        return super().lines(d, names, goal)
