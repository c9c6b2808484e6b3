"""The bound on what Lean is asked: no automation gets past it, from no source."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from curricula.worlds import world
from prover.lean.theorem import Goal, HypothesisKind, ProofNode, ProofState, StepResult, Theorem
from prover.models.base import Query, Suggestion
from prover.models.tactic_templates import Explorer
from prover.search import Budget, Search, SearchConfig, checker, minimise
from prover.search.actions import bounded, permitted

PERMITTED = [
    "intro h1",
    "rw [← add_comm (add a b) c, h] at h2 ⊢",
    "cases h with\n| left a => exact Or.inr a\n| right b =>\n  apply f\n  exact b",
    "cases h with | left a => exact a",
    "rcases h with h | ⟨a, b⟩",
    "constructor <;> intro h <;> assumption",
    "constructor\n· exact h.1\n· (intro x; exact g x)",
    "have h3 : a → b := (fun x => match x with\n  | .mk => h)",
    "exact h <| fun x => k x |>.symm",
    "suffices h : Absurd from nomatch h",
    "induction n generalizing m",
    "case zero => rfl",
    "exact nearby",
]
REFUSED = [
    "grind",
    "simp",
    "intro h1; grind",
    "intros <;> grind",
    "intro h\ngrind",
    "exact?",
    "apply?",
    "rw?",
    "exact by grind",
    "exact (by grind)",
    "exact f 1by grind",
    "exact f 1.by grind",
    "exact x²by grind",
    "have h : a := by\n  grind",
    "first | rfl | grind",
    "try grind",
    "(grind)",
    "(intro h; grind)",
    "(rfl) <;> grind",
    "· grind",
    "constructor\n· rfl\n· grind",
    "cases h with grind",
    "cases ({ s with x := 1 }) with grind",
    "cases h with | a => exact x | b => grind",
    "cases h with | a => exact x; exact y | b => grind",
    "cases h with\n| a => grind\n| b => rfl",
    "induction n with | zero => rfl | succ n ih => simp",
    "intro | a => grind",
    "case zero => grind",
    "next => simp",
    "focus grind",
    "rfl -- grind",
    "exact x /- -/",
    "all_goals grind",
    "open Nat in grind",
    "set_option maxRecDepth 9 in grind",
    "run_tac grind",
    "exact (rfl",
    "exact rfl)",
    "let rec f := 1 decreasing_by grind",
    "show a by grind",
    "",
    "grind rfl",
    "decide",
    "rotate_left\ngrind",
    "exact x ;grind",
    "refine ⟨by grind, rfl⟩",
]


@pytest.mark.parametrize("script", PERMITTED)
def test_steps_by_hand_are_permitted(script: str) -> None:
    assert permitted(script, "elementary")


@pytest.mark.parametrize("script", REFUSED)
def test_automation_is_refused_wherever_it_stands(script: str) -> None:
    assert not permitted(script, "elementary")
    assert permitted(script, "full")


KINDS = (
    HypothesisKind("a", "prop", "Prop", "Prop"),
    HypothesisKind("h", "proof", "a", "a"),
    HypothesisKind("⊢", "target", "a", "a"),
)
GOAL = Goal("a b : Prop\nh : a\n⊢ a", (("a", "Prop"), ("b", "Prop"), ("h", "a")), "a", kinds=KINDS)
ROOT = ProofState(1, "root", (GOAL,))


class Lean:
    """Solves every goal by any tactic, and records what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        self.asked += tactics
        return [StepResult("ok", said=("Try this: grind",)) for _ in tactics]

    async def free(self, states: Sequence[ProofState]) -> None: ...


class Says:
    def __init__(self, *tactics: str) -> None:
        self.tactics = tactics

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return [[Suggestion(t, -float(i)) for i, t in enumerate(self.tactics)] for _ in queries]


def run(lean: Lean, policy: Any, **settings: Any) -> Any:
    async def go() -> Any:
        config = SearchConfig(in_flight=1, model_thread=False, max_expansions=1, **settings)
        search = Search(ROOT, bounded(lean, "elementary", True), policy, config=config)
        return await search.run(Budget(lean_calls=20))

    return asyncio.run(go())


def test_a_policy_that_says_grind_never_reaches_lean() -> None:
    lean = Lean()
    found = run(lean, Says("grind", "intros; grind"))
    assert lean.asked == [] and found.outcome == "exhausted"


def test_an_elementary_step_of_the_same_policy_does() -> None:
    lean = Lean()
    found = run(lean, Says("grind", "exact h"))
    assert lean.asked == ["exact h"] and found.proof.tactic == "exact h"


def test_questions_to_the_library_are_refused_and_so_have_no_answers() -> None:
    lean = Lean()
    run(lean, Says("simp"), questions="exact?,grind?")
    assert lean.asked == []


def test_minimising_only_tries_the_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["prover.search.minimise"], "CLOSERS", ("grind", "simp", "rfl"))
    lean = Lean()
    tree = ProofNode("intro x", (ProofNode("exact h", (), (), 1),), ((0, 0),), 1)
    check = checker(bounded(lean, "elementary", True), ROOT)
    proof = asyncio.run(minimise(Theorem("t", ": a → a"), tree, check))
    assert lean.asked and all(permitted(s, "elementary") for s in lean.asked)
    assert proof.script == "rfl"


def test_without_strict_nothing_is_bounded() -> None:
    lean = Lean()
    assert bounded(lean, "elementary", False) is lean and bounded(lean, "full", True) is lean


@pytest.mark.parametrize("name", ["logic", "rewriting", "peano"])
def test_world_proofs_that_are_written_by_hand_are_permitted(name: str) -> None:
    proofs = [t.proof for t in world(name, seed=1, count=20) if "calc" not in t.proof]
    assert all(permitted(p, "elementary") for p in proofs if "by" not in p.split())


def test_the_elementary_templates_stay_within_the_actions() -> None:
    explorer = Explorer(None, actions="elementary")
    tactics = [t for t, _ in explorer.instances(ROOT, ("Nat.add_comm", "List.map"))]
    assert "assumption" in tactics and all(permitted(t, "elementary") for t in tactics)
