"""Whole proofs on real Lean, with scripted texts of the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from prover.lean import LeanPool, Theorem
from prover.lean.theorem import Goal, ProofState, StepResult
from prover.models.base import Query, Suggestion, count_tokens
from prover.models.formats import TemplateFormat
from prover.models.tactic_templates import Portfolio
from prover.models.templates import template_named
from prover.search import Budget, Search, SearchConfig
from prover.solve.attempt import Prover, attempt_all
from prover.solve.job import Job
from prover.solve.whole_proof import Seeded, proof_script, steps, write_proofs

SWAP = Theorem("swap", "(p q r : Prop) (h : p ∧ q) (hr : r) : (q ∧ p) ∧ r")


class Given:
    """Texts in turn, and the prompts they answered."""

    def __init__(self, template: str, *rounds: list[str]) -> None:
        self.format = TemplateFormat(template_named(template))
        self.rounds = list(rounds)
        self.prompts: list[Any] = []

    def texts(self, prompt: Any, n: int) -> tuple[list[str], int]:
        self.prompts.append(prompt)
        return self.rounds.pop(0) if self.rounds else [], 100


def test_scripts_are_found_in_answers() -> None:
    assert proof_script("  intro h\n  simp") == "intro h\nsimp"
    assert proof_script("import Mathlib\n\ntheorem x (p : Prop) : p := by\n  intro h\n  · simp\n    omega\n") == (
        "intro h\n· simp\n  omega"
    )
    assert proof_script("theorem x : p := by simp") == "simp"
    assert proof_script("theorem x : p := rfl") == ""


def test_steps() -> None:
    script = "constructor\n-- first\n· intro h\n  cases h with\n  | inl a => simp\n  | inr b => simp\n· exact\n    foo\nomega\n  <;> simp"
    assert steps(script) == [
        "constructor",
        "intro h",
        "cases h with\n| inl a => simp\n| inr b => simp",
        "exact\n  foo",
        "omega\n  <;> simp",
    ]


@pytest.mark.lean
def test_right_proof_feedback_and_harvest() -> None:
    wrong = "```lean4\ntheorem swap (p q r : Prop) (h : p ∧ q) (hr : r) : (q ∧ p) ∧ r := by\n  constructor\n  · constructor\n    · exact h.2\n    · exact h.2\n  · exact hr\n```"
    right = wrong.replace("exact h.2\n  ·", "exact h.1\n  ·")

    async def run() -> None:
        async with LeanPool(1) as pool:
            root = await pool.open(SWAP)
            writer = Given("deepseek-prover-v2", ["no idea", wrong, wrong], [right])
            found = await write_proofs(SWAP, root, pool, writer, Budget(40))
            assert found.script is not None and "h.1" in found.script
            # One call for each whole proof, and four steps of the wrong one: the last was refused.
            assert found.lean_calls == 6
            first, second = (p[-1]["content"] for p in writer.prompts)
            assert "Lean refused" not in first and "theorem swap (p q r : Prop)" in first
            assert "at `exact h.2`" in second and "exact hr" in second
            # What was right in it leads a search that would not find it alone.
            lone = Given("deepseek-prover-v2", [wrong])
            found = await write_proofs(SWAP, root, pool, lone, Budget(40))
            assert found.script is None and [len(t) for t in found.seeds.values()] == [1, 1, 1]
            assert found.seeds[root.shared] == ["constructor"]
            seeded = Seeded(found.seeds, Portfolio())
            assert seeded.suggest([Query(root)], 8)[0][0].source == "proof"
            search = Search(root, pool, seeded, config=SearchConfig(in_flight=1, suggestions=8, model_thread=False))
            result = await search.run(Budget(lean_calls=40))
            assert result.outcome == "proved"
            await search.close()

    asyncio.run(run())


def test_tokens_of_a_search_after_whole_proofs_are_counted_by_its_policy() -> None:
    class Counting(Portfolio):
        def count_tokens(self, query: Query, suggestions: Sequence[Suggestion]) -> int:
            return 1000 + len(suggestions)

    query = Query(ProofState(1, "k", (Goal("⊢ p", (), "p"),)))
    offered = [Suggestion("constructor", -1.0, "proof"), Suggestion("simp", -1.0, "model")]
    assert count_tokens(Seeded({}, Counting()), query, offered) == 1001


class Deciding:
    """Accepts every proof of the first state and refuses all others, which takes real Lean longer."""

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        return [StepResult("ok" if state.id == 1 else "error") for _ in tactics]

    async def free(self, states: Sequence[ProofState]) -> None:
        pass


class Slow(Given):
    """Takes longer for a request than the limit below."""

    def texts(self, prompt: Any, n: int) -> tuple[list[str], int]:
        time.sleep(0.2)
        return super().texts(prompt, n)


@pytest.mark.parametrize("limit", [Budget(model_tokens=100), Budget(seconds=0.1)], ids=["tokens", "seconds"])
@pytest.mark.parametrize("roots", [(2,), (1, 2)])
def test_tokens_and_seconds_bound_the_model(limit: Budget, roots: tuple[int, ...]) -> None:
    writer = Slow("goedel-prover", ["  simp"], ["  omega"], ["  rfl"], ["  grind"])
    prover = Prover("x", Portfolio(), SearchConfig(in_flight=1, model_thread=False), writer=writer)
    states = [ProofState(i, f"k{i}", (Goal("⊢ p", (), "p"),)) for i in roots]
    found = asyncio.run(attempt_all(Job(SWAP, 64, within=limit), states, Deciding(), [prover], None, None))
    assert found.outcome == "budget" and len(writer.prompts) <= 1


@pytest.mark.lean
def test_the_budget_holds() -> None:
    async def run() -> None:
        async with LeanPool(1) as pool:
            root = await pool.open(SWAP)
            writer = Given("goedel-prover", [f"  constructor\n  exact h{i}" for i in range(9)])
            found = await write_proofs(SWAP, root, pool, writer, Budget(5))
            assert found.script is None and found.lean_calls <= 5
            assert writer.prompts[0].endswith("theorem swap (p q r : Prop) (h : p ∧ q) (hr : r) : (q ∧ p) ∧ r := by\n")
            await pool.free([root])

    asyncio.run(run())
