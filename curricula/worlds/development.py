"""Definitions and lemmas with proofs, from which worlds state theorems: the lemmas themselves, and equations that follow from them.

Sources have all parentheses: `(add a (succ b))`. They are rendered as Lean source in variants: with other names, and with the arguments
of operations swapped, so that recursion is on the other argument.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property, partial

from curricula.worlds.chains import calc, canonical, same_but_one_argument, scramble, shortest
from curricula.worlds.terms import Algebra, Rule, Step, Term, heads_of, parse, show, variables_of
from curricula.worlds.theorems import WorldTheorem, renaming, world_theorem
from curricula.worlds.theories import Lemma, Theory
from prover.lean.brackets import closing

_TERM = re.compile(r"[\w\s()]+")


@dataclass(frozen=True)
class Development:
    """A theory from which a world states theorems."""

    name: str
    """Name of the world."""
    theory: Theory

    def lean_type(self, sort: str) -> str:
        """The Lean type of a sort."""
        return self.theory.lean_types.get(sort, sort)

    @cached_property
    def equations(self) -> tuple[Lemma, ...]:
        """The defining equations of the functions, as lemmas whose proof is `rfl`."""
        found = []
        sorts = Algebra(self.theory.operations, self.theory.variables, ()).sorts
        for equation in (e for equations in self.theory.functions.values() for e in equations):
            left = parse(equation.partition(" = ")[0])
            binders = " ".join(f"({v} : {self.lean_type(sorts[v])})" for v in variables_of(left))
            found.append(Lemma("_".join(heads_of(left)), f"{binders} : {equation}".strip(), "rfl"))
        return tuple(found)

    @cached_property
    def algebra(self) -> Algebra:
        """The lemmas and defining equations that are equations of terms, as rewrite rules."""
        rules = [
            Rule(lemma.name, lemma.variables, *sides)
            for lemma in (*self.equations, *self.theory.lemmas)
            if (sides := self.sides_of(lemma)) is not None
        ]
        return Algebra(self.theory.operations, self.theory.variables, tuple(rules))

    @cached_property
    def _computation(self) -> Algebra:
        names = {e.name for e in self.equations}
        rules = tuple(r for r in self.algebra.rules if r.name in names)
        return Algebra(self.theory.operations, self.theory.variables, rules, most_symbols=1000)

    def sides_of(self, lemma: Lemma) -> tuple[Term, Term] | None:
        """The sides of a lemma that is an equation of terms without hypotheses."""
        left, _, right = lemma.type.partition(" = ")
        known = {v for names in self.theory.variables.values() for v in names}
        if right and known.issuperset(lemma.variables) and self._is_term(left) and self._is_term(right):
            return parse(left), parse(right)
        return None

    def sample(self, rng: random.Random, difficulty: tuple[int, int]) -> WorldTheorem | None:
        """One of the lemmas, or an equation derived from them, in a random variant; None if no suitable equation was found."""
        swapped = {op for group in self.theory.swaps if rng.random() < 0.5 for op in group}
        rename = renaming(rng, self.theory.names)
        render = self.renderer(swapped)
        if rng.random() < 0.3:
            lemmas = self.theory.lemmas
            at = rng.choice([i for i, each in enumerate(lemmas) if self._is_own(each.statement_words)])
            lemma = lemmas[at]
            before, statement, proof = lemmas[:at], render(lemma.statement), render(lemma.proof)
            key, steps, distance, words = self.key_of(lemma), lemma.steps, None, lemma.words
        else:
            if (found := self._derived(rng, difficulty)) is None:
                return None
            left, chain = found
            right = chain[-1].result
            flip = partial(self._swap, swapped=swapped)
            statement = f"{self._binders(('=', left, right))} : {show(flip(left))} = {show(flip(right))}"
            proof = calc(left, chain, self.lean_type, self.algebra, flip)
            before, key, steps, distance = self.theory.lemmas, canonical(left, right), len(chain), len(chain)
            words = {s.rule.name for s in chain}
        context = self.context(before, self._available(rng, before, words), swapped)
        return world_theorem(self.name, key, rename(statement), rename(context), rename(proof), steps, distance)

    def definitions(self) -> str:
        """The types, the functions with their defining equations, and the predicates, as Lean source without a lemma."""
        return self.context((), (), ())

    def derived(self, rng: random.Random, difficulty: tuple[int, int]) -> str | None:
        """A statement over the definitions alone, whose known proofs need lemmas; None if no suitable equation was found."""
        if (found := self._derived(rng, difficulty)) is None:
            return None
        left, right = found[0], found[1][-1].result
        return f"{self._binders(('=', left, right))} : {show(left)} = {show(right)}"

    def _derived(self, rng: random.Random, difficulty: tuple[int, int]) -> tuple[Term, list[Step]] | None:
        """A left side, and a chain of rewrites from it that needs a lemma."""
        sort = rng.choice(sorted({result for args, result in self.theory.operations.values() if args}))
        left = self.algebra.random_term(rng, sort, rng.randint(3, 8))
        chain = scramble(self.algebra, rng, left, rng.randint(*difficulty) + 1)
        right = chain[-1].result if chain else left
        both = ("=", left, right)
        if not variables_of(both) or not self._is_own(heads_of(both)) or same_but_one_argument(left, right):
            return None
        if self._value(left) == self._value(right):
            return None
        known = shortest(self.algebra, left, chain)
        return (left, known) if known is not None and len(known) > 1 else None

    def _is_own(self, words: Iterable[str]) -> bool:
        borrowed = self.theory.borrowed
        return not borrowed or not (self.theory.operations.keys() - borrowed).isdisjoint(words)

    def _value(self, term: Term) -> Term:
        """The term after computing with the defining equations. Sides with equal values are equal by `rfl`."""
        while steps := [s for s in self._computation.steps(term, ()) if s.forward]:
            term = steps[0].result
        return term

    def key_of(self, lemma: Lemma) -> str:
        """A text of the lemma; for an equation, up to names of variables and orientation."""
        sides = self.sides_of(lemma)
        return canonical(*sides) if sides is not None else lemma.statement

    def _available(self, rng: random.Random, before: Iterable[Lemma], words: Collection[str]) -> set[str]:
        """Names of the lemmas in a theorem's context: those that its proof needs, and some others with the lemmas that these need."""
        share = rng.choice((0.0, 0.5, 1.0))
        wanted: set[str] = set(words)
        for lemma in reversed(list(before)):
            if lemma.name in wanted or rng.random() < share:
                wanted |= {lemma.name, *lemma.words}
        return wanted

    def context(self, lemmas: Iterable[Lemma], available: Collection[str], swapped: Collection[str]) -> str:
        """The types, the functions, and the available lemmas with their proofs, as Lean source."""
        render = self.renderer(swapped)
        blocks = [self._inductive(sort, swapped) for sort in self.theory.types]
        blocks += [self._function(name, swapped) for name in self.theory.functions]
        blocks += [render(text) for text in self.theory.definitions]
        blocks.append("\n".join(f"theorem {e.name} {render(e.statement)} := rfl" for e in self.equations))
        for lemma in lemmas:
            if lemma.name in available:
                proof = render(lemma.proof).replace("\n", "\n  ")
                blocks.append(f"theorem {lemma.name} {render(lemma.statement)} := by\n  {proof}")
        return "\n\n".join(blocks)

    # -- Lean source ---------------------------------------------------------------------------------------------------

    def _inductive(self, sort: str, swapped: Collection[str]) -> str:
        lines = [f"inductive {self.lean_type(sort)} where"]
        lines += [f"  | {c} : {self._arrows(c, swapped)}" for c in self.theory.types[sort]]
        return "\n".join([*lines, f"open {self.lean_type(sort)}"])

    def _function(self, name: str, swapped: Collection[str]) -> str:
        lines = [f"def {name} : {self._arrows(name, swapped)}"]
        for equation in self.theory.functions[name]:
            left, right = (self._swap(parse(t), swapped) for t in equation.split(" = "))
            lines.append(f"  | {', '.join(map(show, left[1:]))} => {show(right)}")
        return "\n".join(lines)

    def _arrows(self, operation: str, swapped: Collection[str]) -> str:
        """The Lean type of an operation."""
        args, result = self.theory.operations[operation]
        types = [self.lean_type(s) for s in (reversed(args) if operation in swapped else args)]
        return " → ".join([*(f"({t})" if "→" in t else t for t in types), self.lean_type(result)])

    def renderer(self, swapped: Collection[str]) -> Callable[[str], str]:
        """A function from sources with all parentheses to Lean source."""

        functions = [v for names in self.theory.variables.values() for v in names]

        def render(text: str) -> str:
            out, at = [], 0
            while at < len(text):
                if text[at] != "(":
                    out.append(text[at])
                    at += 1
                    continue
                if (end := closing(text, at)) < 0:
                    raise ValueError(f"unbalanced parentheses: {text}")
                inside = text[at : end + 1]
                if self._is_term(inside, functions):
                    alone = re.search(r"(^|[=:→|] )$", text[:at]) and re.match(
                        r" *([=→|),]|$)|( \w+)* =>", text[end + 1 :]
                    )
                    out.append(show(self._swap(parse(inside), swapped), not alone))
                else:
                    out.append(f"({render(text[at + 1 : end])})")
                at = end + 1
            return "".join(out)

        return render

    def _is_term(self, text: str, heads: Collection[str] = ()) -> bool:
        """Whether a text is a term: a variable, or operations (or `heads`) in parentheses."""
        if not text.startswith("("):
            return any(text in names for names in self.theory.variables.values())
        if _TERM.fullmatch(text) is None or closing(text) != len(text) - 1:
            return False
        term = parse(text)
        return term[0] in self.theory.operations and {*self.theory.operations, *heads}.issuperset(heads_of(term))

    def _swap(self, term: Term, swapped: Collection[str]) -> Term:
        if isinstance(term, str):
            return term
        args = [self._swap(t, swapped) for t in term[1:]]
        return (term[0], *(reversed(args) if term[0] in swapped else args))

    def _binders(self, term: Term) -> str:
        sorts = self.algebra.sorts
        groups: dict[str, list[str]] = {}
        for v in variables_of(term):
            groups.setdefault(sorts[v], []).append(v)
        return " ".join(f"({' '.join(vs)} : {self.lean_type(sort)})" for sort, vs in groups.items())
