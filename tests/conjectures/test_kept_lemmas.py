"""Rules that keep a few lemmas of a library."""

from __future__ import annotations

from curricula.conjectures.expressions import Const, free
from curricula.conjectures.measure import Worth
from curricula.conjectures.selection import at_random, by_compression, by_novelty
from curricula.conjectures.statements import Statement, equation, stated

N = Const(("N",))


def law(name: str) -> Statement:
    """`f (f n) = n`, of a function."""
    n = free("n", N)
    f = Const((name,))
    return stated(equation(N, f.apply(f.apply(n)), n))


def test_what_others_save_as_well_counts_last() -> None:
    worths = {
        "idle": Worth(alone=0, last=0, own=1, uses=0),
        "redundant": Worth(alone=30, last=0, own=1, uses=2),
        "unique": Worth(alone=12, last=10, own=90, uses=1),
        "harmful": Worth(alone=-5, last=-7, own=1, uses=1),
    }
    assert by_compression(worths) == ["unique", "redundant", "idle", "harmful"]


def test_the_farthest_statement_comes_first() -> None:
    statements = {"again": law("f"), "new": law("g"), "new_too": law("g")}
    assert by_novelty(statements, [law("f")])[0] == "new"
    assert by_novelty(statements, [])[-1] in ("new", "new_too"), "a second of one kind is no news"


def test_random_orders_are_repeatable_and_whole() -> None:
    names = [f"l{i}" for i in range(9)]
    assert sorted(at_random(names, 1)) == names
    assert at_random(names, 1) == at_random(names, 1) != at_random(names, 2)
