"""Batches: killed and resumed, stopped by Ctrl-C, on Ray, under a total budget; remarks on statements."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prover.errors import UserError
from prover.models.assessor import CALL_BINS, STEP_BINS, Assessment, call_bin
from prover.solve.budgets import FIRST, GROWTH, BudgetScheduler, Grant
from prover.solve.results import Results, read_results
from rl.bench import batch

ARGUMENTS = ["set:library-train", "--limit", "16", "--workers", "2", "--seed", "3"]


@pytest.mark.lean
@pytest.mark.timeout(1800)
def test_killed_twice_and_resumed(turnstile: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No theorem is tried twice or lost, and the results equal those of an undisturbed batch in this process."""

    def undisturbed(folder: Path) -> dict[str, Any]:
        return turnstile(*batch.command(folder, ARGUMENTS)[3:]).document

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    one = undisturbed(whole)
    signals: list[int] = []
    kill = os.kill
    monkeypatch.setattr(batch.os, "kill", lambda pid, number: (signals.append(number), kill(pid, number)))
    other = batch.run_killed(killed, ARGUMENTS, 2, 8, seed=1)  # within the first half, so that each kill comes in time
    assert signals == [signal.SIGKILL] * 2
    assert one["total"] == 16 and 0 < one["proved"] < 16
    assert batch.differences(one, other) == []
    finished = batch.attempts(killed)
    assert len(finished) == 16 and set(finished.values()) == {1}
    assert batch.repeated(killed) == 0
    assert (whole / "proofs.lean").read_bytes() == (killed / "proofs.lean").read_bytes()
    assert 0 < one["lean_utilisation"] <= 1 and one["memory_mb"]["peak"] > 100

    # What is finished is not started again: no Lean, no time, the same answer.
    again = undisturbed(killed)
    assert batch.differences(other, again) == [] and "lean_steps" not in again


@pytest.mark.lean
def test_ctrl_c_leaves_a_usable_result(tmp_path: Path) -> None:
    process = subprocess.Popen(batch.command(tmp_path, ARGUMENTS), stdout=subprocess.PIPE)
    while process.poll() is None and batch.lines(tmp_path / "results.jsonl") < 6:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=500)
    assert process.returncode == 130
    document = json.loads(out)
    done = [t for t in document["tasks"] if t["reason"] != "interrupted"]
    assert document["interrupted"] and 0 < len(done) < 16
    finished = batch.attempts(tmp_path)
    assert len(finished) == len(done)
    assert (tmp_path / "proofs.lean").read_text().count("-- ") == document["proved"]


@pytest.mark.lean
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_the_same_on_ray(turnstile: Callable, tmp_path: Path) -> None:
    arguments = ["prove", "set:library-train", "--limit", "5", "--json", "--workers", "2"]
    here = turnstile(*arguments).document
    there = turnstile(*arguments, "--ray", "local").document
    assert batch.differences(here, there) == []
    assert there["lean"] == here["lean"] and there["lean_steps"] > 0


@pytest.mark.lean
def test_limits_besides_lean_calls(turnstile: Callable, tmp_path: Path) -> None:
    """Limits in seconds and in model tokens."""
    open_ended = "(f : Nat → Nat) (xs : List Nat) (h : xs ≠ []) (g : ∀ n, f (f n) = n) : (xs.map f).length = f 0 + f 1"
    results = tmp_path / "results.jsonl"
    arguments = [
        "prove",
        "--statement",
        open_ended,
        "--policy",
        "explorer",
        "--budget",
        "100000",
        "--workers",
        1,
        "--no-look",
        "--json",
    ]
    (slow,) = turnstile(*arguments, "--seconds", "4", "--results", results).document["tasks"]
    assert slow["outcome"] == "budget" and slow["lean_calls"] < 100000 and slow["seconds"] >= 4
    (few,) = turnstile(*arguments, "--tokens", "1").document["tasks"]
    assert few["outcome"] == "budget" and few["lean_calls"] <= 16
    refused = turnstile(*arguments, "--resume", "--results", results)
    assert refused.code == 2 and "was written with seconds 4.0, not None" in refused.err


@pytest.mark.lean
def test_what_is_odd_about_statements(turnstile: Callable, tmp_path: Path) -> None:
    rows = [
        ("plain", "(p q : Prop) (h : p ∧ q) (g : ∀ x : Nat, x = x) : q ∧ p ∧ (q → p)"),
        ("easy", "(n : Nat) : n + 0 = n"),
        ("twin", "(m : Nat) : m + 0 = m"),
        ("empty", "(a b : Nat) (h : a < b) (g : b < a) : a = 17"),
        ("emptier", "(a b : Nat) : a < b → b < a → a = 17"),
        ("denial", "(a : Nat) : ¬ a < a"),
        ("refutes", "(a b : Nat) (h : a < b) (g : b < a) : False"),
        ("wrong", "(n : Nat) : n = n + 1"),
        ("hopeless", "(f : Nat → Nat) (h : ∀ n, f (f n) = n) : f 0 = f 0 + f 1"),
    ]
    file, results = tmp_path / "x.jsonl", tmp_path / "results.jsonl"
    file.write_text("".join(json.dumps({"name": n, "statement": s}) + "\n" for n, s in rows))
    done = turnstile("prove", file, "--json", "--workers", 1, "--disprove", "0.5", "--results", results)
    tasks = {t["name"]: t for t in done.document["tasks"]}
    said = {n: {r["kind"]: r["detail"] for r in t["remarks"]} for n, t in tasks.items()}
    assert {n for n, s in said.items() if "vacuous" in s} == {"empty", "emptier"}
    assert {n for n, s in said.items() if "false" in s} == {"wrong", "hopeless"}
    assert {n: s["duplicate"] for n, s in said.items() if "duplicate" in s} == {"twin": "easy"}
    assert said["easy"]["at once"] == "rfl" and "at once" in said["empty"]
    assert not {"hopeless", "wrong"} & {n for n, s in said.items() if "at once" in s}
    assert tasks["wrong"]["outcome"] == "disproved"
    assert tasks["hopeless"]["reason"].endswith("false for f = (fun x => x)")
    # A proof of the negation is source that Lean takes as it stands.
    assert (
        turnstile("verify", "--statement", ": ¬ (∀ (n : Nat), (n = n + 1))", "--proof", tasks["wrong"]["proof"]).code
        == 0
    )
    # The page says it too.
    assert turnstile("report", results).code == 0
    page = (tmp_path / "results.html").read_text()
    assert "the same statement as easy" in page and "its hypotheses contradict each other" in page
    without = turnstile("prove", file, "--json", "--workers", 1, "--no-look", "--limit", 4).document["tasks"]
    assert all(r["kind"] == "duplicate" for t in without for r in t["remarks"])


@pytest.mark.lean
def test_a_total_budget_is_kept(turnstile: Callable, tmp_path: Path) -> None:
    document = turnstile(
        "prove",
        "set:turnstile-basics",
        "--limit",
        "8",
        "--json",
        "--workers",
        2,
        "--policy",
        "portfolio,explorer",
        "--total-budget",
        100,
        "--results",
        tmp_path / "results.jsonl",
    ).document
    assert 0 < sum(t["lean_calls"] for t in document["tasks"]) <= 100
    assert document["proved"] > 0
    tries = batch.attempts(tmp_path)
    assert set(tries.values()) == {1}, "nothing is tried twice"


def run(schedule: BudgetScheduler, hard: Callable[[int], int]) -> tuple[int, set[int]]:
    """(calls spent, tasks solved) where a task takes `hard(task)` calls."""
    spent, solved = 0, set()
    while grants := schedule.next_round():
        for grant in grants:
            won = hard(grant.task) <= grant.calls
            calls = min(grant.calls, hard(grant.task))
            spent += calls
            solved |= {grant.task} if won else set()
            schedule.report(grant, calls, won, won)
    return spent, solved


def test_a_total_goes_where_it_pays() -> None:
    areas = ["rich"] * 50 + ["poor"] * 50

    def hard(task: int) -> int:
        return (5, 20, 100)[task % 3] if task < 50 else 10_000

    assert run(BudgetScheduler(areas, 512), hard) == (sum(min(512, hard(i)) for i in range(100)), set(range(50)))
    spent, solved = run(BudgetScheduler(areas, 512, total=4000), hard)
    assert spent <= 4000
    # Evenly spread, 40 calls each would solve the 34 that take 5 or 20 calls.
    assert len(solved) >= 45
    spent, solved = run(BudgetScheduler(areas, 512, total=100), hard)
    assert spent <= 100 and solved
    assert run(BudgetScheduler(areas, 512, total=3), hard) == (0, set())
    first = BudgetScheduler(areas, 512, total=10**6).next_round()
    assert [g.calls for g in first] == [FIRST] * 100 and GROWTH > 1


def expected(calls: int, certain: float = 0.9) -> Assessment:
    """A task that is expected to take so many Lean calls."""
    bins = np.full(CALL_BINS, (1 - certain) / (CALL_BINS - 1))
    bins[call_bin(calls)] = certain
    return Assessment(bins, np.full(STEP_BINS, 1 / STEP_BINS))


def test_a_total_goes_where_the_assessor_expects_proofs() -> None:
    def hard(task: int) -> int:
        return 8 if task % 10 == 9 else 10_000

    areas = ["one"] * 40
    guided = [expected(hard(i)) for i in range(40)]
    assert run(BudgetScheduler(areas, 512, 32), hard)[1] == set()
    assert run(BudgetScheduler(areas, 512, 32, guided), hard)[1] == {9, 19, 29, 39}
    # A task that should have been proved by now is not better for having failed.
    schedule = BudgetScheduler(["a", "b"], 512, 1000, [expected(8), expected(40)])
    (first,) = schedule.next_round()
    assert (first.task, first.calls) == (0, FIRST)
    schedule.report(first, FIRST, False, False)
    # Estimates that were wrong in an area count less there, and tasks without one use the area's rate.
    wrong = BudgetScheduler(["bad"] * 20 + ["good"] * 20, 512, 10_000, [expected(8)] * 40)
    for grant in wrong.next_round():
        wrong.report(grant, 8, grant.task >= 20, grant.task >= 20)
    assert wrong._success_rate(Grant(0, 0, FIRST)) < 0.3 < 0.8 < wrong._success_rate(Grant(20, 0, FIRST))
    assert run(BudgetScheduler(areas, 512, 32, [None] * 40), hard) == run(BudgetScheduler(areas, 512, 32), hard)


def test_results_survive_a_cut_line_and_refuse_a_second_writer(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    log = Results(path, {"input": "x"}, resume=True)
    rows = [
        {"key": f"{i} é", "try": 0, "outcome": "proved", "lean_calls": i, "outline": {"goals": [["big"]]}}
        for i in range(3)
    ]
    for row in rows:
        log.add(row)
    with pytest.raises(UserError, match="another turnstile"):
        Results(path, {"input": "x"}, resume=True)
    log.close()
    whole = path.read_bytes()
    for cut in range(len(whole) - 60, len(whole)):
        path.write_bytes(whole[:cut])
        log = Results(path, {"input": "x"}, resume=True)
        assert len(log.rows) == 2 and not any("outline" in r for r in log.rows.values())
        log.add(rows[2])
        log.close()
        assert path.read_bytes() == whole
    assert [r["outline"] for r in read_results(path)[1]] == [r["outline"] for r in rows]


def test_the_report_counts_the_calls_of_every_try_once(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    log = Results(path, {"input": "x"}, resume=False)
    row = {"key": "0 a", "name": "a", "outcome": "budget"}
    log.add({**row, "try": 0, "lean_calls": 8})
    log.add({**row, "try": 1, "lean_calls": 20, "outcome": "found", "unjudged": True})
    log.add({**row, "try": 1, "lean_calls": 20, "outcome": "proved"})
    log.close()
    assert [(r["outcome"], r["lean_calls"]) for r in read_results(path)[1]] == [("proved", 28)]
