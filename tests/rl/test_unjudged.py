"""A proof that the audit could not judge counts neither as a success nor as a failure.

The auditors are fakes, since real Lean does not run out of time or memory on demand.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from curricula.library import split_of
from prover.lean.audit import Judgement
from prover.lean.server import LeanDied
from prover.lean.text import parse
from prover.lean.theorem import Theorem, Verdict
from prover.search.examples import Example
from prover.solve.executor import audited, settled
from prover.solve.fill import Filler
from prover.solve.job import Found, Job, Trace
from prover.solve.ledger import Attempt, Ledger
from rl import run_report as report
from rl import training_examples
from rl.actors.dispatch import Finished, attempt_of, judge
from rl.actors.recorder import RecorderBody
from rl.algorithms import grpo
from rl.algorithms.premise_selection import credit
from rl.algorithms.tactic_ranking import collect_tried
from rl.attempt import Task
from rl.config import RunConfig
from rl.metrics import calibration, compute, rounds

TIME = "time: it took over its limit"
NAME = next(f"X.t{i}" for i in range(1000) if split_of(f"X.t{i}") == "train")
THEOREM = Theorem(NAME, ": True")


def verdict(kind: Any, reason: str = TIME) -> Verdict:
    return Verdict(NAME, kind, "" if kind == "proved" else reason)


class Auditor:
    """Gives these verdicts, one after the other."""

    def __init__(self, *kinds: str) -> None:
        self.left = list(kinds)

    async def audit(self, theorem: Theorem, script: str) -> Verdict:
        return verdict(self.left.pop(0))


@pytest.mark.parametrize(
    ("kinds", "last"),
    [
        (["proved"], "proved"),
        (["rejected"], "rejected"),
        (["error", "proved"], "proved"),
        (["error", "error"], "error"),
    ],
)
def test_an_unjudged_proof_is_judged_once_more(kinds: list[str], last: str) -> None:
    auditor: Any = Auditor(*kinds)
    assert asyncio.run(audited(auditor, THEOREM, "trivial")).verdict == last
    assert auditor.left == []


def test_an_unjudged_proof_is_an_error_in_a_batch() -> None:
    executor: Any = Auditor("error")
    done = asyncio.run(settled(executor, Job(THEOREM, 8), Found("found", "trivial")))
    assert (done.outcome, done.reason) == ("error", TIME)


# -- training ----------------------------------------------------------------------------------------------------------


def rollout(script: str | None, closed: float = 0.5) -> dict[str, Any]:
    return {
        "script": script,
        "decisions": [("⊢ True", (), "trivial", -0.1)],
        "ended": "proved" if script else "budget",
        "closed": closed,
    }


def test_a_rejection_outranks_an_unjudged_proof() -> None:
    found = Found("found", "a", 8)
    task = Task(THEOREM, "model", 8)
    both = {"a": verdict("error"), "b": verdict("rejected", "sorry: x")}
    for verdicts in (both, dict(reversed(both.items()))):
        assert judge(Finished(task, found, verdicts))[:3] == ("rejected", "sorry: x", "b")
    assert judge(Finished(task, found, {"a": verdict("error")}))[:3] == ("error", TIME, "a")
    assert judge(Finished(task, found, {**both, "c": verdict("proved")}))[:3] == ("proved", "", "c")


def test_a_rollout_that_was_not_judged_is_left_out_of_the_mean() -> None:
    trace = Trace(8, rollouts=[rollout("a"), rollout("b"), rollout(None)])
    weights = {"proved": 1.0, "progress": 0.2}

    def means(a: str, b: str) -> tuple[list[Any], dict[str, float]]:
        return training_examples.rollout_rows(THEOREM, trace, {"a": a, "b": b}, weights, 8, None)

    rows, parts = means("proved", "error")
    assert parts["proved"] == pytest.approx(1 / 2) and len(rows[-1][1]["rollouts"]) == 2
    rows, parts = means("proved", "rejected")
    assert parts["proved"] == pytest.approx(1 / 3) and len(rows[-1][1]["rollouts"]) == 2
    rows, parts = means("error", "error")
    assert [k for k, _ in rows] == ["rollouts"] and parts == {"proved": 0.0, "progress": pytest.approx(0.1)}


def test_every_verdict_on_a_group_of_rollouts_counts() -> None:
    """Before, one accepted proof hid the rejected ones from `audit/rejected` and its alert."""
    rollouts = [rollout(s) for s in ("a", "b", "c", "c", "d", None)]
    found = Found("found", "a", 8, trace=Trace(1, rollouts=rollouts))
    kinds = {"a": "proved", "b": "rejected", "c": "rejected", "d": "error"}
    finished = Finished(Task(THEOREM, "model", 8), found, {s: verdict(kind) for s, kind in kinds.items()})
    figures = compute.audits([attempt := attempt_of("round 1", finished, "Lean")])
    assert (attempt.outcome, attempt.stats["correct"]) == ("proved", 1)
    assert figures == {"audit/rejected": 2.0, "audit/errors": 1.0, "audit/rejection_rate": pytest.approx(2 / 3)}
    earlier = replace(attempt, stats={"correct": 1})
    assert compute.audits([earlier])["audit/rejected"] == 0.0


def test_a_tactic_that_lean_did_not_judge_teaches_nothing() -> None:
    """Before, only the assessor left out crashes, states that were lost, and questions such as `exact?`."""
    tried = ("rfl", "simp [a]", "grind [b]", "exact?", "omega")
    errors = (("simp [a]", "error"), ("grind [b]", "crash"), ("exact?", "question"), ("omega", "replay"))
    visits = tuple((t, 0.2) for t in tried)
    e = Example("⊢ p", "k", ("a", "b"), visits, 5, True, False, 1, 1.0, (("rfl", 1),), errors, 0, tried=tried)
    ((_, row),) = collect_tried([e], True)
    assert (row["tried"], row["errors"]) == (["rfl", "simp [a]"], ["simp [a]"])
    (group,) = grpo.from_search([e], True)
    assert dict(group["rewards"]) == {"rfl": 1.0, "simp [a]": 0.0}
    assert credit(e)[1] == ["a"], "no hard negative from a crash"


def recorded(tmp_path: Path, finished: Finished) -> tuple[Attempt, Ledger]:
    """The recorder's record of an attempt."""
    recorder = RecorderBody(RunConfig(), str(tmp_path / "ledger.sqlite"), "Lean")
    outcome = recorder.record("round 1", 1, finished).outcome
    (attempt,) = recorder.ledger.attempts()
    assert attempt.outcome == outcome
    return attempt, recorder.ledger


@pytest.mark.parametrize("kind", ["error", "rejected", "proved"])
def test_the_record_of_a_verdict(tmp_path: Path, kind: str) -> None:
    found = Found("found", "trivial", 8, trace=Trace(8, {"closed": 1.0, "steps": 1, "values": [(0.9, 1)]}))
    attempt, ledger = recorded(
        tmp_path, Finished(Task(THEOREM, "model", 8, learn=True), found, {"trivial": verdict(kind)})
    )
    assert attempt.outcome == kind
    assert attempt.stats["rewards"] == ({} if kind == "error" else {"proved": float(kind == "proved")})
    figures = compute.audits(ledger.attempts())
    assert (figures["audit/rejected"], figures["audit/errors"]) == (float(kind == "rejected"), float(kind == "error"))
    assert ("audit/rejection_rate" in figures) == (kind != "error")
    assert len(calibration.predictions(ledger.attempts())) == (kind == "proved")
    assert len(list(ledger.proofs())) == len(list(ledger.claims())) == (kind == "proved")
    (row,) = rounds.table(rounds.figures(ledger))[1:]
    shown = dict(zip(rounds.table(rounds.figures(ledger))[0], row, strict=True))
    assert shown["rejected"] == str(int(kind == "rejected")) and shown.get("not judged", "0") == str(
        int(kind == "error")
    )
    page = report.report_page(tmp_path)
    assert ("Not judged by the audit" in page) == (kind == "error")
    assert ("Rejected by the audit" in page) == (kind == "rejected")


# -- a file ------------------------------------------------------------------------------------------------------------

FILE = "".join(f"theorem t{i} : True := by sorry\n" for i in range(4))


def settle(judged: Any) -> Any:
    text = parse(FILE.encode(), "F.lean")
    data = text.text.encode()
    starts = [i for i in range(len(data)) if data.startswith(b"sorry", i)]
    holes: list[Any] = [SimpleNamespace(decl=f"t{k}", start=i, stop=i + 5, tactic=True) for k, i in enumerate(starts)]
    filler = Filler(text, holes, ("Init",))
    fake: Any = SimpleNamespace(judge=judged)
    filler.auditor = fake
    return asyncio.run(filler.settle({i: "trivial" if i != 1 else "endless" for i in range(4)}))


def test_a_place_that_cannot_be_judged_costs_itself_alone() -> None:
    calls = []

    async def judged(candidate: Any, reference: Any, lenient: bool = False) -> Judgement:
        calls.append(candidate)
        lines = candidate.text.splitlines()
        kinds = ["error" if "endless" in x else "rejected" if "sorry" in x else "proved" for x in lines]
        reasons = {"error": TIME, "rejected": "sorry: it", "proved": ""}
        return Judgement([Verdict(f"t{i}", k, reasons[k], line=i + 1) for i, k in enumerate(kinds)])  # pyright: ignore

    filled = settle(judged)
    assert set(filled.texts) == {0, 2, 3} and filled.unjudged == {1} and filled.refused == {1: TIME}
    assert len(calls) == 3, "judged once more, then without it"


def test_the_place_that_kills_the_auditor_is_found() -> None:
    async def judged(candidate: Any, reference: Any, lenient: bool = False) -> Judgement:
        if "endless" in candidate.text:
            raise LeanDied("it took too much", "memory")
        kinds = ["rejected" if "sorry" in x else "proved" for x in candidate.text.splitlines()]
        return Judgement(
            [Verdict(f"t{i}", k, "sorry: it" if k == "rejected" else "", line=i + 1) for i, k in enumerate(kinds)]
        )  # pyright: ignore

    filled = settle(judged)
    assert set(filled.texts) == {0, 2, 3} and filled.unjudged == {1}
    assert filled.refused[1].startswith("memory")
