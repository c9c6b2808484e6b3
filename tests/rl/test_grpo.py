"""Group-relative advantages: groups, examples, and that the learner moves probability in their direction."""

from __future__ import annotations

import math

import pytest

from prover.search.examples import Example
from rl.algorithms.grpo import advantages, from_search, rollout_examples, search_examples


def example(
    solved: bool,
    best=(("simp", 1), ("intro h", 2)),
    errors=(("omega", "error"),),
    visits=(("simp", 0.5), ("skip", 0.5)),
):
    return Example(
        "⊢ p", "k", ("P",), visits, 4, solved, False, 1 if solved else None, 0.5, best if solved else (), errors, 0
    )


def test_advantages_have_mean_0_and_deviation_1():
    a = advantages([1.0, 0.0, 0.0, 0.0])
    assert a is not None and sum(a) == pytest.approx(0) and sum(x * x for x in a) == pytest.approx(4)
    assert advantages([1.0, 1.0]) is None and advantages([1.0]) is None


def test_tactics_of_a_goal_are_rewarded_only_under_an_audited_proof():
    (row,) = from_search([example(True)], proved=True, discount=0.9)
    assert dict(row["rewards"]) == {"omega": 0.0, "skip": 0.0, "simp": 1.0, "intro h": 0.9}
    assert from_search([example(True)], proved=False) == []
    assert from_search([example(False)], proved=True) == []


def test_examples_of_a_goal_ask_the_learner_for_their_probability():
    found = search_examples(from_search([example(True)], proved=True))
    assert {e.tactic: e.weight > 0 for e in found} == {"omega": False, "skip": False, "simp": True, "intro h": True}
    assert all(e.old_logprob is not None and math.isnan(e.old_logprob) for e in found)


def test_a_rollouts_decisions_share_its_advantage():
    group = {
        "rollouts": [
            {"reward": 1.0, "decisions": [["s", [], "a", -1.0], ["t", [], "b", -2.0]]},
            {"reward": 0.0, "decisions": [["s", [], "c", -3.0]]},
        ]
    }
    found = rollout_examples([group, {"rollouts": [{"reward": 0.0, "decisions": []}] * 4}])
    assert [(e.tactic, e.weight) for e in found] == [("a", 0.5), ("b", 0.5), ("c", -1.0)]
    # What was drawn may have been spelled in other tokens: the learner reckons with those that it trains on.
    assert all(e.old_logprob is not None and math.isnan(e.old_logprob) for e in found)
