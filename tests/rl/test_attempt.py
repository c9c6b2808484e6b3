"""Attempts of training: what they do not repeat, and their figures."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import pytest

from curricula.library import split_of
from prover.lean.theorem import Goal, ProofState, StepResult, Theorem
from prover.models.base import Query, Suggestion
from prover.search import SearchConfig
from prover.search.graph import Graph
from rl.attempt import Task, Workbench, collect
from rl.config import ProverConfig
from rl.search_stats import entropy
from tests.rl.test_actions_in_training import Lean, NoPremises


class Slow(Lean):
    """Every tactic reaches the time limit."""

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        self.asked += tactics
        return [StepResult("timeout", message="over 5000 ms") for _ in tactics]


class Listed:
    """Suggests these tactics, in their order."""

    def __init__(self, *tactics: str) -> None:
        self.tactics = tactics

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        every = [Suggestion(t, -float(i), "listed") for i, t in enumerate(self.tactics)]
        return [[] if q.attempt else every[:n] for q in queries]


def test_training_does_not_repeat_what_costs_a_time_limit() -> None:
    lean, policy = Slow(), Listed("simp_all [a]", "intro x; simp_all", "omega")
    explorer: Any = policy
    bench = Workbench(lean, NoPremises(), ProverConfig(in_flight=1), 0, explorer, explorer)  # type: ignore[arg-type]
    found = asyncio.run(collect(Task(Theorem("t", ": a → a"), "explorer", 8), bench))
    assert lean.asked == ["simp_all [a]", "omega"]
    assert (found.outcome, found.lean_calls) == ("exhausted", 3)
    assert found.trace.stats["errors"] == {"timeout": 3} and found.trace.calls_to_solve is None


class Closing(Lean):
    """Only `exact h` closes the goal."""

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        self.asked += tactics
        return [StepResult("ok" if t == "exact h" else "error") for t in tactics]


def test_what_fails_after_a_proof_is_recorded_as_a_failure() -> None:
    explorer: Any = Listed("exact h", "left", "right")
    bench = Workbench(Closing(), NoPremises(), ProverConfig(in_flight=1), 0, explorer, explorer, portfolio=Listed())  # type: ignore[arg-type]
    name = next(f"t{i}" for i in range(99) if split_of(f"t{i}") == "train")
    found = asyncio.run(collect(Task(Theorem(name, ": a → a"), "explorer", 8, learn=True, harvest=2), bench))
    (example,) = found.trace.examples
    assert example.best == (("exact h", 1),) and example.errors == (("left", "error"), ("right", "error"))
    assert example.tried == ("exact h", "left", "right")


@pytest.mark.parametrize("temperature", [1.0, 2.0, math.inf])
def test_entropy_is_of_what_the_policy_said_and_not_of_flattened_priors(temperature: float):
    graph = Graph(ProofState(1, "k", (Goal("⊢ p", target="p"),)), SearchConfig(temperature=temperature))
    assert entropy(graph) is None
    said = [("rfl", 0.3, "model"), ("simp", 0.1, "model"), ("omega", 0.6, "explorer")]
    graph.add_suggestions(graph.root, [Suggestion(t, math.log(p), source) for t, p, source in said])
    assert entropy(graph) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25), abs=1e-4)
