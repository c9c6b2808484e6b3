"""Terms with sorts, and single rewrites of them by equations."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

Term = str | tuple
"""A variable (a string), or an operation with its arguments: `("add", "m", ("zero",))`."""


@dataclass(frozen=True)
class Rule:
    """An equation that a lemma states, used in both directions."""

    name: str
    variables: tuple[str, ...]
    """The lemma's explicit arguments, in order."""
    left: Term
    right: Term


@dataclass(frozen=True)
class Step:
    """One rewrite of one subterm."""

    result: Term
    position: tuple[int, ...]
    rule: Rule
    forward: bool
    values: tuple[Term, ...]
    """The rule's arguments."""


@dataclass(frozen=True)
class Algebra:
    """Sorts, operations and equations. Every string of a term or a rule is a variable of `variables`."""

    operations: Mapping[str, tuple[tuple[str, ...], str]]
    """Sorts of the arguments, and of the result."""
    variables: Mapping[str, tuple[str, ...]]
    """Variables of each sort."""
    rules: tuple[Rule, ...]
    most_symbols: int = 14
    """Maximum size of the result of a rewrite."""

    @cached_property
    def sorts(self) -> dict[str, str]:
        return {v: sort for sort, names in self.variables.items() for v in names}

    @cached_property
    def _anywhere(self) -> list[tuple[Rule, bool]]:
        """The rules, with their direction, that rewrite a variable."""
        return [(r, d) for r in self.rules for d in (True, False) if isinstance(r.left if d else r.right, str)]

    @cached_property
    def _by_head(self) -> dict[str | None, list[tuple[Rule, bool]]]:
        """Operation -> the rules, with their direction, that may rewrite a term with that head."""
        found: dict[str | None, list[tuple[Rule, bool]]] = {head: list(self._anywhere) for head in self.operations}
        for rule in self.rules:
            for side, forward in ((rule.left, True), (rule.right, False)):
                if not isinstance(side, str):
                    found[side[0]].append((rule, forward))
        return found

    def sort_of(self, term: Term) -> str:
        return self.sorts[term] if isinstance(term, str) else self.operations[term[0]][1]

    def random_term(self, rng: random.Random, sort: str, symbols: int) -> Term:
        """A random term of a sort with about `symbols` symbols."""
        makers = [h for h, (args, result) in self.operations.items() if result == sort and args]
        names = self.variables.get(sort, ())
        if symbols <= 1 or not makers:
            constants = [(h,) for h, (args, result) in self.operations.items() if result == sort and not args]
            return rng.choice([*names * 3, *constants])
        head = rng.choice(makers)
        args = self.operations[head][0]
        return (head, *(self.random_term(rng, a, (symbols - 1) // len(args)) for a in args))

    def steps(self, term: Term, fill: Collection[str]) -> list[Step]:
        """Every single rewrite of a term. `fill`: variables that may replace a rule's variables that occur only in its result."""
        return list(self._steps(term, (), term, fill, max(0, self.most_symbols - size(term))))

    def _steps(self, whole: Term, at: tuple[int, ...], part: Term, fill: Collection[str], room: int) -> Iterator[Step]:
        """The rewrites of `part`, which is at position `at` of `whole`. `room`: maximum number of symbols by which it may grow."""
        most = size(part) + room
        for rule, forward in self._by_head.get(None if isinstance(part, str) else part[0], self._anywhere):
            before, after = (rule.left, rule.right) if forward else (rule.right, rule.left)
            found: dict[str, Term] = {}
            if not self._match(before, part, found):
                continue
            free = [v for v in rule.variables if v not in found]
            choices = [[f for f in fill if self.sorts[f] == self.sorts[v]] for v in free]
            for chosen in itertools.product(*choices):
                values = found | dict(zip(free, chosen, strict=True))
                new = substitute(after, values)
                if new != part and size(new) <= most:
                    yield Step(put(whole, at, new), at, rule, forward, tuple(values[v] for v in rule.variables))
        if not isinstance(part, str):
            for i, argument in enumerate(part[1:], 1):
                yield from self._steps(whole, (*at, i), argument, fill, room)

    def _match(self, pattern: Term, term: Term, found: dict[str, Term]) -> bool:
        if isinstance(pattern, str):
            return found.setdefault(pattern, term) == term and self.sorts[pattern] == self.sort_of(term)
        if isinstance(term, str) or pattern[0] != term[0]:
            return False
        return all(self._match(p, t, found) for p, t in zip(pattern[1:], term[1:], strict=True))


def show(term: Term, argument: bool = False) -> str:
    """A term as Lean source; `argument`: in parentheses unless it is one word."""
    if isinstance(term, str) or len(term) == 1:
        return term if isinstance(term, str) else term[0]
    text = " ".join([term[0], *(show(t, True) for t in term[1:])])
    return f"({text})" if argument else text


def parse(text: str) -> Term:
    """A term from its text with all parentheses: `(add m (zero))`. A word without parentheses is a variable."""
    stack: list[list] = [[]]
    for token in re.findall(r"[()]|[^\s()]+", text):
        if token == "(":
            stack.append([])
        elif token == ")":
            done = tuple(stack.pop())
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    return stack[0][0]


def size(term: Term) -> int:
    """Number of symbols."""
    if isinstance(term, str):
        return 1
    count = 1
    for argument in term[1:]:
        count += size(argument)
    return count


def variables_of(term: Term) -> list[str]:
    """Its variables, in order of first occurrence."""
    every = [term] if isinstance(term, str) else [v for t in term[1:] for v in variables_of(t)]
    return list(dict.fromkeys(every))


def heads_of(term: Term) -> list[str]:
    """Its operations, in order."""
    return [] if isinstance(term, str) else [term[0], *(h for t in term[1:] for h in heads_of(t))]


def substitute(term: Term, values: Mapping[str, Term]) -> Term:
    if isinstance(term, str):
        return values.get(term, term)
    return (term[0], *(substitute(t, values) for t in term[1:]))


def get(term: Term, at: Sequence[int]) -> Term:
    """The subterm at a position: indices of arguments from the root, the first being 1."""
    for i in at:
        term = term[i]
    return term


def put(term: Term, at: Sequence[int], new: Term) -> Term:
    """The term with another subterm at a position."""
    if not at:
        return new
    return (*term[: at[0]], put(term[at[0]], at[1:], new), *term[at[0] + 1 :])
