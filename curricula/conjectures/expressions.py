"""Lean expressions as data: read from the proof server's export, changed as trees, and printed as explicit Lean source."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from prover.lean.declared import NameParts

DEFAULT, IMPLICIT, STRICT, INSTANCE = range(4)
"""Codes of binders in an export."""
_BRACKETS = (("(", ")"), ("{", "}"), ("⦃", "⦄"), ("[", "]"))
_PLAIN = re.compile(r"[^\W\d][\w'!?₀-₉]*")
MAX_SIZE = 4000
"""Maximum number of nodes of an expression that is read as a tree. Larger ones become Opaque."""
MAX_DEPTH = 200
_numbers = itertools.count()

Level = tuple[Any, ...]
"""`("z",)`, `("s", level)`, `("m" or "i", level, level)`, or `("p", parameter)`."""


class NotExpressible(ValueError):
    """An expression that has no source text here, e.g. with a private constant or a projection."""


class Expr:
    """An expression. Two are equal if they differ only in names and kinds of binders."""

    __slots__ = ()

    def apply(self, *arguments: Expr) -> Expr:
        whole = self
        for argument in arguments:
            whole = App(whole, argument)
        return whole

    def spine(self) -> tuple[Expr, tuple[Expr, ...]]:
        """The head of an application, and its arguments."""
        head, arguments = self, list[Expr]()
        while isinstance(head, App):
            arguments.append(head.argument)
            head = head.function
        return head, tuple(reversed(arguments))

    def rebuilt(self, change: Callable[[Expr, int], Expr | None], depth: int = 0) -> Expr:
        """The expression with each outermost part replaced by `change(part, number of binders around it)` if that is not None."""
        new = change(self, depth)
        if new is not None:
            return new
        if isinstance(self, App):
            return App(self.function.rebuilt(change, depth), self.argument.rebuilt(change, depth))
        if isinstance(self, Binder):
            type_ = self.type.rebuilt(change, depth)
            return Binder(self.lam, self.name, self.info, type_, self.body.rebuilt(change, depth + 1))
        return self

    def replaced(self, old: Expr, new: Expr) -> Expr:
        """The expression with `new` for every part that equals `old`."""
        return self.rebuilt(lambda part, _: new if part == old else None)

    def substituted(self, values: Mapping[Free, Expr]) -> Expr:
        """The expression with values for free variables. Values have no loose bound variables."""
        return self.rebuilt(lambda part, _: values.get(part) if isinstance(part, Free) else None)

    def subterms(self) -> Iterator[Expr]:
        """The expression and all its parts, from the outside to the inside."""
        yield self
        if isinstance(self, App):
            yield from self.function.subterms()
            yield from self.argument.subterms()
        elif isinstance(self, Binder):
            yield from self.type.subterms()
            yield from self.body.subterms()

    def size(self) -> int:
        """Number of nodes."""
        return sum(1 for _ in self.subterms())

    def frees(self) -> list[Free]:
        """The free variables in order of first occurrence, without those in their types."""
        return list(dict.fromkeys(part for part in self.subterms() if isinstance(part, Free)))

    def mentions(self, wanted: Callable[[Var, int], bool]) -> bool:
        """Whether a bound variable is `wanted(variable, number of binders around it)`."""
        found: list[bool] = []
        self.rebuilt(lambda part, depth: found.append(isinstance(part, Var) and wanted(part, depth)))
        return any(found)

    def is_loose(self) -> bool:
        """Whether the expression contains a bound variable whose binder is outside of it."""
        return self.mentions(lambda variable, depth: variable.index >= depth)

    def with_levels(self, levels: Mapping[str, Level]) -> Expr:
        """The expression with levels for universe parameters."""
        if not levels:
            return self

        def change(part: Expr, _: int) -> Expr | None:
            if isinstance(part, Const) and part.levels:
                return Const(part.name, tuple(_level_with(level, levels) for level in part.levels))
            return Sort(_level_with(part.level, levels)) if isinstance(part, Sort) else None

        return self.rebuilt(change)

    def source(self) -> str:
        """Explicit Lean source: full names, all arguments and universes. Raises NotExpressible."""
        return _printed(self, [])

    def text(self) -> str:
        """Explicit Lean source, or empty for an expression that has none."""
        try:
            return self.source()
        except NotExpressible:
            return ""


@dataclass(frozen=True, slots=True)
class Var(Expr):
    """A bound variable, by the number of binders between it and its own binder (de Bruijn index)."""

    index: int


@dataclass(frozen=True, slots=True)
class Free(Expr):
    """A free variable. Two are equal only if they have the same number."""

    number: int
    name: str = field(compare=False)
    type: Expr = field(compare=False)
    info: int = field(compare=False, default=DEFAULT)

    def binder(self) -> str:
        """Its binder as Lean source. Raises NotExpressible."""
        opens, closes = _BRACKETS[self.info]
        return f"{opens}{self.name} : {self.type.source()}{closes}"


@dataclass(frozen=True, slots=True)
class Sort(Expr):
    level: Level


@dataclass(frozen=True, slots=True)
class Const(Expr):
    name: NameParts
    levels: tuple[Level, ...] = ()


@dataclass(frozen=True, slots=True)
class App(Expr):
    function: Expr
    argument: Expr


@dataclass(frozen=True, slots=True)
class Binder(Expr):
    """`fun` or `∀`."""

    lam: bool
    name: str = field(compare=False)
    info: int = field(compare=False)
    type: Expr
    body: Expr

    def takes_no_data(self) -> bool:
        """Whether the argument is an instance or a type."""
        return self.info == INSTANCE or isinstance(self.type, Sort)

    def at(self, value: Expr) -> Expr:
        """The body with a value for the variable. `value` has no loose bound variables."""

        def change(part: Expr, depth: int) -> Expr | None:
            if isinstance(part, Var):
                return value if part.index == depth else Var(part.index - (part.index > depth))
            return None

        return self.body.rebuilt(change)


@dataclass(frozen=True, slots=True)
class Number(Expr):
    """A literal of type Nat."""

    value: int


@dataclass(frozen=True, slots=True)
class Opaque(Expr):
    """Something that is only compared: a string, a projection or a `let`."""

    parts: tuple[object, ...]


LEVEL_0: Level = ("z",)
PROP, TYPE = Sort(LEVEL_0), Sort(("s", LEVEL_0))
NAT, TRUE, FALSE = Const(("Nat",)), Const(("True",)), Const(("False",))


def free(name: str, type_: Expr, info: int = DEFAULT) -> Free:
    """A new free variable."""
    return Free(next(_numbers), name, type_, info)


def closed(variables: Sequence[Free], body: Expr, lam: bool = False) -> Expr:
    """`∀ variables, body`, or `fun variables => body`."""
    for v in reversed(variables):
        bound = body.rebuilt(lambda part, depth, v=v: Var(depth) if part == v else None)
        body = Binder(lam, v.name, v.info, v.type, bound)
    return body


def _level_with(level: Level, levels: Mapping[str, Level]) -> Level:
    if level[0] == "p":
        return levels.get(level[1], level)
    return (level[0], *(_level_with(part, levels) for part in level[1:]))


# -- source text -------------------------------------------------------------------------------------------------------


def plain_name(name: NameParts) -> str:
    """A name as source. Raises NotExpressible."""
    words = all(isinstance(p, str) and p and not set("«»\n\r") & set(p) for p in name)
    if not name or name[0] == "_private" or not words:
        raise NotExpressible(f"the name {name} cannot be written")
    return ".".join(str(p) if _PLAIN.fullmatch(str(p)) else f"«{p}»" for p in name)


def _printed(expr: Expr, names: list[str]) -> str:
    """`names`: of the binders around the expression."""
    match expr:
        case Var(index):
            return names[-1 - index]
        case Free(name=name):
            return name
        case Sort(level):
            return f"(Sort {_level_source(level)})"
        case Const(name, levels):
            universes = f".{{{', '.join(map(_level_source, levels))}}}" if levels else ""
            return f"@_root_.{plain_name(name)}{universes}"
        case App():
            head, arguments = expr.spine()
            return f"({' '.join(_printed(e, names) for e in (head, *arguments))})"
        case Binder(lam, name, info, type_, body):
            own = fresh_name(name, names)
            opens, closes = _BRACKETS[DEFAULT if lam else info]
            binder = f"{opens}{own} : {_printed(type_, names)}{closes}"
            rest = _printed(body, [*names, own])
            return f"(fun {binder} => {rest})" if lam else f"(∀ {binder}, {rest})"
        case Number(value):
            return f"(nat_lit {value})"
    raise NotExpressible("a projection, a `let` or a string")


def fresh_name(name: str, taken: Sequence[str]) -> str:
    """A name that a person could have chosen and that is not taken."""
    base = name if _PLAIN.fullmatch(name) and not name.startswith("_") else "x"
    own, number = base, 1
    while own in taken:
        own, number = f"{base}_{number}", number + 1
    return own


def _level_source(level: Level) -> str:
    match level:
        case ("z",):
            return "0"
        case ("s", inner):
            return f"({_level_source(inner)}+1)"
        case ("m" | "i" as kind, a, b):
            return f"({'max' if kind == 'm' else 'imax'} {_level_source(a)} {_level_source(b)})"
        case ("p", str(name)) if _PLAIN.fullmatch(name):
            return name
    raise NotExpressible(f"the universe {level} cannot be written")


# -- exports -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Constant:
    """A constant of an export."""

    name: NameParts
    kind: str
    """`theorem`, `def`, `axiom`, `inductive`, `constructor`, …, as Export.lean writes it."""
    universes: tuple[str, ...]
    type: Expr
    value: Expr | None = None
    open: bool = False
    """Whether its value contains `sorry`."""

    def type_at(self, levels: Sequence[Level]) -> Expr:
        return self.type.with_levels(dict(zip(self.universes, levels, strict=False)))


class _Node(NamedTuple):
    """An expression of an export, measured as a tree."""

    expr: Expr
    size: int
    """Number of nodes; a shared part counts each time that it occurs."""
    depth: int
    sorry: bool

    @property
    def small(self) -> bool:
        return self.size <= MAX_SIZE and self.depth <= MAX_DEPTH


_CHILDREN = {"a": (1, 2), "L": (3, 4), "P": (3, 4), "Z": (2, 3, 4), "j": (3,)}
"""Kind of an expression -> where its entry has the numbers of other expressions."""


def constants_of(entries: Sequence[Sequence[Any]]) -> dict[NameParts, Constant]:
    """The constants of an export (Turnstile/Export.lean), in its order.

    Raises ValueError for entries of another form, which are possible because the process that wrote them read untrusted text.
    """
    names: list[NameParts] = []
    levels: list[Level] = []
    nodes: list[_Node] = []
    found: dict[NameParts, Constant] = {}

    def part(index: int) -> Expr:
        return nodes[index].expr if nodes[index].small else Opaque(("too large", index))

    def constant(kind: str, fields: Sequence[Any], value: int | None = None) -> None:
        name, universes, type_ = fields[:3]
        known = tuple(".".join(map(str, names[u])) for u in universes)
        inside = (None, False) if value is None else (part(value), nodes[value].sorry)
        found[names[name]] = Constant(names[name], kind, known, part(type_), *inside)

    try:
        for entry in entries:
            match entry:
                case ["n", *parts]:
                    names.append(tuple(parts))
                case ["l", *parts]:
                    levels.append(_level_of(parts, names, levels))
                case ["e", *parts]:
                    nodes.append(_node(parts, names, levels, nodes))
                case ["d", "inductive" | "unsafeInductive" as kind, _, _, types]:
                    for name, universes, type_, constructors in types:
                        constant(kind, (name, universes, type_))
                        for fields in constructors:
                            constant("constructor", fields)
                case ["d", kind, name, universes, type_, *rest]:
                    constant(str(kind), (name, universes, type_), rest[0] if rest else None)
                case _:
                    raise ValueError(f"not an entry of an export: {str(entry)[:100]}")
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"not an entry of an export: {type(error).__name__}") from None
    return found


def _level_of(parts: Sequence[Any], names: list[NameParts], levels: list[Level]) -> Level:
    match parts:
        case ["p", name]:
            return ("p", ".".join(map(str, names[name])))
        case [str(kind), *inner]:
            return (kind, *(levels[i] for i in inner))
    raise ValueError(f"not a level: {parts}")


def _node(parts: Sequence[Any], names: list[NameParts], levels: list[Level], nodes: list[_Node]) -> _Node:
    inner = [nodes[parts[at]] for at in _CHILDREN.get(parts[0], ())]
    expr = _expr_of(parts, names, levels, [node.expr for node in inner])
    size, depth = 1 + sum(node.size for node in inner), 1 + max((node.depth for node in inner), default=0)
    sorry = (isinstance(expr, Const) and expr.name == ("sorryAx",)) or any(node.sorry for node in inner)
    return _Node(expr, min(size, MAX_SIZE + 1), depth, sorry)


def _expr_of(parts: Sequence[Any], names: list[NameParts], levels: list[Level], inner: list[Expr]) -> Expr:
    match parts:
        case ["b", index]:
            return Var(index)
        case ["s", level]:
            return Sort(levels[level])
        case ["c", name, at]:
            return Const(names[name], tuple(levels[i] for i in at))
        case ["a", _, _]:
            return App(*inner)
        case ["L" | "P" as kind, name, info, _, _]:
            return Binder(kind == "L", ".".join(map(str, names[name])), info, *inner)
        case ["t", digits]:
            return Number(int(digits))
    return Opaque(tuple(str(p) for p in parts))
