"""The explorer, the portfolio and mixtures: what they offer, and in what order."""

from __future__ import annotations

import math

import pytest

from prover.lean.theorem import Goal, ProofState
from prover.models.base import Query, Suggestion
from prover.models.mixture import Mixture
from prover.models.portfolio import PORTFOLIO, Explorer, Portfolio
from rl.algorithms.template_prior import learn_weights


def state(*hypotheses: tuple[str, str], target: str = "p", key: str = "k") -> ProofState:
    text = "\n".join([*(f"{n} : {t}" for n, t in hypotheses), f"⊢ {target}"])
    return ProofState(1, key, (Goal(text, tuple(hypotheses), target),))


def said(policy, s: ProofState, n: int = 500, attempt: int = 0, premises: tuple[str, ...] = ()) -> list[str]:
    return [x.tactic for x in policy.suggest([Query(s, premises, attempt)], n)[0]]


def test_the_portfolio_is_fixed_and_asked_once():
    assert tuple(said(Portfolio(), state())) == PORTFOLIO
    assert said(Portfolio(), state(), attempt=1) == []
    assert said(Portfolio(), state(target="∀ x, x = x"))[0] == "intros; rfl"


def test_the_explorer_contains_the_portfolio():
    assert set(PORTFOLIO) <= set(said(Explorer(), state()))


def test_templates_fit_what_they_are_filled_with():
    tactics = said(Explorer(), state(("xs", "List Nat"), ("h", "xs = []"), ("α", "Type")), premises=("List.foo",))
    assert "induction xs <;> simp_all" in tactics and "rw [h]" in tactics and "rw [List.foo]" in tactics
    assert "rw [xs]" not in tactics and "induction h <;> simp_all" not in tactics
    assert not any("α" in t for t in tactics)


def test_what_cannot_be_named_is_not_said():
    assert not any("✝" in t for t in said(Explorer(), state(("h✝", "p"), ("x.y", "q"))))


def test_the_order_depends_only_on_seed_and_state():
    s = state(("h", "p"))
    assert said(Explorer(seed=1), s) == said(Explorer(seed=1), s)
    assert said(Explorer(seed=1), s) != said(Explorer(seed=2), s)
    assert said(Explorer(seed=1), s) != said(Explorer(seed=1), state(("h", "p"), key="other"))


def test_asking_again_goes_on_and_repeats_nothing():
    s = state(("h", "p = q"))
    first, second = said(Explorer(), s, 10), said(Explorer(), s, 10, attempt=1)
    assert len(first) == len(second) == 10 and not set(first) & set(second)
    assert first + second == said(Explorer(), s, 20)


def test_probabilities_are_those_of_the_draw():
    (suggestions,) = Explorer().suggest([Query(state(("h", "p")))], 1000)
    assert sum(math.exp(x.logprob) for x in suggestions) == pytest.approx(1.0)


def test_learned_weights_move_what_works_to_the_front():
    row = {"state": "n : Nat\n⊢ n = n", "premises": [], "tactics": [["omega", 1.0]]}
    weights = learn_weights([row] * 200)
    assert weights["omega"] == max(weights.values()) and weights["decide"] < weights["omega"] / 5
    first = [said(Explorer(seed=i, weights=weights), state(("n", "Nat"), target="n = n"))[0] for i in range(50)]
    assert first.count("omega") > 25
    assert learn_weights([]) == {}


class Fixed:
    def __init__(self, **tactics: float) -> None:
        self.tactics = tactics

    def suggest(self, queries, n):
        return [[Suggestion(t, math.log(p), "fixed") for t, p in self.tactics.items()] for _ in queries]


def test_a_mixture_adds_up_what_both_say():
    mixed = Mixture([(Fixed(a=0.5, b=0.5), 0.8), (Fixed(b=0.1, c=0.1), 0.2)])
    (suggestions,) = mixed.suggest([Query(state())], 10)
    found = {s.tactic: math.exp(s.logprob) for s in suggestions}
    assert found == pytest.approx({"b": 0.5, "a": 0.4, "c": 0.1})
    assert [s.tactic for s in suggestions] == ["b", "a", "c"]


def test_a_mixture_needs_a_weight():
    with pytest.raises(ValueError, match="positive weight"):
        Mixture([(Fixed(a=1.0), 0.0)])
