"""A sampled attempt says how it ended: an answer without a tactic is the model's fault, one that was cut off is not always."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prover.lean.theorem import Goal, ProofState, StepResult, Theorem
from prover.models.base import Sampled, Suggestion
from prover.models.formats import Answer, TemplateFormat, suggestions
from prover.models.templates import template_named
from rl.rollouts import rollouts
from rl.trajectory import from_rows
from rl.whole_proofs import Draft, whole_proofs

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

    (found,), _ = asyncio.run(rollouts(ROOT, Lean(status), Policy(), lambda state: (), 1))
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
