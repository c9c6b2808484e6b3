"""A signature made by hand: numbers with addition, and a statement syntax for tests."""

from __future__ import annotations

from curricula.conjectures.expressions import DEFAULT, TYPE, Binder, Const, Constant, Expr, Free, Sort, closed, free
from curricula.conjectures.signature import Known, Signature
from curricula.conjectures.statements import Statement, stated

N = Const(("N",))
ZERO = Const(("N", "zero"))
EQ = Const(("Eq",), (("s", ("z",)),))
PROP = Sort(("z",))


def arrow(*types: Expr) -> Expr:
    result = types[-1]
    for type_ in reversed(types[:-1]):
        result = Binder(False, "x", DEFAULT, type_, result)
    return result


def add(a: Expr, b: Expr) -> Expr:
    return Const(("N", "add")).apply(a, b)


def mul(a: Expr, b: Expr) -> Expr:
    return Const(("N", "mul")).apply(a, b)


def succ(a: Expr) -> Expr:
    return Const(("N", "succ")).apply(a)


def equal(a: Expr, b: Expr) -> Expr:
    return EQ.apply(N, a, b)


def numbers(names: str) -> list[Free]:
    return [free(name, N) for name in names.split()]


def law(left: Expr, right: Expr, *hypotheses: Expr) -> Statement:
    return stated(equal(left, right), hypotheses)


def signature(*known: Statement) -> Signature:
    constants = [
        Constant(("N",), "inductive", (), TYPE),
        Constant(("N", "zero"), "constructor", (), N),
        Constant(("N", "succ"), "constructor", (), arrow(N, N)),
        Constant(("N", "add"), "def", (), arrow(N, N, N)),
        Constant(("N", "mul"), "def", (), arrow(N, N, N)),
    ]
    found = Signature([Known((f"t{i}",), s, False) for i, s in enumerate(known)], {c.name: c for c in constants})
    found.library[EQ] = arrow(N, N, PROP)  # enough for Eq at N, whose first argument is a type
    found.library[EQ] = Binder(False, "α", 1, TYPE, arrow(N, N, PROP))
    return found


def le(a: Expr, b: Expr) -> Expr:
    return Const(("N", "le")).apply(a, b)


def with_equations(*known: Statement) -> Signature:
    """The signature with the equations of its functions, and with `N.le a b` for `∃ c, a + c = b`."""
    a, b, c = numbers("a b c")
    found = signature(*known)
    constants = dict(found.constants)
    constants["N", "le"] = Constant(("N", "le"), "def", (), arrow(N, N, PROP))
    found = Signature(found.known, constants, found.library)
    exists = Const(("Exists",), (("s", ("z",)),)).apply(N, closed([c], equal(add(a, c), b), lam=True))
    found.equations = {
        ("N", "add"): [law(add(a, ZERO), a), law(add(a, succ(b)), succ(add(a, b)))],
        ("N", "mul"): [law(mul(a, ZERO), ZERO), law(mul(a, succ(b)), add(mul(a, b), a))],
        ("N", "le"): [stated(EQ.apply(PROP, le(a, b), exists))],
    }
    return found
