"""Definitions and lemmas with proofs, from which worlds state theorems: the lemmas themselves, and equations that follow from them.

Sources are written in one form, with all parentheses: `(add a (succ b))`. Lean source comes from it in variants: other names, and
operations with their arguments swapped, so that recursion is on the other argument.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

from curricula.worlds.chains import calc, canonical, same_but_one_argument, scramble, shortest
from curricula.worlds.lemmas import Lemma
from curricula.worlds.terms import Algebra, Rule, Step, Term, heads_of, parse, show, variables_of
from curricula.worlds.theorems import WorldTheorem, renaming, world_theorem

_TERM = re.compile(r"[\w\s()]+")


@dataclass(frozen=True)
class Development:
    """Types, functions and lemmas of a world, in their order."""

    name: str
    types: Mapping[str, Mapping[str, tuple[str, ...]]]
    """Inductive types: constructors, with the sorts of their arguments."""
    functions: tuple[str, ...]
    """Each a line `NAME : TYPE`, then its equations, one per line."""
    lemmas: tuple[Lemma, ...]
    lean_types: Mapping[str, str]
    """Lean type of each sort."""
    own: Mapping[str, tuple[tuple[str, ...], str]]
    """Its own operations of terms: sorts of the arguments and of the result."""
    variables: Mapping[str, tuple[str, ...]]
    """Variables of each sort."""
    names: Mapping[str, tuple[str, ...]]
    """Other names of identifiers."""
    swaps: tuple[tuple[str, ...], ...] = ()
    """Groups of operations whose two arguments can be swapped, together."""
    borrowed: Mapping[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    """Operations of other worlds. No theorem is stated about these alone, because the other world may hold it out."""
    relations: str = ""
    """Definitions of predicates, after the functions."""

    @cached_property
    def operations(self) -> dict[str, tuple[tuple[str, ...], str]]:
        return {**self.borrowed, **self.own}

    @cached_property
    def equations(self) -> tuple[Lemma, ...]:
        """The defining equations of the functions, as lemmas whose proof is `rfl`."""
        found = []
        for function in self.functions:
            for line in function.splitlines()[1:]:
                left = parse(line.partition(" = ")[0])
                heads = [head for t in left[1:] for head in heads_of(t)]
                variables = variables_of(left)
                sorts = Algebra(self.operations, self.variables, ()).sorts
                binders = " ".join(f"({v} : {self.lean_types[sorts[v]]})" for v in variables)
                found.append(Lemma("_".join([left[0], *heads]), f"{binders} : {line.strip()}".strip(), "rfl"))
        return tuple(found)

    @cached_property
    def algebra(self) -> Algebra:
        """The lemmas and defining equations that are equations of terms, as rewrite rules."""
        rules = [
            Rule(lemma.name, lemma.variables, *sides)
            for lemma in (*self.equations, *self.lemmas)
            if (sides := self.sides_of(lemma)) is not None
        ]
        return Algebra(self.operations, self.variables, tuple(rules))

    @cached_property
    def _computation(self) -> Algebra:
        names = {e.name for e in self.equations}
        rules = tuple(r for r in self.algebra.rules if r.name in names)
        return Algebra(self.operations, self.variables, rules, most_symbols=1000)

    def sides_of(self, lemma: Lemma) -> tuple[Term, Term] | None:
        """The sides of a lemma that is an equation of terms without hypotheses."""
        left, _, right = lemma.type.partition(" = ")
        known = {v for names in self.variables.values() for v in names}
        if right and known.issuperset(lemma.variables) and self._is_term(left) and self._is_term(right):
            return parse(left), parse(right)
        return None

    def sample(self, rng: random.Random, difficulty: tuple[int, int]) -> WorldTheorem | None:
        """One of the lemmas, or an equation derived from them, in a random variant; None if the equation came to nothing."""
        swapped = {op for group in self.swaps if rng.random() < 0.5 for op in group}
        rename = renaming(rng, self.names)
        render = self.renderer(swapped)
        if rng.random() < 0.3:
            at = rng.choice([i for i, each in enumerate(self.lemmas) if self._is_own(each.statement_words)])
            lemma = self.lemmas[at]
            before, statement, proof = self.lemmas[:at], render(lemma.statement), render(lemma.proof)
            key, steps, distance, words = self.key_of(lemma), lemma.steps, None, lemma.words
        else:
            if (found := self._derived(rng, difficulty)) is None:
                return None
            left, chain = found
            right = chain[-1].result
            flip = partial(self._swap, swapped=swapped)
            statement = f"{self._binders(('=', left, right))} : {show(flip(left))} = {show(flip(right))}"
            proof = calc(left, chain, self.lean_types, self.algebra, flip)
            before, key, steps, distance = self.lemmas, canonical(left, right), len(chain), len(chain)
            words = {s.rule.name for s in chain}
        context = self.context(before, self._available(rng, before, words), swapped)
        return world_theorem(self.name, key, rename(statement), rename(context), rename(proof), steps, distance)

    def definitions(self) -> str:
        """The types, the functions with their defining equations, and the predicates, as Lean source without a lemma."""
        return self.context((), (), ())

    def derived(self, rng: random.Random, difficulty: tuple[int, int]) -> str | None:
        """A statement over the definitions alone, whose known proofs need lemmas. None if nothing came of the attempt."""
        if (found := self._derived(rng, difficulty)) is None:
            return None
        left, right = found[0], found[1][-1].result
        return f"{self._binders(('=', left, right))} : {show(left)} = {show(right)}"

    def _derived(self, rng: random.Random, difficulty: tuple[int, int]) -> tuple[Term, list[Step]] | None:
        """A left side, and a chain of rewrites from it that needs a lemma."""
        sort = rng.choice(sorted({result for args, result in self.operations.values() if args}))
        left = self.algebra.random_term(rng, sort, rng.randint(3, 8))
        chain = scramble(self.algebra, rng, left, rng.randint(*difficulty) + 1)
        right = chain[-1].result if chain else left
        both = ("=", left, right)
        if not variables_of(both) or not self._is_own(heads_of(both)) or same_but_one_argument(left, right):
            return None
        if self._value(left) == self._value(right):
            return None
        chain = shortest(self.algebra, left, chain)
        return (left, chain) if len(chain) > 1 else None

    def _is_own(self, words: Iterable[str]) -> bool:
        return not self.borrowed or not self.own.keys().isdisjoint(words)

    def _value(self, term: Term) -> Term:
        """The term after computing with the defining equations. Sides with equal values are equal by `rfl`."""
        while steps := [s for s in self._computation.steps(term, ()) if s.forward]:
            term = steps[0].result
        return term

    def key_of(self, lemma: Lemma) -> str:
        """The lemma up to names; an equation as derived equations are."""
        sides = self.sides_of(lemma)
        return canonical(*sides) if sides is not None else lemma.statement

    def _available(self, rng: random.Random, before: Iterable[Lemma], words: Collection[str]) -> set[str]:
        """Names of the lemmas that a theorem comes with: those that its proof needs, and some others, with what these need."""
        share = rng.choice((0.0, 0.5, 1.0))
        wanted: set[str] = set(words)
        for lemma in reversed(list(before)):
            if lemma.name in wanted or rng.random() < share:
                wanted |= {lemma.name, *lemma.words}
        return wanted

    def context(self, lemmas: Iterable[Lemma], available: Collection[str], swapped: Collection[str]) -> str:
        """The types, the functions, and the available lemmas with their proofs, as Lean source."""
        render = self.renderer(swapped)
        blocks = [self._inductive(name, swapped) for name in self.types]
        blocks += [self._function(text, swapped) for text in self.functions]
        blocks += [render(self.relations)] if self.relations else []
        blocks.append("\n".join(f"theorem {e.name} {render(e.statement)} := rfl" for e in self.equations))
        for lemma in lemmas:
            if lemma.name in available:
                proof = render(lemma.proof).replace("\n", "\n  ")
                blocks.append(f"theorem {lemma.name} {render(lemma.statement)} := by\n  {proof}")
        return "\n\n".join(blocks)

    # -- Lean source ---------------------------------------------------------------------------------------------------

    def _inductive(self, name: str, swapped: Collection[str]) -> str:
        lines = [f"inductive {name} where"]
        for constructor, sorts in self.types[name].items():
            arguments = [self.lean_types[s] for s in (reversed(sorts) if constructor in swapped else sorts)]
            lines.append(f"  | {constructor} : {' → '.join([*arguments, self.lean_types[name]])}")
        return "\n".join([*lines, f"open {name}"])

    def _function(self, text: str, swapped: Collection[str]) -> str:
        head, *equations = text.splitlines()
        name, _, type_ = head.partition(" : ")
        if name in swapped:
            first, second, result = type_.split(" → ")
            type_ = f"{second} → {first} → {result}"
        lines = [f"def {name} : {type_}"]
        for line in equations:
            left, right = (self._swap(parse(t), swapped) for t in line.split(" = "))
            lines.append(f"  | {', '.join(map(show, left[1:]))} => {show(right)}")
        return "\n".join(lines)

    def renderer(self, swapped: Collection[str]) -> Callable[[str], str]:
        """A function from sources with all parentheses to Lean source."""

        functions = [v for names in self.variables.values() for v in names]

        def render(text: str) -> str:
            out, at = [], 0
            while at < len(text):
                if text[at] != "(":
                    out.append(text[at])
                    at += 1
                    continue
                end = _closing(text, at)
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
            return any(text in names for names in self.variables.values())
        if _TERM.fullmatch(text) is None or _closing(text, 0) != len(text) - 1:
            return False
        term = parse(text)
        return term[0] in self.operations and {*self.operations, *heads}.issuperset(heads_of(term))

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
        return " ".join(f"({' '.join(vs)} : {self.lean_types[sort]})" for sort, vs in groups.items())


def _closing(text: str, at: int) -> int:
    """Index of the parenthesis that closes the one at `at`."""
    depth = 0
    for i in range(at, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    raise ValueError(f"unbalanced parentheses: {text}")
