"""Statements with free variables: their form up to names, order and symmetry, and whether one is an instance of another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from curricula.conjectures.expressions import TYPE, App, Binder, Const, Expr, Free, closed, free, fresh_name

EQ = Const(("Eq",), (TYPE.level,))
"""`Eq` in `Type`."""
SYMMETRIC = (("Eq",), ("Iff",))
MAX_ORDERS = 24
"""Maximum number of orders of the hypotheses that are compared for the form of a statement."""
MAX_STEPS = 100
"""Maximum number of rewrites of a term."""


@dataclass(frozen=True)
class Statement:
    """`∀ variables, conclusion`. Hypotheses are variables whose type is a proposition."""

    variables: tuple[Free, ...]
    conclusion: Expr

    @cached_property
    def expr(self) -> Expr:
        return closed(self.variables, self.conclusion)

    @property
    def source(self) -> str:
        """Its text after a theorem's name, with everything explicit. Raises NotExpressible."""
        return " ".join([*(v.binder() for v in self.variables), f": {self.conclusion.source()}"])

    @cached_property
    def size(self) -> int:
        """Nodes of the conclusion and the hypotheses, types and instances included."""
        return sum(part.size() for part in self.parts)

    @cached_property
    def hypotheses(self) -> tuple[Free, ...]:
        """The variables that nothing mentions. They are proofs if the statement has no unused variables."""
        used = {f for e in (self.conclusion, *(v.type for v in self.variables)) for f in e.frees()}
        return tuple(v for v in self.variables if v not in used)

    @property
    def given(self) -> list[Expr]:
        """The types of the hypotheses."""
        return [h.type for h in self.hypotheses]

    @property
    def parts(self) -> list[Expr]:
        """The conclusion, then what is given."""
        return [self.conclusion, *self.given]

    @property
    def data(self) -> list[Free]:
        """The variables that are not hypotheses."""
        facts = set(self.hypotheses)
        return [v for v in self.variables if v not in facts]

    @cached_property
    def sides(self) -> tuple[Expr, Expr] | None:
        """The sides of an equation or equivalence."""
        return sides_of(self.conclusion)

    @cached_property
    def form(self) -> str:
        """Equal for statements that are equal up to names, order of variables and hypotheses, and exchanged sides of an equation."""
        orders = itertools.islice(itertools.permutations(self.given), MAX_ORDERS)
        return min(_numbered([*order, conclusion]) for order in orders for conclusion in _both(self.conclusion))


def equation(type_: Expr, left: Expr, right: Expr) -> Expr:
    """`left = right` in the type `type_`, which must be in `Type`."""
    return EQ.apply(type_, left, right)


def sides_of(proposition: Expr) -> tuple[Expr, Expr] | None:
    head, arguments = proposition.spine()
    if isinstance(head, Const) and head.name in SYMMETRIC and len(arguments) >= 2:
        return arguments[-2], arguments[-1]
    return None


def swapped(proposition: Expr) -> Expr:
    """An equation or equivalence with its sides exchanged."""
    assert isinstance(proposition, App) and isinstance(proposition.function, App)
    first = proposition.function
    return App(App(first.function, proposition.argument), first.argument)


def opened(type_: Expr) -> Statement:
    """A type as a statement, with new variables under distinct names."""
    variables: list[Free] = []
    while isinstance(type_, Binder):
        name = fresh_name(type_.name, [v.name for v in variables])
        variables.append(free(name, type_.type, type_.info))
        type_ = type_.at(variables[-1])
    return Statement(tuple(variables), type_)


def stated(conclusion: Expr, hypotheses: Sequence[Expr] = (), kept: Sequence[Free] = ()) -> Statement:
    """The statement that quantifies all free variables of its parts, in the order of `kept`, each after the variables in its type."""
    needed = _after_their_types(v for expr in (*hypotheses, conclusion) for v in expr.frees())
    place = {v: i for i, v in enumerate(kept)}
    variables = _after_their_types(sorted(needed, key=lambda v: place.get(v, len(place))))
    names: list[str] = []
    renamed: dict[Free, Expr] = {}
    new: list[Free] = []
    for v in variables:
        names.append(fresh_name(v.name, names))
        new.append(free(names[-1], v.type.substituted(renamed), v.info))
        renamed[v] = new[-1]
    for h in hypotheses:
        names.append(fresh_name("h", names))
        new.append(free(names[-1], h.substituted(renamed)))
    return Statement(tuple(new), conclusion.substituted(renamed))


def _after_their_types(variables: Iterable[Free]) -> list[Free]:
    """The variables and those in their types, which come first."""
    out: dict[Free, None] = {}

    def put(variable: Free) -> None:
        for other in variable.type.frees():
            put(other)
        out[variable] = None

    for variable in variables:
        put(variable)
    return list(out)


def instance_of(statement: Statement, known: Statement) -> bool:
    """Whether the statement is `known` with values for its variables, up to exchanged sides and additional hypotheses."""
    hypotheses = set(statement.given)
    for conclusion in _both(known.conclusion):
        values: dict[Free, Expr] = {}
        fits = matches(conclusion, statement.conclusion, frozenset(known.variables), values)
        if fits and all(h.substituted(values) in hypotheses for h in known.given):
            return True
    return False


def matches(pattern: Expr, expr: Expr, variables: frozenset[Free], values: dict[Free, Expr]) -> bool:
    """Whether `pattern` equals the expression for some values of the variables. Adds these to `values`."""
    if isinstance(pattern, Free) and pattern in variables:
        if pattern in values:
            return values[pattern] == expr
        if expr.is_loose():
            return False
        values[pattern] = expr
        return True
    if isinstance(pattern, App) and isinstance(expr, App):
        pairs = (pattern.function, expr.function), (pattern.argument, expr.argument)
    elif isinstance(pattern, Binder) and isinstance(expr, Binder) and pattern.lam == expr.lam:
        pairs = (pattern.type, expr.type), (pattern.body, expr.body)
    else:
        return pattern == expr
    return all(matches(p, e, variables, values) for p, e in pairs)


def _both(proposition: Expr) -> list[Expr]:
    return [proposition] if sides_of(proposition) is None else [proposition, swapped(proposition)]


def _numbered(parts: Sequence[Expr]) -> str:
    """The parts as text, with variables numbered by first occurrence, and the types of these."""
    numbers: dict[Free, int] = {}
    out: list[str] = []

    def show(expr: Expr) -> None:
        match expr:
            case Free():
                out.append(f"x{numbers.setdefault(expr, len(numbers))} ")
            case App(function, argument):
                out.append("(")
                show(function)
                show(argument)
                out.append(")")
            case Binder(lam, _, _, type_, body):
                out.append("λ" if lam else "Π")
                show(type_)
                show(body)
            case Const(name, levels):
                out.append(f"{name}{levels or ''} ")
            case _:
                out.append(f"{expr} ")

    for part in parts:
        show(part)
        out.append(";")
    for variable in numbers.copy():
        show(variable.type)
        out.append(",")
    return "".join(out)


class Rules:
    """Equations as rules towards smaller terms, in a fixed total order of terms."""

    def __init__(self, less: Callable[[Expr, Expr], bool] | None = None) -> None:
        self._rules: dict[Expr, list[tuple[Expr, Expr, frozenset[Free]]]] = {}
        self._less = less or (lambda a, b: (a.size(), str(a)) < (b.size(), str(b)))

    def add(self, statement: Statement) -> None:
        """Add an equation as rules. Ignores statements with hypotheses, and statements that are not equations."""
        if statement.sides is None or statement.hypotheses:
            return
        for left, right in (statement.sides, statement.sides[::-1]):
            if not isinstance(left, Free) and set(right.frees()) <= set(left.frees()):
                self._rules.setdefault(left.spine()[0], []).append((left, right, frozenset(statement.variables)))

    def reduce(self, term: Expr) -> bool:
        """Whether a rule rewrites the term to a smaller one."""
        return self._step(term) is not None

    def join(self, statement: Statement) -> bool:
        """Whether the sides of an equation reduce to the same term."""
        return statement.sides is not None and len({self._normal(side) for side in statement.sides}) == 1

    def _normal(self, term: Expr) -> Expr:
        """The term after at most MAX_STEPS steps."""
        for _ in range(MAX_STEPS):
            if (new := self._step(term)) is None:
                break
            term = new
        return term

    def _step(self, term: Expr) -> Expr | None:
        for pattern, result, variables in self._rules.get(term.spine()[0], ()):
            values: dict[Free, Expr] = {}
            if matches(pattern, term, variables, values):
                new = result.substituted(values)
                if self._less(new, term):
                    return new
        if isinstance(term, App):
            if (new := self._step(term.function)) is not None:
                return App(new, term.argument)
            if (new := self._step(term.argument)) is not None:
                return App(term.function, new)
        return None
