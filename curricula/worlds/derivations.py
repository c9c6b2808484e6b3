"""A search for short derivations in intuitionistic logic.

The calculus is G4ip (Dyckhoff 1992, "Contraction-free sequent calculi for intuitionistic logic"), which decides propositional logic
without a check for loops, with rules for quantifiers. Invertible rules are applied at once. For other rules, every choice is searched and
the shortest derivation is kept.

First-order logic is undecidable, so the search is bounded there: universal statements are used only at terms that occur, and a sequent
that repeats within its own derivation is given up. The derivations found are sound.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from curricula.worlds.formulas import BOUND, FALSE, Formula, height, renamed, terms_of

MOST_TERMS = 4
"""Number of terms in a sequent above which no universal statement is used, because that might introduce new terms forever."""
DEEPEST = 80
"""Maximum depth of a derivation, well below Python's recursion limit."""


class TooHard(Exception):
    """The search reached its limit on sequents."""


@dataclass(frozen=True)
class Derivation:
    """A derivation of a sequent: rule, principal formula, and the premises' derivations. A quantifier rule has its term after its name:
    `at c`."""

    rule: str
    formula: Formula
    premises: tuple[Derivation, ...] = ()

    @property
    def rules(self) -> list[str]:
        """All of its rules."""
        return [self.rule, *(rule for p in self.premises for rule in p.rules)]

    @cached_property
    def size(self) -> int:
        """Number of rules."""
        return 1 + sum(p.size for p in self.premises)


Sequent = tuple[frozenset[Formula], Formula]
Step = tuple[str, Formula, list[Sequent]]
"""A rule, its principal formula, and its premises."""


def prove(hypotheses: tuple[Formula, ...], goal: Formula, most_sequents: int = 3000) -> Derivation | None:
    """A short derivation. None if there is none, or, with quantifiers, if the search finds none. Raises TooHard at the search's limits."""
    return _Search(most_sequents).sequent(frozenset(hypotheses), goal)


class _Search:
    """A depth-first search for the shortest derivation, with a table of sequents."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.known: dict[Sequent, Derivation | None] = {}
        self._under_way: set[Sequent] = set()

    def sequent(self, left: frozenset[Formula], goal: Formula) -> Derivation | None:
        key = (left, goal)
        if key in self._under_way:
            return None
        if len(self._under_way) >= DEEPEST:
            raise TooHard
        if key not in self.known:
            if len(self.known) >= self.most:
                raise TooHard
            self._under_way.add(key)
            try:
                self.known[key] = self._derive(left, goal)
            finally:
                self._under_way.discard(key)
        return self.known[key]

    def _derive(self, left: frozenset[Formula], goal: Formula) -> Derivation | None:
        if goal in left:
            return Derivation("exact", goal)
        if FALSE in left:
            return Derivation("absurd", FALSE)
        if (sure := _simplification(left, goal) or _opening(left, goal)) is not None:
            return self._all(*sure)
        branchings = list(_branchings(left, goal))
        best = None
        for step in branchings or (*_choices(left, goal), *_instances(left, goal)):
            found = self._all(*step)
            if found is None and branchings:
                return None
            if found is not None and (best is None or found.size < best.size):
                best = found
        return best

    def _all(self, rule: str, formula: Formula, premises: list[Sequent]) -> Derivation | None:
        found = []
        for premise in premises:
            if (one := self.sequent(*premise)) is None:
                return None
            found.append(one)
        return Derivation(rule, formula, tuple(found))


def _simplification(left: frozenset[Formula], goal: Formula) -> Step | None:
    """An invertible rule with one premise, with the premise."""
    if goal[0] == "imp":
        return "intro", goal, [(left | {goal[1]}, goal[2])]
    for f in _compound(left):
        rest = left - {f}
        if f[0] == "and":
            return "cases_and", f, [(rest | {f[1], f[2]}, goal)]
        if f[0] == "imp":
            before, after = f[1], f[2]
            if before in left:
                return "apply", f, [(rest | {after}, goal)]
            if before == FALSE:
                return "drop", f, [(rest, goal)]
            if before[0] == "and":
                return "curry", f, [(rest | {("imp", before[1], ("imp", before[2], after))}, goal)]
            if before[0] == "or":
                return "split", f, [(rest | {("imp", before[1], after), ("imp", before[2], after)}, goal)]
    return None


def _opening(left: frozenset[Formula], goal: Formula) -> Step | None:
    """An invertible rule for a quantifier, with the premise."""
    if goal[0] == "all":
        new = _fresh(left, goal)
        return f"intro {new}", goal, [(left, renamed(goal[2], {goal[1]: new}))]
    for f in _compound(left):
        if f[0] == "some":
            new = _fresh(left, goal)
            return f"cases {new}", f, [(left - {f} | {renamed(f[2], {f[1]: new})}, goal)]
        if f[0] == "imp" and f[1][0] == "some":
            return "each", f, [(left - {f} | {each(f)}, goal)]
    return None


def _branchings(left: frozenset[Formula], goal: Formula) -> Iterator[Step]:
    """The invertible rules with two premises. Each leads to a derivation if there is one, but some derivations are shorter."""
    if goal[0] == "and":
        yield "both", goal, [(left, goal[1]), (left, goal[2])]
    for f in _compound(left):
        if f[0] == "or":
            yield "cases_or", f, [(left - {f} | {f[1]}, goal), (left - {f} | {f[2]}, goal)]


def _choices(left: frozenset[Formula], goal: Formula) -> Iterator[Step]:
    """The rules that are not invertible."""
    if goal[0] == "or":
        yield "left", goal, [(left, goal[1])]
        yield "right", goal, [(left, goal[2])]
    for f in _compound(left):
        if f[0] == "imp" and f[1][0] == "imp":
            rest = left - {f}
            yield "nested", f, [(rest | {("imp", f[1][2], f[2])}, f[1]), (rest | {f[2]}, goal)]


def _instances(left: frozenset[Formula], goal: Formula) -> Iterator[Step]:
    """The rules that choose a term, and the use of an implication from a universal statement, which stays."""
    general = [f for f in _compound(left) if f[0] == "all" or (f[0] == "imp" and f[1][0] == "all")]
    if goal[0] != "some" and not general:
        return
    terms = sorted(set().union(*map(terms_of, (*left, goal))))
    if goal[0] == "some":
        for t in terms:
            yield f"witness {t}", goal, [(left, renamed(goal[2], {goal[1]: t}))]
    for f in general if len(terms) <= MOST_TERMS else ():
        if f[0] == "all":
            for t in terms:
                if (new := renamed(f[2], {f[1]: t})) not in left:
                    yield f"at {t}", f, [(left | {new}, goal)]
        if f[0] == "imp" and f[1][0] == "all":
            yield "first", f, [(left, f[1]), (left - {f} | {f[2]}, goal)]


def each(f: Formula) -> Formula:
    """`∀ x, A → B` for `(∃ x, A) → B`. The variable's name is that of the new scope."""
    (_, variable, body), after = f[1], f[2]
    new = BOUND[max(height(body), height(after))]
    return ("all", new, ("imp", renamed(body, {variable: new}), after))


def _fresh(left: frozenset[Formula], goal: Formula) -> str:
    used = set().union(*map(terms_of, (*left, goal)))
    return next(name for i in itertools.count(1) if (name := f"t{i}") not in used)


@lru_cache(maxsize=16)  # each rule asks for those of the same sequent
def _compound(left: frozenset[Formula]) -> list[Formula]:
    """The formulas other than atoms, in a fixed order."""
    return sorted((f for f in left if not isinstance(f, str)), key=repr)
