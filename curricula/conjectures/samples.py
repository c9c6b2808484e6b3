"""Small values of the types of a file, as terms without variables."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product

from curricula.conjectures.expressions import (
    DEFAULT,
    FALSE,
    NAT,
    PROP,
    TRUE,
    Binder,
    Const,
    Expr,
    Free,
    Number,
    Sort,
    Var,
)
from curricula.conjectures.signature import Signature
from prover.lean.declared import NameParts

_DEPENDENT = Const(("dependent",))
"""Stands for a value that a type depends on."""
MOST = 12
"""Maximum number of values of a type."""
MOST_DEPTH = 3
"""Maximum nesting of constructors."""
_LIBRARY: dict[NameParts, tuple[tuple[str, tuple[int | None, ...]], ...]] = {
    ("Bool",): (("false", ()), ("true", ())),
    ("List",): (("nil", ()), ("cons", (0, None))),
    ("Option",): (("none", ()), ("some", (0,))),
    ("Prod",): (("mk", (0, 1)),),
    ("And",): (("intro", (0, 1)),),
    ("Or",): (("inl", (0,)), ("inr", (1,))),
}
"""Constructors of the library's types. For each argument, the index of the type parameter that is its type, or None for the type itself."""


class Samples:
    """Sample values. Type variables have the value `Nat`."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self._known: dict[tuple[Expr, int], tuple[Expr, ...]] = {}
        self.cases = cache(self._cases)

    def valuations(self, variables: Sequence[Free], count: int, rng: random.Random) -> list[dict[Free, Expr]]:
        """Values for all variables, small ones first; none if a type has no known values."""
        found: list[dict[Free, Expr]] = []
        for number in range(count):
            values: dict[Free, Expr] = {}
            drawn: dict[Expr, list[Expr]] = {}
            for place, variable in enumerate(variables):
                type_ = variable.type.substituted(values)
                choices = (NAT,) if isinstance(type_, Sort) and type_ != PROP else self.of(type_)
                if not choices:
                    return []
                if number < 3:
                    values[variable] = choices[(0, 1, place)[number] % len(choices)]
                    continue
                rest = drawn.setdefault(type_, [])
                if not rest:  # variables of one type get distinct values while there are some
                    rest += rng.sample(choices, len(choices))
                values[variable] = rest.pop()
            if values not in found:
                found.append(values)
        return found

    def of(self, type_: Expr, depth: int = MOST_DEPTH) -> tuple[Expr, ...]:
        """Values of a type without variables, the smallest first; empty if none are known."""
        if type_.frees():
            return ()
        if (type_, depth) not in self._known:
            self._known[type_, depth] = ()  # stops a recursion
            self._known[type_, depth] = self._made(type_, depth)
        return self._known[type_, depth]

    def _made(self, type_: Expr, depth: int) -> tuple[Expr, ...]:
        if type_ == NAT:
            return tuple(Number(n) for n in range(5))
        if type_ == PROP:
            return TRUE, FALSE
        if isinstance(type_, Binder):
            return self._functions(type_)
        made: list[Expr] = []
        for constructor, fields in self.constructors(type_):
            if depth == 0 and fields:
                continue
            values = [self.of(f, depth - 1 if f == type_ else min(depth, 1)) for f in fields]
            limit = {0: 1, 1: 4, 2: 3}.get(len(fields), 2)
            made += [constructor.apply(*chosen) for chosen in product(*(v[:limit] for v in values))]
        return tuple(sorted(made, key=_size)[:MOST])

    def constructors(self, type_: Expr) -> Iterator[tuple[Expr, list[Expr]]]:
        """(the constructor with the type's parameters, types of its arguments), where these do not depend on each other."""
        head, parameters = type_.spine()
        if not isinstance(head, Const):
            return
        for name, places in _LIBRARY.get(head.name, ()):
            fields = [type_ if place is None else parameters[place] for place in places]
            yield Const((*head.name, name), head.levels).apply(*parameters), fields
        for constant in self.signature.constants.values():
            if constant.kind != "constructor" or constant.name[:-1] != head.name:
                continue
            rest = constant.type_at(head.levels)
            for parameter in parameters:
                if not isinstance(rest, Binder):
                    return
                rest = rest.at(parameter)
            fields = []
            while isinstance(rest, Binder):
                fields.append(rest.type)
                rest = rest.at(_DEPENDENT)
            if rest == type_ and not any(part == _DEPENDENT for f in fields for part in f.subterms()):
                yield Const(constant.name, head.levels).apply(*parameters), fields

    def _cases(self, proposition: Expr) -> list[list[Expr]] | None:
        """The arguments of each constructor of an inductive proposition; None for other propositions, or if an argument depends on another."""
        head, _ = proposition.spine()
        if not isinstance(head, Const):
            return None
        own = self.signature.constants.get(head.name)
        count = sum(c.kind == "constructor" and c.name[:-1] == head.name for c in self.signature.constants.values())
        if (own is None or own.kind != "inductive") and head.name not in _LIBRARY:
            return None
        found = [fields for _, fields in self.constructors(proposition)]
        return found if head.name in _LIBRARY or len(found) == count else None

    def _functions(self, type_: Binder) -> tuple[Expr, ...]:
        codomain = type_.at(_DEPENDENT)
        results = self.of(codomain, 1)
        if not results or isinstance(type_.type, Sort):
            return ()

        wrapped = [c for c, fields in self.constructors(codomain) if fields == [type_.type]]
        if codomain == NAT == type_.type:
            wrapped = [Const(("Nat", "succ"))]
        bodies = [c.apply(Var(0)) for c in wrapped[:2]]
        if type_.type == codomain and not bodies:
            bodies.append(Var(0))
        return tuple(Binder(True, "x", DEFAULT, type_.type, body) for body in (*bodies, *results[:2]))


def _size(expr: Expr) -> int:
    head, arguments = expr.spine()
    return 1 + sum(map(_size, arguments)) + (head.value if isinstance(head, Number) else 0)
