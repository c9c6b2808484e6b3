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


@dataclass(frozen=True, slots=True)
class Var:
    """A bound variable, by the number of binders between it and its own binder (de Bruijn index)."""

    index: int


@dataclass(frozen=True, slots=True)
class Free:
    """A free variable. Two are equal only if they have the same number."""

    number: int
    name: str = field(compare=False)
    type: Expr = field(compare=False)
    info: int = field(compare=False, default=DEFAULT)


@dataclass(frozen=True, slots=True)
class Sort:
    level: Level


@dataclass(frozen=True, slots=True)
class Const:
    name: NameParts
    levels: tuple[Level, ...] = ()


@dataclass(frozen=True, slots=True)
class App:
    function: Expr
    argument: Expr


@dataclass(frozen=True, slots=True)
class Binder:
    """`fun` or `∀`."""

    lam: bool
    name: str = field(compare=False)
    info: int = field(compare=False)
    type: Expr
    body: Expr


@dataclass(frozen=True, slots=True)
class Number:
    """A literal of type Nat."""

    value: int


@dataclass(frozen=True, slots=True)
class Opaque:
    """Something that is only compared: a string, a projection or a `let`."""

    parts: tuple[object, ...]


Expr = Var | Free | Sort | Const | App | Binder | Number | Opaque


def free(name: str, type_: Expr, info: int = DEFAULT) -> Free:
    """A new free variable."""
    return Free(next(_numbers), name, type_, info)


def apply(function: Expr, *arguments: Expr) -> Expr:
    for argument in arguments:
        function = App(function, argument)
    return function


def spine(expr: Expr) -> tuple[Expr, tuple[Expr, ...]]:
    """The head of an application, and its arguments."""
    arguments: list[Expr] = []
    while isinstance(expr, App):
        arguments.append(expr.argument)
        expr = expr.function
    return expr, tuple(reversed(arguments))


def rebuilt(expr: Expr, change: Callable[[Expr, int], Expr | None], depth: int = 0) -> Expr:
    """The expression with each outermost part replaced by `change(part, number of binders around it)` if that is not None."""
    new = change(expr, depth)
    if new is not None:
        return new
    if isinstance(expr, App):
        return App(rebuilt(expr.function, change, depth), rebuilt(expr.argument, change, depth))
    if isinstance(expr, Binder):
        type_ = rebuilt(expr.type, change, depth)
        return Binder(expr.lam, expr.name, expr.info, type_, rebuilt(expr.body, change, depth + 1))
    return expr


def instantiate(body: Expr, value: Expr) -> Expr:
    """The body of a binder with a value for its variable. `value` has no loose bound variables."""

    def change(part: Expr, depth: int) -> Expr | None:
        if isinstance(part, Var):
            return value if part.index == depth else Var(part.index - (part.index > depth))
        return None

    return rebuilt(body, change)


def substituted(expr: Expr, values: Mapping[Free, Expr]) -> Expr:
    """The expression with values for free variables. Values have no loose bound variables."""
    return rebuilt(expr, lambda part, _: values.get(part) if isinstance(part, Free) else None)


def bound(expr: Expr, variable: Free) -> Expr:
    """The expression as the body of a binder for the variable."""
    return rebuilt(expr, lambda part, depth: Var(depth) if part == variable else None)


def closed(variables: Sequence[Free], body: Expr, lam: bool = False) -> Expr:
    """`∀ variables, body`, or `fun variables => body`."""
    for variable in reversed(variables):
        body = Binder(lam, variable.name, variable.info, variable.type, bound(body, variable))
    return body


def parts_of(expr: Expr) -> Iterator[Expr]:
    """The expression and all its parts, from the outside to the inside."""
    yield expr
    if isinstance(expr, App):
        yield from parts_of(expr.function)
        yield from parts_of(expr.argument)
    elif isinstance(expr, Binder):
        yield from parts_of(expr.type)
        yield from parts_of(expr.body)


def size_of(expr: Expr) -> int:
    """Nodes of an expression."""
    return sum(1 for _ in parts_of(expr))


def mentions(expr: Expr, wanted: Callable[[Var, int], bool]) -> bool:
    """Whether a bound variable is `wanted(variable, number of binders around it)`."""
    found: list[bool] = []
    rebuilt(expr, lambda part, depth: found.append(isinstance(part, Var) and wanted(part, depth)))
    return any(found)


def frees_of(expr: Expr) -> list[Free]:
    """The free variables in order of first occurrence, without those in their types."""
    return list(dict.fromkeys(part for part in parts_of(expr) if isinstance(part, Free)))


def with_levels(expr: Expr, levels: Mapping[str, Level]) -> Expr:
    """The expression with levels for universe parameters."""
    if not levels:
        return expr

    def change(part: Expr, _: int) -> Expr | None:
        if isinstance(part, Const) and part.levels:
            return Const(part.name, tuple(_level_with(level, levels) for level in part.levels))
        return Sort(_level_with(part.level, levels)) if isinstance(part, Sort) else None

    return rebuilt(expr, change)


def _level_with(level: Level, levels: Mapping[str, Level]) -> Level:
    if level[0] == "p":
        return levels.get(level[1], level)
    return (level[0], *(_level_with(part, levels) for part in level[1:]))


# -- source text -------------------------------------------------------------------------------------------------------


def source_of(expr: Expr) -> str:
    """Explicit Lean source: full names, all arguments and universes. Raises NotExpressible."""
    return _Printer().term(expr, [])


def text_of(expr: Expr) -> str:
    """Explicit Lean source (source_of), or empty for an expression that has none."""
    try:
        return source_of(expr)
    except NotExpressible:
        return ""


def binder_source(variable: Free) -> str:
    opens, closes = _BRACKETS[variable.info]
    return f"{opens}{variable.name} : {source_of(variable.type)}{closes}"


def name_source(name: NameParts) -> str:
    """A full name as source. Raises NotExpressible."""
    if (
        not name
        or name[0] == "_private"
        or not all(isinstance(p, str) and p and not set("«»\n\r") & set(p) for p in name)
    ):
        raise NotExpressible(f"the name {name} cannot be written")
    return ".".join(["_root_", *(str(p) if _PLAIN.fullmatch(str(p)) else f"«{p}»" for p in name)])


class _Printer:
    def term(self, expr: Expr, names: list[str]) -> str:
        match expr:
            case Var(index):
                return names[-1 - index]
            case Free(name=name):
                return name
            case Sort(level):
                return f"(Sort {_level_source(level)})"
            case Const(name, levels):
                universes = f".{{{', '.join(map(_level_source, levels))}}}" if levels else ""
                return f"@{name_source(name)}{universes}"
            case App():
                head, arguments = spine(expr)
                return f"({' '.join([self.term(head, names), *(self.term(a, names) for a in arguments)])})"
            case Binder(lam, name, info, type_, body):
                own = fresh_name(name, names)
                opens, closes = _BRACKETS[DEFAULT if lam else info]
                binder = f"{opens}{own} : {self.term(type_, names)}{closes}"
                rest = self.term(body, [*names, own])
                return f"(fun {binder} => {rest})" if lam else f"(∀ {binder}, {rest})"
            case Number(value):
                return f"(nat_lit {value})"
            case Opaque():
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
        return with_levels(self.type, dict(zip(self.universes, levels, strict=False)))


class _Measure(NamedTuple):
    size: int
    """Number of nodes of the tree; a shared part counts each time that it occurs."""
    depth: int
    sorry: bool

    @property
    def small(self) -> bool:
        return self.size <= MAX_SIZE and self.depth <= MAX_DEPTH


_CHILDREN = {"a": (1, 2), "L": (3, 4), "P": (3, 4), "Z": (2, 3, 4), "j": (3,)}
"""Kind of an expression -> where its entry has the numbers of other expressions."""


def _measure(parts: Sequence[Any], names: list[NameParts], measures: list[_Measure]) -> _Measure:
    inner = [measures[parts[at]] for at in _CHILDREN.get(parts[0], ())]
    sorry = (parts[0] == "c" and names[parts[1]] == ("sorryAx",)) or any(m.sorry for m in inner)
    size = 1 + sum(m.size for m in inner)
    return _Measure(min(size, MAX_SIZE + 1), 1 + max((m.depth for m in inner), default=0), sorry)


def constants_of(entries: Sequence[Sequence[Any]]) -> dict[NameParts, Constant]:
    """The constants of an export (Turnstile/Export.lean), in its order.

    Raises ValueError for entries of another form, which are possible because the process that wrote them read untrusted text.
    """
    names: list[NameParts] = []
    levels: list[Level] = []
    exprs: list[Expr] = []
    measures: list[_Measure] = []
    found: dict[NameParts, Constant] = {}

    def part(index: int) -> Expr:
        return exprs[index] if measures[index].small else Opaque(("too large", index))

    def constant(kind: str, fields: Sequence[Any], value: int | None = None) -> None:
        name, universes, type_ = fields[:3]
        known = tuple(".".join(map(str, names[u])) for u in universes)
        inside = (None, False) if value is None else (part(value), measures[value].sorry)
        found[names[name]] = Constant(names[name], kind, known, part(type_), *inside)

    try:
        for entry in entries:
            match entry:
                case ["n", *parts]:
                    names.append(tuple(parts))
                case ["l", *parts]:
                    levels.append(_level_of(parts, names, levels))
                case ["e", *parts]:
                    exprs.append(_expr_of(parts, names, levels, exprs))
                    measures.append(_measure(parts, names, measures))
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


def _expr_of(parts: Sequence[Any], names: list[NameParts], levels: list[Level], exprs: list[Expr]) -> Expr:
    match parts:
        case ["b", index]:
            return Var(index)
        case ["s", level]:
            return Sort(levels[level])
        case ["c", name, at]:
            return Const(names[name], tuple(levels[i] for i in at))
        case ["a", function, argument]:
            return App(exprs[function], exprs[argument])
        case ["L" | "P" as kind, name, info, type_, body]:
            return Binder(kind == "L", ".".join(map(str, names[name])), info, exprs[type_], exprs[body])
        case ["t", digits]:
            return Number(int(digits))
    return Opaque(tuple(str(p) for p in parts))
