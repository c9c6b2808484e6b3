"""Proposes statements by changing known ones. Changes expressions, so that every proposal has the file's own types and instances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations, product

from curricula.conjectures.expressions import App, Expr, Free, free
from curricula.conjectures.signature import Operation, Signature
from curricula.conjectures.statements import EQ, Statement, equation, matches, sides_of, stated

MOST_WAYS = 40
"""Maximum number of ways to exchange the operations of one statement."""
MOST_PARTS = 30
"""Maximum number of parts of a statement that are abstracted or rewritten."""


def mutations(signature: Signature, known: Sequence[Statement]) -> Iterator[tuple[str, Statement]]:
    """(the kind of change, statement) for every change of every statement."""
    for statement in known:
        for kind, change in (
            ("swapped arguments", swapped_arguments),
            ("abstracted", abstracted),
            ("other operations", other_operations),
        ):
            for new in change(signature, statement):
                yield kind, new
        for new in fewer_hypotheses(statement):
            yield "fewer hypotheses", new
        for new in converse(statement):
            yield "converse", new
    for first, second in product(known, known):
        for new in composed(first, second):
            yield "composed", new


def restated(statement: Statement, conclusion: Expr, hypotheses: Sequence[Expr] | None = None) -> Statement:
    """The statement with another conclusion, and other hypotheses unless they are None."""
    kept = statement.given if hypotheses is None else hypotheses
    return stated(conclusion, list(dict.fromkeys(kept)), statement.variables)


def _data_of(signature: Signature, expr: Expr) -> list[tuple[Expr, Operation]]:
    """The parts of an expression that are operations on data, with the operation."""
    found = {p: o for p in signature.data_parts(expr) if (o := signature.operation_of(p)) is not None}
    return list(found.items())[:MOST_PARTS]


def swapped_arguments(signature: Signature, statement: Statement) -> Iterator[Statement]:
    """The statement with the two arguments of one operation exchanged: `0 + n = n` from `n + 0 = n`."""
    for part, operation in _data_of(signature, statement.conclusion):
        if len(operation.arguments) == 2 and operation.arguments[0] == operation.arguments[1]:
            first, second = operation.data_of(part)
            yield restated(statement, statement.conclusion.replaced(part, operation(second, first)))


def abstracted(signature: Signature, statement: Statement) -> Iterator[Statement]:
    """The statement with a variable in place of a part, such as a constant: `n + m = m + n` from `n + 1 = 1 + n`."""
    for part, operation in _data_of(signature, statement.conclusion):
        variable = free("x" if operation.arguments else "k", operation.result)
        new = [e.replaced(part, variable) for e in statement.parts]
        if new[0] != variable:
            yield restated(statement, new[0], new[1:])


def fewer_hypotheses(statement: Statement) -> Iterator[Statement]:
    for i in range(len(given := statement.given)):
        yield restated(statement, statement.conclusion, given[:i] + given[i + 1 :])


def converse(statement: Statement) -> Iterator[Statement]:
    if len(statement.hypotheses) == 1:
        yield restated(statement, statement.given[0], [statement.conclusion])


def other_operations(signature: Signature, statement: Statement) -> Iterator[Statement]:
    """The statement with other operations of the same or of another type, exchanged consistently: multiplication for addition, lists for
    numbers."""
    used = list({o.key: o for e in statement.parts for _, o in _data_of(signature, e)}.values())
    if not 0 < len(used) <= 4 or any(o.variables for o in used):
        return
    choices = [
        [o for o in signature.operations if not o.variables and len(o.arguments) == len(u.arguments)] for u in used
    ]
    ways = 0
    for chosen in product(*choices):
        types = _types_for(used, chosen)
        if types is None or list(chosen) == used or len({c.key for c in chosen}) < len(chosen):
            continue
        ways += 1
        if ways > MOST_WAYS:
            return
        exchange = dict(zip([u.key for u in used], chosen, strict=True))
        variables: dict[Free, Expr] = {v: free(v.name, types.get(v.type, v.type)) for v in statement.data}
        parts = [_exchanged(signature, e, exchange, variables, types) for e in statement.parts]
        if all(p is not None for p in parts):
            yield stated(parts[0], parts[1:])  # type: ignore[arg-type]


def _types_for(old: Sequence[Operation], new: Sequence[Operation]) -> dict[Expr, Expr] | None:
    """Old type -> new type; None if a type would need two."""
    types: dict[Expr, Expr] = {}
    for a, b in zip(old, new, strict=True):
        for before, after in zip((*a.arguments, a.result), (*b.arguments, b.result), strict=True):
            if types.setdefault(before, after) != after:
                return None
    return types


def _exchanged(
    signature: Signature,
    expr: Expr,
    operations: Mapping[tuple[object, ...], Operation],
    variables: dict[Free, Expr],
    types: dict[Expr, Expr],
) -> Expr | None:
    if isinstance(expr, Free):
        return variables.get(expr)
    if (operation := signature.operation_of(expr)) is not None and operation.key in operations:
        data = [_exchanged(signature, d, operations, variables, types) for d in operation.data_of(expr)]
        return None if any(d is None for d in data) else operations[operation.key](*data)  # type: ignore[arg-type]
    if (sides := sides_of(expr)) is not None:
        head, given = expr.spine()
        both = [_exchanged(signature, s, operations, variables, types) for s in sides]
        if head == EQ and None not in both:
            return equation(types.get(given[0], given[0]), *both)  # type: ignore[arg-type]
    return None


def composed(first: Statement, second: Statement) -> Iterator[Statement]:
    """A side of `first` rewritten by `second`, in a part that is not a variable."""
    if first.sides is None or second.sides is None or first.hypotheses or second.hypotheses:
        return
    head, given = first.conclusion.spine()
    for left, right in permutations(first.sides):
        for part in list(left.subterms())[:MOST_PARTS]:
            if not isinstance(part, App):
                continue
            for pattern, result in permutations(second.sides):
                values: dict[Free, Expr] = {}
                if isinstance(pattern, Free) or not matches(pattern, part, frozenset(second.variables), values):
                    continue
                if not set(result.frees()) <= set(values):
                    continue
                new = left.replaced(part, result.substituted(values))
                yield restated(first, head.apply(*given[:-2], new, right))
