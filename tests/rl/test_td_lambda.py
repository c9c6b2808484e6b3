"""TD(λ) targets on small trees, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prover.models.tokenizer import N_BINS
from prover.search import SearchConfig
from prover.search.examples import Example
from rl.algorithms.expert_iteration import NEGATIVE_VISITS
from rl.algorithms.td_lambda import targets, to_steps, value_examples

DISCOUNT = 0.9


def node(
    key: str,
    steps_guess: float,
    next: tuple[str, ...] = (),
    solved: bool = False,
    failed: bool = False,
    visits: int = 4,
) -> Example:
    return Example(
        key, key, (), (), visits, solved, failed, 1 if solved else None, 0.5, (), (), 0, DISCOUNT**steps_guess, next
    )


def test_lambda_1_is_the_outcome_and_the_hardest_child_counts():
    tree = [node("r", 9, ("a", "b"), True), node("a", 9, (), True), node("b", 9, ("c",), True), node("c", 9, (), True)]
    assert targets(tree, 1.0, DISCOUNT) == [3.0, 1.0, 2.0, 1.0]


def test_lambda_0_bootstraps_from_the_successors_value():
    tree = [node("r", 9, ("a", "b")), node("a", 4, ("x",)), node("b", 2), node("x", 7)]
    assert targets(tree, 0.0, DISCOUNT) == [pytest.approx(5), pytest.approx(8), None, None]


def test_between_them_it_mixes():
    tree = [node("r", 9, ("a",), True), node("a", 5, (), True)]
    assert targets(tree, 0.25, DISCOUNT)[0] == pytest.approx(1 + 0.75 * 5 + 0.25 * 1)


def test_failed_goals_are_far_and_cycles_end():
    assert targets([node("f", 1, (), failed=True)], 0.5, DISCOUNT) == [N_BINS]
    loop = [node("a", 3, ("b",)), node("b", 4, ("a",))]
    found = targets(loop, 1.0, DISCOUNT)
    assert all(g is not None and 1 <= g <= N_BINS for g in found)


def test_nothing_is_known_of_goals_that_were_never_expanded_or_met_without_a_model():
    assert targets([node("r", 3, ("unknown",), visits=2)], 1.0, DISCOUNT) == [None]
    unasked = SearchConfig().unknown_value
    met = [node("r", 3, ("a",), visits=2), replace(node("a", 0, visits=1), initial=unasked)]
    assert targets(met, 0.5, DISCOUNT) == [None, None]
    # One known successor of two is no bound from above.
    assert targets([node("r", 3, ("a", "unknown"), visits=2), node("a", 4)], 0.0, DISCOUNT)[0] is None
    # What the search solved needs no model.
    solved = [replace(node("r", 0, ("a",), True), initial=unasked), replace(node("a", 0, (), True), initial=unasked)]
    assert targets(solved, 0.7, DISCOUNT) == [2.0, 1.0]


def test_open_goals_that_took_much_search_are_negatives():
    assert targets([node("r", 3, ("unknown",), visits=NEGATIVE_VISITS)], 1.0, DISCOUNT) == [N_BINS]
    assert targets([node("r", 3, visits=NEGATIVE_VISITS)], 0.5, DISCOUNT) == [N_BINS]


def test_targets_are_spread_over_two_bins_with_their_mean():
    rows = [
        {"state": "s", "premises": [], "td": 9.0},
        {"state": "s", "premises": [], "td": 2.25},
        {"state": "t", "premises": [], "td": None},
    ]
    found = value_examples(rows)
    assert [(e.bin, e.weight) for e in found] == [(1, 0.75), (2, 0.25)]
    assert [e.bin for e in value_examples([{"state": "s", "premises": [], "td": float(N_BINS)}])] == [N_BINS - 1]


def test_steps_of_a_value():
    assert to_steps(DISCOUNT**3, DISCOUNT) == pytest.approx(3)
    assert to_steps(0.0, DISCOUNT) == N_BINS and to_steps(1.0, DISCOUNT) == 1
