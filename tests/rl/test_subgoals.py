"""Solved subgoals of theorems that were not proved teach policy and ranker; they are no proofs, and a rejected proof teaches nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curricula.library import split_of
from prover.lean.pool import LeanPool
from prover.lean.theorem import Theorem, Verdict
from prover.models.base import Query, Suggestion
from prover.models.ranker import Reader
from prover.search.examples import Example
from prover.solve.job import Found, Trace
from rl.actors.dispatch import Finished
from rl.actors.recorder import RecorderBody
from rl.algorithms.dpo import preference_pairs
from rl.algorithms.expert_iteration import policy_examples
from rl.algorithms.tactic_ranking import RankingConfig, first_goal, train_ranker
from rl.attempt import Task, Workbench, collect
from rl.config import LearnConfig, ProverConfig, RunConfig
from rl.training_examples import rows
from tests.rl.test_actions_in_training import NoPremises

NAME = next(f"t{i}" for i in range(99) if split_of(f"t{i}") == "train")
OPEN = Theorem(NAME, "(p q : Prop) (hp : p) : p ∧ q")
LEARN = LearnConfig()


class Tactics:
    """Suggests a wrong tactic before the right one, on every goal."""

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        said = [Suggestion(t, -float(i), "t") for i, t in enumerate(("rfl", "constructor", "assumption", "cases hp"))]
        return [[] if q.attempt else said[:n] for q in queries]


@pytest.fixture(scope="module")
def attempted() -> Found:
    """A search that proves `p` and not `q`."""

    async def search() -> Found:
        async with LeanPool(1, constants=True) as pool:
            policy: Any = Tactics()
            bench = Workbench(pool, NoPremises(), ProverConfig(in_flight=1), 0, policy, policy)  # type: ignore[arg-type]
            return await collect(Task(OPEN, "explorer", 64, learn=True), bench)

    return asyncio.run(search())


def recorded(folder: Path, found: Found, verdicts: dict[str, Verdict], learn: LearnConfig = LEARN) -> RecorderBody:
    folder.mkdir()
    recorder = RecorderBody(RunConfig(learn=learn), str(folder / "ledger.sqlite"), "Lean")
    recorder.record("round 1", 1, Finished(Task(OPEN, "explorer", 64, learn=True), found, verdicts))
    return recorder


@pytest.mark.lean
def test_a_solved_subgoal_teaches_and_is_no_proof(attempted: Found, tmp_path: Path) -> None:
    assert attempted.outcome in ("exhausted", "budget")
    ledger = recorded(tmp_path / "a", attempted, {}).ledger
    taught = {kind: [row.data for row in ledger.example_rows(kind)] for kind in ("policy", "tried")}
    (policy,), (tried,) = taught["policy"], taught["tried"]
    assert policy["state"] == tried["state"] == "case left\np q : Prop\nhp : p\n⊢ p"
    assert policy["tactics"] == [["assumption", 1.0]] and tried["worked"] == ["assumption"] and "rfl" in tried["tried"]
    assert [(e.tactic, e.weight) for e in policy_examples([policy])] == [("assumption", LEARN.subgoals)]
    assert {(p.worked, p.failed, p.weight) for p in preference_pairs([tried], 9)} >= {("assumption", "rfl", 0.5)}
    # It is no claim and earns no reward.
    (attempt,) = ledger.attempts()
    assert attempt.outcome != "proved" and attempt.script is None and attempt.stats["rewards"] == {"proved": 0.0}
    assert not list(ledger.proofs()) and not list(ledger.claims())
    alone = recorded(tmp_path / "b", attempted, {}, replace(LEARN, subgoals=0.0)).ledger
    assert [len(list(alone.example_rows(k))) for k in ("policy", "tried")] == [0, 0]
    assert list(alone.example_rows("value"))


def example(solved: bool, depth: int) -> Example:
    best = (("simp", 1),) if solved else ()
    tried = ("rfl", "simp")
    steps = 1 if solved else None
    text = f"⊢ p{depth}"
    return Example(text, text, (), (), 9, solved, False, steps, 0.9, best, (("rfl", "error"),), depth, tried=tried)


@pytest.mark.parametrize(("verdict", "taught"), [("proved", 2), ("rejected", 0), ("error", 0)])
def test_a_rejected_theorem_teaches_nothing(tmp_path: Path, verdict: Any, taught: int) -> None:
    found = Found("found", "simp", 8, trace=Trace(8, {"steps": 1}, [example(True, 0), example(True, 1)]))
    reason = "" if verdict == "proved" else "axiom: x"
    ledger = recorded(tmp_path / "a", found, {"simp": Verdict(NAME, verdict, reason)}).ledger
    assert [len(list(ledger.example_rows(kind))) for kind in ("policy", "tried", "value")] == [taught] * 3


def test_the_subgoals_of_a_claim_without_a_verdict_teach_no_tactic() -> None:
    unproved = Trace(None, examples=[example(False, 0), example(True, 1)])
    claimed = Trace(None, examples=[example(True, 0), example(True, 1)])
    learn = LearnConfig(value="td_lambda", assessor_seconds=1.0)
    kinds = [{kind for kind, _ in rows(OPEN, trace, False, 0.0, learn)} for trace in (unproved, claimed)]
    assert kinds == [{"policy", "tried", "value", "td", "assessed"}, {"value"}]


@pytest.mark.parametrize("audited", ["simp", "omega"])
def test_the_ranker_believes_an_audited_proof_more(audited: str) -> None:
    """Two goals alike, of which one was solved below a theorem that was not proved, by another tactic."""
    goals = ("x : Nat\n⊢ x = 1", "y : Nat\n⊢ y = 1")
    found = [
        {
            "state": state,
            "constants": ["Nat"],
            "premises": [],
            "tried": ["simp", "omega"],
            "worked": [tactic],
            **({} if tactic == audited else {"share": 0.25}),
        }
        for state, tactic in zip(goals, ("simp", "omega"), strict=True)
    ]
    learned, _ = train_ranker(found, {}, RankingConfig(seconds=20.0, epochs=40, fresh_names=0.0))
    assert learned is not None
    goal = first_goal("z : Nat\n⊢ z = 1", ("Nat",))
    ranked = learned.rank(goal, [Reader(goal, [], {}).read(t) for t in ("simp", "omega")], 2)
    assert ("simp", "omega")[ranked[0][0]] == audited
