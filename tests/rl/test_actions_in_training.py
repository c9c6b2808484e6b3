"""With `strict`, automation reaches neither Lean nor the training data, whatever proposes it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from curricula.library import split_of
from prover.lean.theorem import Goal, HypothesisKind, ProofState, StepResult, Theorem
from prover.models.base import Query, Suggestion
from prover.models.tactic_templates import Explorer
from prover.search.actions import permitted
from prover.solve.job import Found
from rl.attempt import Task, Workbench, collect
from rl.config import LearnConfig, ProverConfig
from rl.training_examples import rollout_rows, rows

NAME = next(f"t{i}" for i in range(99) if split_of(f"t{i}") == "train")
KINDS = (HypothesisKind("h", "proof", "a", "a"), HypothesisKind("⊢", "target", "a", "a"))
ROOT = ProofState(1, "root", (Goal("h : a\n⊢ a", (("h", "a"),), "a", kinds=KINDS),))


class Lean:
    """Stands for Lean: every tactic closes every goal. Records what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def open(self, theorem: Theorem) -> ProofState:
        return ROOT

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        self.asked += tactics
        return [StepResult("ok") for _ in tactics]

    async def free(self, states: Sequence[ProofState]) -> None: ...


class NoPremises:
    async def for_theorem(self, theorem: Theorem) -> Any:
        return lambda state: ()


class Model:
    """A language model that has learned `grind`, and one elementary tactic."""

    version = 1

    async def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        said = [Suggestion("grind", -0.1, "model"), Suggestion("exact by simp", -0.2, "model")]
        return [[*said, Suggestion("exact h", -0.3, "model")][: max(n, 1)] for _ in queries]


def tried(task: Task, strict: bool) -> tuple[Lean, Found]:
    lean = Lean()
    config = ProverConfig(actions="elementary", strict=strict, in_flight=1)
    explorer, automatic = Explorer(None, actions="elementary"), Explorer(None)
    model: Any = Model()
    bench = Workbench(lean, NoPremises(), config, 0, explorer, explorer, model, model)  # type: ignore[arg-type]
    if task.policy == "explorer":  # a template policy with automation, as an old checkpoint's
        bench.explorer = automatic
    return lean, asyncio.run(collect(task, bench))


SOURCES = [
    Task(Theorem(NAME, ": a → a"), "model", 8, harvest=12, learn=True, value=False),
    Task(Theorem(NAME, ": a → a"), "explorer", 8, harvest=12, learn=True),
    Task(Theorem(NAME, ": a → a"), "portfolio", 8, harvest=12, learn=True),
    Task(Theorem(NAME, ": a → a"), "model", 8, learn=True, rollouts=4),
]


@pytest.mark.parametrize("task", SOURCES, ids=["model", "templates", "portfolio", "rollouts"])
def test_no_source_reaches_lean_or_the_examples_with_automation(task: Task) -> None:
    lean, found = tried(task, strict=True)
    assert all(permitted(t, "elementary") for t in lean.asked)
    if task.rollouts:
        made = rollout_rows(
            task.theorem, found.trace, {r["script"]: "proved" for r in found.trace.rollouts}, {"proved": 1.0}, 8, None
        )[0]
    else:
        made = rows(task.theorem, found.trace, found.outcome == "found", 1.0, LearnConfig())
    taught = [t for kind, row in made if kind == "policy" for t, _ in row["tactics"]]
    taught += [t for kind, row in made if kind == "tried" for t in row["worked"]]
    assert all(permitted(t, "elementary") for t in taught)


@pytest.mark.parametrize("task", SOURCES, ids=["model", "templates", "portfolio", "rollouts"])
def test_without_strict_each_of_these_sources_does(task: Task) -> None:
    lean, found = tried(task, strict=False)
    assert found.outcome == "found" and not all(permitted(t, "elementary") for t in lean.asked)


def test_the_portfolio_stays_a_baseline() -> None:
    lean, found = tried(Task(Theorem(NAME, ": a → a"), "portfolio", 8), strict=True)
    assert found.outcome == "found" and lean.asked == ["rfl"]
    assert tried(Task(Theorem(NAME, ": a → a"), "portfolio", 8), strict=True)[1].trace.examples == []
