"""Tactics of the explorer, the portfolio and mixtures, and their order."""

from __future__ import annotations

import math

import numpy as np
import pytest

from prover.lean.theorem import Goal, HypothesisKind, ProofState
from prover.models.base import Query, Suggestion
from prover.models.mixture import ExploringPolicy
from prover.models.ranker import BUCKETS, WIDTH, TacticRanker
from prover.models.tactic_templates import PORTFOLIO, Explorer, Portfolio

KINDS = {
    "List Nat": ("recursive", "List", "List"),
    "Bool": ("inductive", "Bool", "Bool"),
    "Type": ("type", "Sort", "Sort"),
    "Prop": ("prop", "Prop", "Prop"),
    "Nat → Bool": ("function", "∀", "∀"),
    "q → p": ("proof", "p", "∀"),
}
"""What Lean says of a hypothesis with this type; of any other, that it is a proof of an equation."""


def state(*hypotheses: tuple[str, str], target: str = "p", key: str = "k") -> ProofState:
    text = "\n".join([*(f"{n} : {t}" for n, t in hypotheses), f"⊢ {target}"])
    kinds = tuple(HypothesisKind(n, *KINDS.get(t, ("proof", "Eq", "Eq"))) for n, t in hypotheses)
    return ProofState(
        1, key, (Goal(text, tuple(hypotheses), target, kinds=(*kinds, HypothesisKind("⊢", "target", "", ""))),)
    )


def said(policy, s: ProofState, n: int = 500, attempt: int = 0, premises: tuple[str, ...] = ()) -> list[str]:
    return [x.tactic for x in policy.suggest([Query(s, premises, attempt)], n)[0]]


def test_the_portfolio_is_fixed_and_asked_once():
    assert tuple(said(Portfolio(), state())) == PORTFOLIO
    assert said(Portfolio(), state(), attempt=1) == []
    assert said(Portfolio(), state(target="∀ x, x = x"))[0] == "intros; rfl"


def test_the_explorer_contains_the_portfolio():
    assert set(PORTFOLIO) <= set(said(Explorer(), state()))


def test_templates_fit_what_they_are_filled_with():
    tactics = said(Explorer(), state(("xs", "List Nat"), ("h", "xs = []"), ("α", "Type")), premises=("List.foo_bar",))
    assert "induction xs <;> simp_all" in tactics and "rw [h]" in tactics and "rw [List.foo_bar]" in tactics
    assert "rw [xs]" not in tactics and "cases h <;> rfl" not in tactics
    assert not any("α" in t for t in tactics)


def test_functions_are_unfolded_and_lemmas_are_used():
    tactics = said(Explorer(), state(("xs", "List Nat")), premises=("List.foo_bar", "List.foo", "Nat.baz"))
    assert "simp [List.foo, Nat.baz] <;> split <;> simp_all" in tactics and "unfold Nat.baz" in tactics
    assert "cases xs <;> simp_all [List.foo, Nat.baz]" in tactics
    assert "exact List.foo_bar .." in tactics and not {"exact List.foo ..", "unfold List.foo_bar"} & set(tactics)


def test_hypotheses_are_told_apart():
    tactics = said(
        Explorer(), state(("p", "Prop"), ("f", "Nat → Bool"), ("b", "Bool"), ("h", "b = true"), ("g", "q → p"))
    )
    assert "by_cases p <;> simp_all" in tactics and "cases b <;> simp_all" in tactics and "exact g" in tactics
    assert not {"exact f", "cases f", "induction b <;> simp_all"} & set(tactics)


def test_unweighted_the_explorer_offers_the_same_tactics_in_another_order():
    s = state(("xs", "List Nat"), ("h", "xs = []"))
    explorer = Explorer()
    (found,) = explorer.unweighted().suggest([Query(s)], 500)
    assert {x.tactic for x in found} == set(said(explorer, s)) and len({round(x.logprob, 9) for x in found}) == 1
    first = [said(Explorer(seed=i).unweighted(), s)[0] for i in range(60)]
    assert len(set(first)) > 20, "any may come first"
    assert explorer.weighted


def test_many_lemmas_go_into_one_call():
    tactics = said(Explorer(), state(), premises=("A.a_b", "A.c_d"))
    assert "first | (exact A.a_b ..) | (exact A.c_d ..)" in tactics and "simp [A.a_b, A.c_d]" in tactics


def test_the_best_come_first_but_not_always():
    orders = [said(Explorer(seed=i), state(("h", "p = q")))[:6] for i in range(20)]
    assert sum(o[0] in PORTFOLIO for o in orders) >= 15 and len({tuple(o) for o in orders}) > 1


def test_what_cannot_be_named_is_not_said():
    assert not any("✝" in t for t in said(Explorer(), state(("h✝", "p"), ("x.y", "q"))))


def test_the_order_depends_only_on_seed_and_state():
    s = state(("h", "p"))
    assert said(Explorer(seed=1), s) == said(Explorer(seed=1), s)
    assert said(Explorer(seed=1), s) != said(Explorer(seed=2), s)
    assert said(Explorer(seed=1), s) != said(Explorer(seed=1), state(("h", "p"), key="other"))


def test_a_second_run_continues_and_repeats_nothing():
    s = state(("h", "p = q"))
    first, second = said(Explorer(), s, 10), said(Explorer(), s, 10, attempt=1)
    assert len(first) == len(second) == 10 and not set(first) & set(second)
    assert first + second == said(Explorer(), s, 20)


def test_probabilities_add_up_to_one():
    (suggestions,) = Explorer().suggest([Query(state(("h", "p")))], 1000)
    assert sum(math.exp(x.logprob) for x in suggestions) == pytest.approx(1.0)


class Fixed:
    def __init__(self, **tactics: float) -> None:
        self.tactics = tactics

    def suggest(self, queries, n, others=None):
        return [[Suggestion(t, math.log(p), "fixed") for t, p in self.tactics.items()] for _ in queries]

    def assessed(self, queries, rows):
        return rows


def test_a_mixture_adds_up_what_both_say():
    mixed = ExploringPolicy(Fixed(a=0.5, b=0.5), Fixed(b=0.5, c=0.5), 0.2)
    (suggestions,) = mixed.suggest([Query(state())], 10)
    found = {s.tactic: math.exp(s.logprob) for s in suggestions}
    assert found == pytest.approx({"b": 0.5, "a": 0.4, "c": 0.1})
    assert [s.tactic for s in suggestions] == ["b", "a", "c"]
    unsure = ExploringPolicy(Fixed(a=0.001, b=0.002), Fixed(c=0.4), 0.2).suggest([Query(state())], 10)
    assert [s.tactic for s in unsure[0]] == ["c", "b", "a"], "who is sure of nothing does not outvote who is"
    assert [s.tactic for s in ExploringPolicy(Fixed(a=1.0), Fixed(b=1.0), 0.0).suggest([Query(state())], 10)[0]] == [
        "a"
    ]


def test_what_only_the_explorer_offered_costs_no_tokens():
    mixed = ExploringPolicy(Fixed(), Explorer())  # Fixed counts no tokens itself: characters / 4
    model, explorer = Suggestion("x" * 40, -1.0, "fixed"), Suggestion("y" * 400, -1.0, "explorer")
    text = len(state().text)
    assert mixed.count_tokens(Query(state()), [model, explorer]) == (text + 40) // 4


class Babbling:
    """A model that says something else whenever it is asked, and a few of the explorer's own tactics."""

    def suggest(self, queries, n):
        return [
            [
                Suggestion(t, math.log(0.5 / n), "model")
                for t in ["simp_all", *(f"said {q.attempt} {i}" for i in range(n - 1))]
            ]
            for q in queries
        ]


@pytest.mark.parametrize("ranked", [False, True])
def test_every_tactic_of_the_explorer_is_offered_in_the_end(ranked: bool):
    """Whatever a model adds: what did not fit the first time must come the next."""
    rng = np.random.default_rng(0)
    tables = {name: rng.normal(size=(BUCKETS, WIDTH)).astype(np.float32) for name in ("goal", "tactic", "failed")}
    ranker = TacticRanker(**tables, bias=np.zeros(BUCKETS, np.float32)) if ranked else None
    s = state(("xs", "List Nat"), ("ys", "List Nat"), ("h", "xs = ys"), target="xs.length = ys.length")
    own = set(said(Explorer(ranker=ranker), s))
    mixed = ExploringPolicy(Babbling(), Explorer(ranker=ranker))
    n = 8
    asks = -(-len(own) // (3 * n))
    offered = {t for attempt in range(asks) for t in said(mixed, s, n, attempt)}
    assert asks > 2 and own <= offered
    assert {f"said {a} {i}" for a in range(asks) for i in range(n - 1)} <= offered, (
        "nor is anything of the model's lost"
    )
