"""The signature of a file: its statements, the types of its constants, and the operations of its terms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from curricula.conjectures.expressions import (
    LEVEL_0,
    NAT,
    PROP,
    App,
    Binder,
    Const,
    Constant,
    Expr,
    Free,
    Number,
    Sort,
    Var,
    closed,
    free,
)
from curricula.conjectures.statements import Statement, opened
from prover.lean.declared import NameParts

_HELPERS = [
    "rec",
    "recOn",
    "casesOn",
    "below",
    "brecOn",
    "noConfusion",
    "noConfusionType",
    "ctorIdx",
    "ctorElim",
    "ctorElimType",
    "elim",
]
"""Last parts of names that Lean makes for a type."""


@dataclass(frozen=True)
class Known:
    """A theorem that a file states."""

    name: NameParts
    statement: Statement
    open: bool
    """Whether its proof is a `sorry`."""


@dataclass(frozen=True)
class Operation:
    """A constant with its types and instances, applied to `len(arguments)` pieces of data."""

    head: Const
    fixed: tuple[Expr | None, ...]
    """All its arguments; None for data."""
    arguments: tuple[Expr, ...]
    """Types of the data."""
    result: Expr

    def __call__(self, *data: Expr) -> Expr:
        given = iter(data)
        return self.head.apply(*(next(given) if f is None else f for f in self.fixed))

    def at(self, values: Mapping[Free, Expr]) -> Operation:
        """With values for its type variables."""
        fixed = tuple(None if f is None else f.substituted(values) for f in self.fixed)
        arguments = tuple(a.substituted(values) for a in self.arguments)
        return Operation(self.head, fixed, arguments, self.result.substituted(values))

    def data_of(self, term: Expr) -> tuple[Expr, ...]:
        """The data in a term with this operation at its head."""
        return tuple(a for a, f in zip(term.spine()[1], self.fixed, strict=True) if f is None)

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for operations that are equal up to type variables."""
        values = {v: Const((f"type {i}",)) for i, v in enumerate(self.variables)}
        return self.head, self.at(values).fixed

    @property
    def variables(self) -> list[Free]:
        """Its type variables."""
        types = (*(f for f in self.fixed if f is not None), *self.arguments, self.result)
        return list(dict.fromkeys(v for t in types for v in t.frees()))


@dataclass
class Signature:
    """Statements and constants of a file."""

    known: list[Known]
    constants: Mapping[NameParts, Constant]
    """The file's own constants."""
    library: dict[Const, Expr] = field(default_factory=dict)
    """Types of the library's constants, with their universes."""
    equations: dict[NameParts, list[Statement]] = field(default_factory=dict)
    """The equations of the file's functions and predicates, as Lean derives them from the definitions."""

    @cached_property
    def functions(self) -> list[NameParts]:
        """The file's own functions and predicates, as far as a person may have written them."""
        return [c.name for c in self.constants.values() if c.kind == "def" and _written(c.name)]

    @cached_property
    def foreign(self) -> list[Const]:
        """The library's constants in the statements, and in the types of the file's constants."""
        types = [k.statement.expr for k in self.known]
        types += [c.type for c in self.constants.values() if c.kind in ("def", "constructor", "inductive")]
        found = {p for t in types for p in t.subterms() if isinstance(p, Const) and p.name not in self.constants}
        return sorted(found, key=repr)

    def type_of(self, constant: Const) -> Expr | None:
        own = self.constants.get(constant.name)
        return own.type_at(constant.levels) if own is not None else self.library.get(constant)

    def infer(self, expr: Expr) -> Expr | None:
        """The type of a term without loose bound variables; None if it is not known."""
        match expr:
            case Free(type=type_):
                return type_
            case Const():
                return self.type_of(expr)
            case App(function, argument):
                type_ = self.infer(function)
                return type_.at(argument) if isinstance(type_, Binder) else None
            case Number():
                return NAT
            case Sort(level):
                return Sort(("s", level))
            case Binder(lam):
                variable = free(expr.name, expr.type, expr.info)
                inner = self.infer(expr.at(variable))
                return closed([variable], inner) if lam and inner is not None else inner
        return None

    def is_constructor(self, head: Expr) -> bool:
        """Whether `head` is a constructor of the file."""
        own = self.constants.get(head.name) if isinstance(head, Const) else None
        return own is not None and own.kind == "constructor"

    def is_proposition(self, expr: Expr) -> bool:
        return self.infer(expr) == PROP

    @cached_property
    def operations(self) -> list[Operation]:
        """The operations in the statements, then other functions and constructors of the file that have no notation by an instance."""
        found: dict[tuple[object, ...], Operation] = {}
        for part in (p for k in self.known for e in k.statement.parts for p in self.data_parts(e)):
            if (operation := self.operation_of(part)) is not None:
                found.setdefault(operation.key, operation)
        hidden = self._behind_instances()
        for constant in self.constants.values():
            if constant.kind not in ("def", "constructor") or constant.name in hidden or not _written(constant.name):
                continue
            head = Const(constant.name, tuple(("p", u) for u in constant.universes))
            operation = self.operation_of(head.apply(*opened(constant.type).variables))
            if operation is not None and all(operation.head.name != o.head.name for o in found.values()):
                found.setdefault(operation.key, operation)
        return list(found.values())

    def data_parts(self, expr: Expr) -> Iterator[Expr]:
        """The expression and its parts, without the types and instances that operations take."""
        yield expr
        if isinstance(expr, Binder):
            yield from self.data_parts(expr.type)
            yield from self.data_parts(expr.body)
        head, given = expr.spine()
        type_ = self.type_of(head) if isinstance(head, Const) else None
        for argument in given:
            if not isinstance(type_, Binder) or not type_.takes_no_data():
                yield from self.data_parts(argument)
            type_ = type_.at(argument) if isinstance(type_, Binder) else None

    def _behind_instances(self) -> set[NameParts]:
        """Constants for which an instance provides notation, e.g. `N.add` in `instance : Add N := ⟨N.add⟩`."""
        found: set[NameParts] = set()
        for constant in self.constants.values():
            value = constant.value
            while isinstance(value, Binder) and value.lam:
                value = value.body
            if constant.kind != "def" or value is None:
                continue
            head, arguments = value.spine()
            if isinstance(head, Const) and head.name[-1:] == ("mk",) and head.name not in self.constants and arguments:
                last, given = arguments[-1].spine()
                if isinstance(last, Const) and all(isinstance(g, Var) for g in given):
                    found.add(last.name)
        return found

    def operation_of(self, part: Expr) -> Operation | None:
        """The operation at the head of a term; None for propositions, types, and terms whose type depends on data."""
        head, given = part.spine()
        if not isinstance(head, Const) or (type_ := self.type_of(head)) is None:
            return None
        fixed: list[Expr | None] = []
        arguments: list[Expr] = []
        for argument in given:
            if not isinstance(type_, Binder) or any(isinstance(p, Var) for p in argument.subterms()):
                return None
            if self._is_data(type_):
                fixed.append(None)
                arguments.append(type_.type)
            else:
                fixed.append(argument)
            type_ = type_.at(argument)
        if isinstance(type_, Binder | Sort) or self.infer(type_) in (PROP, None):
            return None
        operation = Operation(head, tuple(fixed), tuple(arguments), type_)
        return operation if all(isinstance(v.type, Sort) for v in operation.variables) else None

    def _is_data(self, binder: Binder) -> bool:
        """Whether an argument is data that no type depends on."""
        if binder.takes_no_data() or binder.body.mentions(lambda variable, depth: variable.index == depth):
            return False
        return self.infer(binder.type) not in (PROP, None)


def _written(name: NameParts) -> bool:
    """Whether a person may have written the name. Names of Lean's helpers have known parts, numbers or a leading `_`."""
    parts = [p for p in name if not isinstance(p, str) or p.startswith(("_", "match_", "inst")) or p in _HELPERS]
    return not parts and name[0] != "_private"


def known_from(constants: Mapping[NameParts, Constant], names: Iterable[NameParts], most: int) -> list[Known]:
    """The theorems among the names whose statements have at most `most` nodes, with all universe parameters set to 0."""
    found = []
    for name in names:
        constant = constants.get(name)
        if constant is not None and constant.kind in ("theorem", "axiom"):
            statement = opened(constant.type_at([LEVEL_0] * len(constant.universes)))
            if statement.size <= most:
                found.append(Known(name, statement, constant.open))
    return found
