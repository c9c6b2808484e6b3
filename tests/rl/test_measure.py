"""Curves and intervals."""

from __future__ import annotations

import pytest

from prover.lean.theorem import Theorem
from prover.solve.ledger import Attempt
from rl.metrics import curves


def attempts(*calls: int | None) -> list[Attempt]:
    return [
        Attempt("held-out x", Theorem(f"t{i}", ": True"), "proved" if c is not None else "budget", 64, c, 0.0)
        for i, c in enumerate(calls)
    ]


def test_curve_counts_what_was_solved_within_each_budget():
    s = curves.summarise(attempts(1, 2, 3, 64, None), 64, 5)
    assert s["curve"] == {"1": 1, "2": 2, "4": 3, "8": 3, "16": 3, "32": 3, "64": 4}
    assert (s["solved"], s["total"]) == (4, 5)
    assert s["low"] < 0.8 < s["high"]


@pytest.mark.parametrize(
    ("solved", "total", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)]
)
def test_wilson_against_published_values(solved, total, low, high):
    assert curves.wilson(solved, total) == pytest.approx((low, high), abs=1e-3)


def test_rejected_proofs_do_not_count():
    a = Attempt("held-out x", Theorem("t", ": True"), "rejected", 3, None, 0.0, "sorry")
    assert curves.summarise([a], 8, 1)["solved"] == 0


def test_the_table_has_a_row_a_searcher():
    s = curves.summarise(attempts(1, None), 4, 2)
    rows = curves.table([("trained", s)])
    assert rows[0][1:] == ["1", "2", "4"]
    assert rows[1][0] == "trained (of 2)" and rows[1][1].startswith("50.0 [")


def test_two_searchers_are_compared_theorem_by_theorem():
    def solved(**calls: int) -> list[Attempt]:
        return [Attempt("p", Theorem(n, ": True"), "proved", c, c, 0.0, "trivial") for n, c in calls.items()]

    first, second = solved(a=1, b=2, c=3, d=4, e=9), solved(a=8, e=1)
    assert curves.paired(first, second, 4)[:2] == (4, 1) and curves.paired(first, second, 9)[:2] == (3, 0)
    assert curves.paired(first, second, 9)[2] == 0.25, "one in four: three heads or three tails of three"
    assert curves.paired(first, first, 9) == (0, 0, 1.0)
