"""A sampled attempt says how it ended: an answer without a tactic is the model's fault, one that was cut off is not always."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prover.lean.theorem import Goal, ProofState, StepResult, Theorem
from prover.models.base import Sampled, Suggestion
from prover.models.formats import Answer, TemplateFormat, suggestions
from prover.models.templates import template_named
from prover.solve.job import Trace
from rl import training_examples
from rl.rollouts import rollouts
from rl.trajectory import from_rows
from rl.whole_proofs import Draft, whole_proofs
from tests.rl.test_unjudged import THEOREM

ROOT = ProofState(1, "k", (Goal("⊢ True", (), "True"),))
TOKENS = Sampled((1,), (2, 3), (-0.5, -0.5))


class Lean:
    """Stands for Lean, which does not crash on demand."""

    def __init__(self, status: Any) -> None:
        self.status = status

    async def step(self, state: ProofState, tactics: Any) -> list[StepResult]:
        return [StepResult(self.status, message="why") for _ in tactics]

    async def free(self, states: Any) -> None:
        pass


def step_by_step(status: Any, suggestion: Suggestion) -> str:
    class Policy:
        def suggest(self, queries: Any, n: int) -> list[list[Suggestion]]:
            return [[suggestion]]

    (found,), _ = asyncio.run(rollouts(THEOREM, ROOT, Lean(status), Policy(), lambda state: (), 1))
    return found.ended


def as_a_whole(status: Any, draft: Draft, turns: int = 1) -> str:
    class Writer:
        async def write(self, values: Any, n: int) -> list[Draft]:
            return [draft] * n

    rows, _, _ = asyncio.run(whole_proofs(Theorem("t", ": True"), ROOT, Lean(status), Writer(), 1, turns))  # type: ignore[arg-type]
    return rows[0]["ended"]


@pytest.mark.parametrize(("cut", "ended"), [(True, "unfinished"), (False, "malformed")])
def test_an_answer_without_a_tactic(cut: bool, ended: str) -> None:
    assert step_by_step("ok", Suggestion("", -1.0, "model", TOKENS, cut)) == ended
    assert as_a_whole("ok", Draft(None, TOKENS, cut)) == ended
    # DAPO leaves out what was cut off (Yu et al. 2025, section 3.4), and nothing else: else a model never unlearns to ramble.
    rows = [{"rollouts": [{"reward": 0.0, "ended": ended, "calls": [((1,), (2,), (-0.5,))]}]}]
    assert [t.overlong for t in from_rows(rows)] == [cut]


@pytest.mark.parametrize("finished", [True, False])
def test_a_sample_says_whether_it_was_cut_off(finished: bool) -> None:
    form = TemplateFormat(template_named("names"))
    (found,) = suggestions(form, None, [Answer("  ", (2, 3), -1.0, finished, TOKENS)], 1)  # type: ignore[arg-type]
    assert (found.tactic, found.cut) == ("", not finished)


def test_an_attempt_that_lean_could_not_judge_is_left_out() -> None:
    """Its process died, of another search's tactic perhaps. The model must not learn from that."""
    draft = Draft("rfl", TOKENS)
    for status in ("error", "crash"):
        assert step_by_step(status, Suggestion("rfl", -1.0, "model", TOKENS)) == status
        assert as_a_whole(status, draft, turns=2) == status
    ends = ("proved", "error", "crash")
    rows = [{"script": None, "decisions": [], "steps": [], "calls": [], "ended": end, "closed": 0.0} for end in ends]
    rows[0]["script"] = "rfl"
    trace = Trace(1, rollouts=rows)
    found, means = training_examples.rollout_rows(THEOREM, trace, {"rfl": "proved"}, {"proved": 1.0}, 8, None)
    assert [r["ended"] for r in found[-1][1]["rollouts"]] == ["proved", "error"] and means == {"proved": 0.5}


def test_equal_proofs_are_checked_once_even_at_the_same_time() -> None:
    """Before, those written while the first check ran were each checked, and counted as one Lean call."""
    asked: list[str] = []

    class Slow(Lean):
        async def step(self, state: ProofState, tactics: Any) -> list[StepResult]:
            asked.extend(tactics)
            await asyncio.sleep(0)
            return [StepResult("ok" if t == "trivial" else "error") for t in tactics]

    class Writer:
        async def write(self, values: Any, n: int) -> list[Draft]:
            return [Draft(answer, TOKENS) for answer in ("simp", "trivial", "simp", "trivial")[:n]]

    found = whole_proofs(Theorem("t", ": True"), ROOT, Slow("ok"), Writer(), 4, 1)  # type: ignore[arg-type]
    rows, calls, first = asyncio.run(found)
    assert asked == ["simp", "trivial"] and (calls, first) == (2, 2)
    assert [r["ended"] for r in rows] == ["error", "proved", "error", "proved"]
