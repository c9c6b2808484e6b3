"""Proposes the usual laws of operations and relations: injective, monotone, transitive, and others."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from curricula.conjectures.expressions import PROP, Binder, Const, Expr, Free, free
from curricula.conjectures.signature import Operation, Signature
from curricula.conjectures.statements import Statement, equation, stated


def laws(signature: Signature) -> Iterator[tuple[str, Statement]]:
    for operation in signature.operations:
        yield from (("injective", s) for s in injective(operation))
        yield from (("constant result", s) for s in constant_results(signature, operation))
    for relation, type_ in relations(signature):
        yield from (("relation", s) for s in _order_laws(signature, relation, type_))
        for operation in signature.operations:
            yield from (("relation", s) for s in _monotone(relation, type_, operation))


def _variables(operation: Operation) -> list[Free]:
    return [free("abcdefg"[i % 7], t) for i, t in enumerate(operation.arguments)]


def injective(operation: Operation) -> Iterator[Statement]:
    """`f x = f y → x = y`, for each argument."""
    for place, type_ in enumerate(operation.arguments):
        data = _variables(operation)
        other: list[Expr] = [*data]
        other[place] = free(f"{data[place].name}'", type_)
        same = equation(operation.result, operation(*data), operation(*other))
        yield stated(equation(type_, data[place], other[place]), [same])


def constant_results(signature: Signature, operation: Operation) -> Iterator[Statement]:
    """`f x = c → x = c`, for each argument and constant of the same type."""
    for constant in signature.operations:
        if constant.arguments or constant.result != operation.result:
            continue
        for place, type_ in enumerate(operation.arguments):
            if type_ == operation.result:
                data = _variables(operation)
                same = equation(type_, operation(*data), constant())
                yield stated(equation(type_, data[place], constant()), [same])


def relations(signature: Signature) -> Iterator[tuple[Const, Expr]]:
    """The file's own relations between two values of one type."""
    for name in signature.equations:
        match signature.constants[name].type:
            case Binder(type=first, body=Binder(type=second, body=result)) if first == second and result == PROP:
                yield Const(name), first


def _order_laws(signature: Signature, relation: Const, type_: Expr) -> Iterator[Statement]:
    a, b, c = (free(n, type_) for n in "abc")
    related = [relation.apply(x, y) for x, y in pairwise((a, b, c))]
    yield stated(relation.apply(a, a))
    yield stated(relation.apply(b, a), [related[0]])
    yield stated(relation.apply(a, c), related)
    yield stated(equation(type_, a, b), [related[0], relation.apply(b, a)])
    for operation in signature.operations:
        if not operation.arguments and operation.result == type_:
            yield stated(relation.apply(operation(), a))
            yield stated(relation.apply(a, operation()))


def _monotone(relation: Const, type_: Expr, operation: Operation) -> Iterator[Statement]:
    if operation.result != type_:
        return
    for place, argument in enumerate(operation.arguments):
        if argument != type_:
            continue
        data = _variables(operation)
        a, b = data[place], free("x", type_)
        at = operation(*data[:place], b, *data[place + 1 :])
        yield stated(relation.apply(a, operation(*data)))
        yield stated(relation.apply(operation(*data), at), [relation.apply(a, b)])
        if len(operation.arguments) == 1:
            yield stated(relation.apply(b, operation(a)), [relation.apply(b, a)])
    if operation.arguments == (type_, type_):
        a, b, c, d = (free(n, type_) for n in "abcd")
        yield stated(relation.apply(operation(a, c), operation(b, d)), [relation.apply(a, b), relation.apply(c, d)])
