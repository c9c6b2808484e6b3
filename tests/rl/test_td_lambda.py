"""TD(λ) targets on small trees, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from prover.lean.theorem import ProofState
from prover.models.base import ValueEstimate
from prover.models.tokenizer import N_BINS
from prover.search import SearchConfig
from prover.search.examples import Example
from prover.search.graph import Edge, Node
from prover.search.select import edge_value
from rl.algorithms.expert_iteration import NEGATIVE_VISITS
from rl.algorithms.td_lambda import targets, two_hot, value_examples

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


def steps(found: list[float | None]) -> list[float | None]:
    """Targets as numbers of steps."""
    return [None if g is None else round(math.log(g) / math.log(DISCOUNT), 6) for g in found]


def test_lambda_1_is_the_outcome_and_the_childrens_steps_add_up():
    tree = [node("r", 9, ("a", "b"), True), node("a", 9, (), True), node("b", 9, ("c",), True), node("c", 9, (), True)]
    assert steps(targets(tree, 1.0, DISCOUNT)) == [4.0, 1.0, 2.0, 1.0]


def test_the_outcome_is_the_size_of_the_proof_that_the_search_counts():
    """One definition: the target, the label of a solved goal and the search's value of a tactic are the same number."""
    left, right = (Node(i, ProofState(i, f"k{i}", ()), None, 0.5) for i in (1, 2))
    root = Node(0, ProofState(0, "k0", ()), None, 0.5)
    edge = Edge(root, "constructor", 0.0, "", children=(left, right))
    left.value, right.value = DISCOUNT**2, DISCOUNT**3
    tree = [node("r", 9, ("a", "b")), node("a", 2), node("b", 3)]
    assert targets(tree, 0.0, DISCOUNT)[0] == pytest.approx(edge_value(edge, SearchConfig(discount=DISCOUNT)))
    assert edge_value(edge, SearchConfig(discount=DISCOUNT)) == pytest.approx(DISCOUNT**6)


def test_lambda_0_bootstraps_from_the_successors_value():
    tree = [node("r", 9, ("a", "b")), node("a", 4, ("x",)), node("b", 2), node("x", 7)]
    assert steps(targets(tree, 0.0, DISCOUNT)) == [7, 8, None, None]


def test_between_them_it_mixes_values():
    tree = [node("r", 9, ("a",), True), node("a", 5, (), True)]
    assert targets(tree, 0.25, DISCOUNT)[0] == pytest.approx(DISCOUNT * (0.75 * DISCOUNT**5 + 0.25 * DISCOUNT))


def test_failed_goals_are_worth_nothing_and_cycles_end():
    assert targets([node("f", 1, (), failed=True)], 0.5, DISCOUNT) == [0.0]
    loop = [node("a", 3, ("b",)), node("b", 4, ("a",))]
    found = targets(loop, 1.0, DISCOUNT)
    assert all(g is not None and 0 <= g <= 1 for g in found)


def test_nothing_is_known_of_goals_that_were_never_expanded_or_met_without_a_model():
    assert targets([node("r", 3, ("unknown",), visits=2)], 1.0, DISCOUNT) == [None]
    unasked = SearchConfig().unknown_value
    met = [node("r", 3, ("a",), visits=2), replace(node("a", 0, visits=1), initial=unasked)]
    assert targets(met, 0.5, DISCOUNT) == [None, None]
    # One known successor of two is no bound from above.
    assert targets([node("r", 3, ("a", "unknown"), visits=2), node("a", 4)], 0.0, DISCOUNT)[0] is None
    # What the search solved needs no model.
    solved = [replace(node("r", 0, ("a",), True), initial=unasked), replace(node("a", 0, (), True), initial=unasked)]
    assert steps(targets(solved, 0.7, DISCOUNT)) == [2.0, 1.0]


def test_open_goals_that_took_much_search_are_negatives():
    assert targets([node("r", 3, ("unknown",), visits=NEGATIVE_VISITS)], 1.0, DISCOUNT) == [0.0]
    assert targets([node("r", 3, visits=NEGATIVE_VISITS)], 0.5, DISCOUNT) == [0.0]


def test_targets_are_spread_over_two_bins_with_their_mean():
    between = 0.25 * DISCOUNT**3 + 0.75 * DISCOUNT**2
    rows = [
        {"state": "s", "premises": [], "td": 0.5},
        {"state": "s", "premises": [], "td": between},
        {"state": "t", "premises": [], "td": None},
    ]
    found = value_examples(rows, DISCOUNT)
    assert [e.bin for e in found] == [1, 2] and [e.weight for e in found] == pytest.approx([0.75, 0.25])


@pytest.mark.parametrize("value", [0.0, 0.01, 0.3, DISCOUNT**15, DISCOUNT**2, DISCOUNT, 1.0])
def test_the_bins_of_a_value_have_it_as_their_mean(value: float):
    probs = [0.0] * N_BINS
    for b, w in two_hot(value, DISCOUNT):
        probs[b] += w
    assert sum(probs) == pytest.approx(1)
    assert ValueEstimate(tuple(probs)).value(DISCOUNT) == pytest.approx(min(value, DISCOUNT))
