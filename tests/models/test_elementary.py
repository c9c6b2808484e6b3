"""The elementary templates: what they offer for a goal, and proofs by hand in real Lean."""

from __future__ import annotations

import asyncio

import pytest

from curricula.worlds import world
from prover.lean.pool import LeanPool
from prover.lean.surroundings import Declaration, Surroundings
from prover.lean.theorem import Goal, HypothesisKind, ProofState, Theorem
from prover.models.elementary import elementary_tactics, fresh_name
from prover.models.goal_names import names_of
from prover.models.local_templates import local_context
from prover.models.tactic_templates import Explorer
from prover.search import Budget, Search, SearchConfig, to_script
from prover.search.actions import bounded, permitted

KINDS = (
    HypothesisKind("h1", "proof", "", "∀"),
    HypothesisKind("h2", "proof", "a", "a"),
    HypothesisKind("h3", "proof", "Eq", "Eq"),
    HypothesisKind("⊢", "target", "Eq", "Eq"),
)
HYPOTHESES = (("h1", "a → b"), ("h2", "a"), ("h3", "x = y"))
GOAL = Goal("h1 : a → b\nh2 : a\nh3 : x = y\n⊢ f (g x) = y", HYPOTHESES, "f (g x) = y", kinds=KINDS)


def offered(goal: Goal, premises: tuple[str, ...] = ()) -> list[str]:
    return [t for t, _ in Explorer(None, actions="elementary").instances(ProofState(1, "k", (goal,)), premises)]


def test_a_goal_is_offered_the_steps_that_fit_it() -> None:
    steps = offered(GOAL, ("map_comp",))
    assert {"assumption", "exact h2", "apply h1", "have h4 := h1 h2", "rw [h3]", "rw [← h3]", "rfl"} <= set(steps)
    assert {"rw [map_comp]", "rw [← map_comp]", "rw [map_comp (g x)]", "apply map_comp"} <= set(steps)
    assert "have h4 := h1 h3" not in steps and not any(t.startswith(("intro", "induction")) for t in steps)


def test_all_steps_have_the_same_weight() -> None:
    weights = {w for _, w in Explorer(None, actions="elementary").instances(ProofState(1, "k", (GOAL,)), ())}
    assert weights == {1.0}


def test_own_induction_principles_and_instances_of_universal_hypotheses() -> None:
    n, h = HypothesisKind("n", "recursive", "N", "N"), HypothesisKind("h", "proof", "N.Even", "∀")
    goal = Goal(
        "n : N\nh : ∀ x, N.Even x\n⊢ N.Even n",
        (("n", "N"), ("h", "∀ x, N.Even x")),
        "N.Even n",
        ("N.Even", "N"),
        kinds=(n, h, HypothesisKind("⊢", "target", "N.Even", "N.Even")),
    )
    fields = {"sides": ("", ""), "constants": (), "value": (), "conditional": True, "fields": (), "number": None}
    principle = Declaration(name="N.ind", kind="theorem", head="", explicit=3, **fields)
    own = Surroundings((principle,))
    steps = list(elementary_tactics(goal, names_of(goal), (), (), local_context(goal, own), own))
    assert {"induction n using N.ind", "have h1 := h n"} <= set(steps)
    assert all(permitted(s, "elementary") for s in steps)


WITNESSES = """
inductive N where
  | zero : N
  | succ (n : N) : N
def N.add : N → N → N
  | m, .zero => m
  | m, .succ n => .succ (add m n)
def N.le (a b : N) : Prop := ∃ c, b = N.add a c
"""


@pytest.mark.lean
def test_a_witness_is_built_by_hand_from_that_of_a_hypothesis() -> None:
    async def run() -> None:
        async with LeanPool(1, constants=True) as pool:
            state = await pool.open(Theorem("t", "(a b : N) (h : N.le a b) : N.le a (.succ b)", context=WITNESSES))
            for step in ("cases h", "refine ⟨(N.succ w), ?_⟩", "cases h", "rfl"):
                offered = [t for t, _ in Explorer(None, actions="elementary").instances(state, ())]
                assert step in offered and permitted(step, "elementary")
                (result,) = await pool.step(state, [step])
                assert result.ok, result
                state = result.states[0] if result.states else state
            assert result.solved

    asyncio.run(run())


def test_new_names_are_new() -> None:
    assert fresh_name(GOAL) == "h4" and fresh_name(Goal("⊢ p", target="p")) == "h1"


@pytest.mark.lean
def test_easy_theorems_of_worlds_are_proved_by_hand() -> None:
    async def run() -> list[str]:
        scripts = []
        async with LeanPool(1, constants=True) as pool:
            for t in [
                *world("logic", 3, 3, (3, 4)),
                *world("first_order", 5, 3, (3, 4)),
                *world("rewriting", 3, 1, (1, 1)),
            ]:
                root = await pool.open(t.theorem)
                env = bounded(pool, "elementary", strict=True)
                config = SearchConfig(in_flight=1, model_thread=False, suggestions=64)
                search = Search(root, env, Explorer(None, actions="elementary"), config=config)
                result = await search.run(Budget(lean_calls=80))
                if result.proof is not None:
                    scripts.append(to_script(result.proof))
                await search.close()
        return scripts

    scripts = asyncio.run(run())
    assert len(scripts) >= 2 and all(permitted(s, "elementary") for s in scripts)
