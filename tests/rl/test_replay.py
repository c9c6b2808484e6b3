"""Replay: duplicates merged, rejected proofs and held-out theorems kept out."""

from __future__ import annotations

import pytest

from curricula.library import split_of
from prover.lean.theorem import Theorem
from prover.search.examples import Example
from rl import replay
from rl.algorithms.expert_iteration import NEGATIVE_VISITS, harvest, policy_examples, value_examples
from rl.ledger import Attempt, Ledger


def example(solved: bool = True, visits: int = 5, text: str = "⊢ True") -> Example:
    best = (("trivial", 1), ("simp", 1), ("skip", 5)) if solved else ()
    return Example(text, "k", (), (), visits, solved, False, 1 if solved else None, 1.0, best, (), 0)


def named(split: str) -> str:
    return next(f"X.t{i}" for i in range(1000) if split_of(f"X.t{i}") == split)


def test_policy_examples_come_only_from_audited_proofs():
    assert [k for k, _ in harvest([example()], proved=True)] == ["policy", "value"]
    assert list(harvest([example()], proved=False)) == []


def test_open_goals_that_took_search_are_negatives_for_the_value():
    kinds = list(harvest([example(False, NEGATIVE_VISITS), example(False, NEGATIVE_VISITS - 1)], proved=False))
    assert kinds == [("value", {"state": "⊢ True", "premises": (), "steps": None})]


def test_long_ways_round_are_not_taught():
    (_, data), _ = harvest([example()], proved=True)
    assert [t for t, _ in data["tactics"]] == ["trivial", "simp"]


def test_duplicates_are_merged_and_weights_bounded():
    rows = [{"state": "s", "premises": [], "tactics": [[f"t{i}", 1.0] for i in range(8)]}] * 3
    found = policy_examples(rows)
    assert len(found) == 8
    assert sum(e.weight for e in found) == pytest.approx(2.0)


def test_the_best_known_value_of_a_goal_counts():
    rows = [{"state": "s", "premises": [], "steps": n} for n in (None, 3, 2, None)]
    (found,) = value_examples(rows)
    assert found.bin == 1 and found.weight == 1.0


@pytest.mark.parametrize("split", ["held-out", "validation"])
def test_a_held_out_theorem_cannot_enter(tmp_path, split):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for name in (named("train"), named(split)):
        theorem = Theorem(name, library=name)
        data = {"state": "⊢ True", "premises": [], "tactics": [["trivial", 1.0]]}
        ledger.record(Attempt("round 1", theorem, "proved", 1, 1, 0.1, "trivial"), [("policy", data)])
        if split_of(name) == "train":
            assert len(replay.draw(ledger)[0]) == 1
    with pytest.raises(replay.HeldOutLeak, match=split):
        replay.draw(ledger)
