"""Proposes equations between small terms over a file's operations that have equal values on small instances.

The method is that of QuickSpec (Claessen, Smallbone, Hughes 2010): terms are grouped by their values, and each term of a group is
conjectured to equal the smallest one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import product

from curricula.conjectures.bench import Bench
from curricula.conjectures.expressions import DEFAULT, IMPLICIT, NAT, TYPE, Binder, Const, Expr, Free, closed, free
from curricula.conjectures.filters import false
from curricula.conjectures.order import path_order
from curricula.conjectures.samples import Samples
from curricula.conjectures.signature import Operation, Signature
from curricula.conjectures.statements import Rules, Statement, equation, instance_of, stated
from curricula.conjectures.values import Unknown, Values

VALUATIONS = 5
"""Number of values of a term that are compared."""
MOST_SIZE = 5
"""Maximum number of operations and variables of a term."""
LARGEST_BEFORE_LAWS = 3
"""Maximum size of the terms that are compared before the laws of distribution."""
MOST_PER_SIZE = 4000
"""Maximum number of terms of one type and size. A random sample is kept if there are more."""


class Terms:
    """The terms of a signature."""

    def __init__(self, signature: Signature, seed: int) -> None:
        self.signature = signature
        self.rng = random.Random(f"turnstile terms {seed}")
        self.types = [free(name, TYPE, IMPLICIT) for name in ("α", "β")]
        wanted = {a for o in signature.operations for a in o.arguments if isinstance(a, Binder)}
        self.operations = [self._as_function(o, wanted) for o in self._instances()]
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

    def _as_function(self, operation: Operation, wanted: Container[Expr]) -> Operation:
        """The operation without its last argument, if its definition has no cases and the result is a function type that others take."""
        equations = self.signature.equations.get(operation.head.name, ())
        if not operation.arguments or len(equations) != 1 or (sides := equations[0].sides) is None:
            return operation
        if not all(isinstance(p, Free) for p in sides[0].spine()[1]):
            return operation
        result = Binder(False, "x", DEFAULT, operation.arguments[-1], operation.result)
        if result not in wanted:
            return operation
        return Operation(operation.head, operation.fixed[:-1], operation.arguments[:-1], result)

    def _variables(self) -> dict[Expr, list[Free]]:
        """Variables of each type that an operation takes: three if an operation takes several of the type, else two; at most two functions."""
        counts: dict[Expr, int] = {}
        for operation in self.operations:
            for type_ in operation.arguments:
                many = 3 if operation.arguments.count(type_) > 1 else 2
                counts[type_] = max(counts.get(type_, 0), min(many, 2) if isinstance(type_, Binder) else many)
        taken: list[str] = [t.name for t in self.types]
        found: dict[Expr, list[Free]] = {}
        for type_, count in counts.items():
            names = [n for n in self._names(type_) if n not in taken][:count]
            taken += names
            found[type_] = [free(name, type_) for name in names]
        return found

    def _names(self, type_: Expr) -> list[str]:
        """Names of variables of this type in the file, then other letters."""
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
                if operation.result != type_ or len(operation.arguments) >= size:
                    continue
                for sizes in product(range(1, size), repeat=len(operation.arguments)):
                    if sum(sizes) != size - 1:
                        continue
                    lists = [self.of(t, s) for t, s in zip(operation.arguments, sizes, strict=True)]
                    found += [operation(*data) for data in product(*lists)]
                    if len(found) > 4 * MOST_PER_SIZE:
                        break
            if len(found) > MOST_PER_SIZE:
                found = self.rng.sample(found, MOST_PER_SIZE)
            self._by_size[key] = found
        return self._by_size[key]

    def all(self, reducible: Callable[[Expr], bool]) -> Iterator[tuple[Expr, Expr, int]]:
        """(term, type, size), the smallest first. Of one size, terms with most variables come first, then terms whose variables are in order.
        The parts of a term are irreducible."""
        types = list(dict.fromkeys(o.result for o in self.operations))
        for size in range(1, MOST_SIZE + 1):
            here = [(t, type_) for type_ in types for t in self.of(type_, size)]
            self.rng.shuffle(here)
            here.sort(key=lambda x: (-len(x[0].frees()), not _in_order(x[0], self.variables.values())))
            yield from ((t, type_, size) for t, type_ in here if not isinstance(type_, Binder))
            for type_ in types:
                self._by_size[type_, size] = [t for t in self.of(type_, size) if not reducible(t)]

    def distributed(self) -> Iterator[Statement]:
        """`f (g x y) = h (f x) (f y)` and `= h (f y) (f x)`, for each argument of each operation `f`."""
        pairs = [
            o for o in self.operations if o.arguments == (o.result,) * 2 and not self.signature.is_constructor(o.head)
        ]
        for outer in self.operations:
            if self.signature.is_constructor(outer.head):
                continue
            for place, type_ in enumerate(outer.arguments):
                data: list[Expr] = [free(n, t) for n, t in zip("uvwxyz", outer.arguments, strict=False)]
                x, y = free("a", type_), free("b", type_)
                at = [outer(*data[:place], value, *data[place + 1 :]) for value in (x, y)]
                for inner, above in product(pairs, pairs):
                    if inner.result == type_ and above.result == outer.result:
                        whole = outer(*data[:place], inner(x, y), *data[place + 1 :])
                        yield stated(equation(outer.result, whole, above(*at)))
                        yield stated(equation(outer.result, whole, above(*reversed(at))))


async def equations(
    bench: Bench, terms: Terms, known: Sequence[Statement], most_calls: int, values: Values | None = None
) -> list[Statement]:
    """Equations between terms with equal values. A term whose value Lean must compute costs one Lean call, at most `most_calls` in all.

    Leaves out terms that an equation, known or found, rewrites to smaller ones.
    """
    values = values or Values(terms.samples)
    groups: dict[tuple[Expr, object], Expr] = {}
    found = _Equations(terms, known)
    assignments = _assignments(terms)
    computed = _computed_assignments(values, assignments)
    left, laws = most_calls, terms.distributed()
    for term, type_, size in terms.all(found.rules.reduce):
        if size > LARGEST_BEFORE_LAWS:  # the laws may follow from commutativity, which small terms show
            for law in laws:
                if not found.follows(law) and values.holds(law):
                    found.add(law)
        if any(v not in assignments[0] for v in term.frees()) or found.oriented.reduce(term):
            continue
        key: object = _key(values, term, computed)
        if key is None and left > 0 and not found.rules.reduce(term):
            left -= 1
            key = await _value(bench, term, type_, assignments)
        if key is None:
            continue
        smallest = groups.setdefault((type_, key), term)
        new = stated(equation(type_, term, smallest))
        if smallest is term or not new.variables or found.follows(new):
            continue
        holds = values.holds(new)
        if holds or (holds is None and not await false(bench, terms.samples, new, terms.rng)):  # tries other values
            found.add(new)
    return found.equations


class _Equations:
    """The equations that were found, and what follows from them by rewriting."""

    def __init__(self, terms: Terms, known: Sequence[Statement]) -> None:
        order = path_order(terms.signature)
        self._reduces = path_order(terms.signature, variables=False)
        self.rules, self.oriented = Rules(order), Rules(order)
        self.equations: list[Statement] = []
        for statement in known:
            self._use(statement)

    def _use(self, statement: Statement) -> None:
        self.rules.add(statement)
        sides = statement.sides
        if sides is not None and (self._reduces(*sides) or self._reduces(*reversed(sides))):
            self.oriented.add(statement)

    def add(self, equation: Statement) -> None:
        self.equations.append(equation)
        self._use(equation)

    def follows(self, equation: Statement) -> bool:
        """Whether an equation is an instance of a found one, or follows by rewriting with equations that have a direction. Equations without a
        direction, such as commutativity, do not count: they are hard to prove, and proving them needs the equations that follow."""
        return self.oriented.join(equation) or any(instance_of(equation, e) for e in self.equations)


def _computed_assignments(values: Values, assignments: Sequence[dict[Free, Expr]]) -> list[dict[Free, int]]:
    try:
        return [{v: values.of(e, {}) for v, e in a.items()} for a in assignments]
    except Unknown:
        return []


def _key(values: Values, term: Expr, assignments: Sequence[dict[Free, int]]) -> tuple[int | None, ...] | None:
    """The term's values, each None if unknown. None if more than two of them are unknown."""
    found: list[int | None] = []
    for env in assignments:
        try:
            found.append(values.of(term, env))
        except Unknown:
            found.append(None)
    return tuple(found) if len(found) - found.count(None) >= VALUATIONS - 2 else None


def _assignments(terms: Terms) -> list[dict[Free, Expr]]:
    """Assignments of values to the variables. Skips the first ones, which give many variables the same small value."""
    variables = [
        v for vs in terms.variables.values() for v in vs if terms.samples.valuations([*terms.types, v], 1, terms.rng)
    ]
    return terms.samples.valuations([*terms.types, *variables], VALUATIONS + 3, terms.rng)[3:]


async def _value(bench: Bench, term: Expr, type_: Expr, assignments: Sequence[dict[Free, Expr]]) -> str | None:
    """A key of the term's values, which Lean computes: equal for terms with equal values. None if Lean does not compute them."""
    ground = type_.substituted(assignments[0])
    function: Expr = NAT
    for _ in assignments:
        function = Binder(False, "x", DEFAULT, ground, function)
    predicate = free("p", function)
    application = predicate.apply(*(term.substituted(a) for a in assignments))
    if not (source := closed([predicate], equation(NAT, application, Const(("Nat", "zero")))).text()):
        return None
    result = await bench.step("evaluated", f"suffices h : {source} by trivial\nintro p\nconv => lhs; reduce")
    return result.states[0].key if result.ok and len(result.states) == 1 else None


def _in_order(term: Expr, variables: Iterable[list[Free]]) -> bool:
    """Whether the variables of each list first occur in its order, without gaps."""
    used = term.frees()
    return all(mine == each[: len(mine)] for each in variables if (mine := [v for v in used if v in each]))


def _without_variables(type_: Expr) -> Expr:
    return type_.substituted({v: Const(("type",)) for v in type_.frees()})
