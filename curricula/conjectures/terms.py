"""Proposes equations between small terms over a file's operations that have equal values on small instances.

The method is that of QuickSpec (Claessen, Smallbone, Hughes 2010): terms are grouped by their values, and each term of a group is
conjectured to equal the smallest one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import product

from curricula.conjectures.bench import Bench
from curricula.conjectures.expressions import (
    DEFAULT,
    IMPLICIT,
    Binder,
    Const,
    Expr,
    Free,
    NotExpressible,
    apply,
    closed,
    free,
    frees_of,
    source_of,
    substituted,
)
from curricula.conjectures.filters import false
from curricula.conjectures.samples import NAT, Samples
from curricula.conjectures.signature import TYPE, Operation, Signature
from curricula.conjectures.statements import Rules, Statement, stated

VALUATIONS = 5
"""Values of a term that are compared."""
MOST_SIZE = 5
"""Operations and variables of a term."""
MOST_PER_SIZE = 4000
"""Terms of one size that are generated, before some are chosen."""


class Terms:
    """The terms of a signature."""

    def __init__(self, signature: Signature, seed: int) -> None:
        self.signature = signature
        self.rng = random.Random(f"turnstile terms {seed}")
        self.types = [free(name, TYPE, IMPLICIT) for name in ("α", "β")]
        self.operations = list(self._instances())
        self.samples = Samples(signature)
        self.variables = self._variables()
        self._by_size: dict[tuple[Expr, int], list[Expr]] = {}

    def _instances(self) -> Iterator[Operation]:
        """The operations with `α` and `β` for their type variables."""
        two = any(len(o.variables) == 2 for o in self.signature.operations)
        for operation in self.signature.operations:
            variables = operation.variables
            if len(variables) <= 1:
                for type_ in self.types if variables and two else self.types[:1]:
                    yield operation.at(dict.fromkeys(variables, type_))
            elif len(variables) == 2:
                yield operation.at(dict(zip(variables, self.types, strict=True)))

    def _variables(self) -> dict[Expr, list[Free]]:
        """Variables of each type that an operation takes: three where one takes two of them, else two; one function."""
        counts: dict[Expr, int] = {}
        for operation in self.operations:
            for type_ in operation.arguments:
                many = 3 if operation.arguments.count(type_) > 1 else 2
                counts[type_] = max(counts.get(type_, 0), 1 if isinstance(type_, Binder) else many)
        taken: list[str] = [t.name for t in self.types]
        found: dict[Expr, list[Free]] = {}
        for type_, count in counts.items():
            names = [n for n in self._names(type_) if n not in taken][:count]
            taken += names
            found[type_] = [free(name, type_) for name in names]
        return found

    def _names(self, type_: Expr) -> list[str]:
        """Names that the file gives to variables of this type, then others."""
        shape = _without_variables(type_)
        used = [
            v.name
            for k in self.signature.known
            for v in k.statement.variables
            if _without_variables(v.type) == shape and v.info == DEFAULT and len(v.name) == 1
        ]
        return list(dict.fromkeys([*used, *"abcdklmnpqrstuvwxyz"]))

    def of(self, type_: Expr, size: int) -> list[Expr]:
        """Terms of a type with `size` operations and variables."""
        key = (type_, size)
        if key not in self._by_size:
            found: list[Expr] = []
            if size == 1:
                found += self.variables.get(type_, [])
            for operation in self.operations:
                if operation.result != type_:
                    continue
                for sizes in _compositions(size - 1, len(operation.arguments)):
                    lists = [self.of(t, s) for t, s in zip(operation.arguments, sizes, strict=True)]
                    found += [operation(*data) for data in product(*lists)]
                    if len(found) > 4 * MOST_PER_SIZE:
                        break
            if len(found) > MOST_PER_SIZE:
                found = self.rng.sample(found, MOST_PER_SIZE)
            self._by_size[key] = found
        return self._by_size[key]

    def all(self) -> Iterator[tuple[Expr, Expr]]:
        """The terms with their types, the smallest first; of one size, those first whose variables come in order."""
        types = list(dict.fromkeys(o.result for o in self.operations))
        order = {v: i for vs in self.variables.values() for i, v in enumerate(vs)}
        for size in range(1, MOST_SIZE + 1):
            here = [(t, type_) for type_ in types for t in self.of(type_, size)]
            self.rng.shuffle(here)
            here.sort(key=lambda x: not _in_order(x[0], order))
            yield from here


async def equations(bench: Bench, terms: Terms, known: Sequence[Statement], most_calls: int) -> list[Statement]:
    """Equations between terms with equal values. Each term costs one Lean call.

    Terms that an equation, known or found, takes to a smaller term are left out.
    """
    groups: dict[tuple[Expr, str], Expr] = {}
    found: list[Statement] = []
    rules = Rules(known)
    assignments = _assignments(terms)
    left = most_calls
    for term, type_ in terms.all():
        if left == 0:
            break
        if rules.reduce(term) or any(v not in assignments[0] for v in frees_of(term)):
            continue
        left -= 1
        key = await _value(bench, term, type_, assignments)
        if key is None:
            continue
        smallest = groups.setdefault((type_, key), term)
        if smallest is term or not frees_of(apply(smallest, term)):
            continue
        equation = _equation(type_, term, smallest)
        if not await false(bench, terms.samples, equation, terms.rng):  # with other values
            found.append(equation)
            rules.add(equation)
    return found


def _assignments(terms: Terms) -> list[dict[Free, Expr]]:
    """Values that tell variables apart: the small ones are seldom different."""
    variables = [
        v for vs in terms.variables.values() for v in vs if terms.samples.valuations([*terms.types, v], 1, terms.rng)
    ]
    return terms.samples.valuations([*terms.types, *variables], VALUATIONS + 3, terms.rng)[3:]


async def _value(bench: Bench, term: Expr, type_: Expr, assignments: Sequence[dict[Free, Expr]]) -> str | None:
    """A key of the term's values, which Lean computes."""
    ground = substituted(type_, assignments[0])
    function: Expr = NAT
    for _ in assignments:
        function = Binder(False, "x", DEFAULT, ground, function)
    predicate = free("p", function)
    application = apply(predicate, *(substituted(term, a) for a in assignments))
    zero = apply(Const(("Nat", "zero")))
    claim = apply(Const(("Eq",), (("s", ("z",)),)), NAT, application, zero)
    try:
        source = source_of(closed([predicate], claim))
    except NotExpressible:
        return None
    result = await bench.step("evaluated", f"suffices h : {source} by trivial\nintro p\nconv => lhs; reduce")
    return result.states[0].key if result.ok and len(result.states) == 1 else None


def _equation(type_: Expr, left: Expr, right: Expr) -> Statement:
    return stated(apply(Const(("Eq",), (("s", ("z",)),)), type_, left, right))


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Sequences of `parts` positive numbers with the sum `total`."""
    if parts == 0:
        if total == 0:
            yield ()
        return
    for first in range(1, total - parts + 2):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)


def _in_order(term: Expr, order: dict[Free, int]) -> bool:
    """Whether the variables of each type first occur in their order."""
    seen: dict[Expr, int] = {}
    for variable in frees_of(term):
        if variable in order:
            if order[variable] != seen.get(variable.type, 0):
                return False
            seen[variable.type] = order[variable] + 1
    return True


def _without_variables(type_: Expr) -> Expr:
    return substituted(type_, {v: Const(("type",)) for v in frees_of(type_)})
