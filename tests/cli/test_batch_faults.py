"""Batches whose Lean, model or user gives up in the middle: what was found stays. Faults that the real ones will not produce on
demand are a small executor's."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prover.lean.runtime import find_runtime
from prover.lean.theorem import Theorem, Verdict
from prover.solve.batch import AUDITS, Batch, row_of, task_of
from prover.solve.budgets import FIRST
from prover.solve.fill import Filled
from prover.solve.job import Found, Job, Load
from prover.solve.lean_file import _attempted
from prover.solve.options import Settings
from prover.solve.resource_monitor import ResourceMonitor
from prover.solve.results import Results
from prover.solve.session import stoppable
from tests.models.small_server import Reply, SmallServer, completion

ASKED: dict[str, Any] = {"input": "x"}


class SmallExecutor:
    """Finds a proof of everything at once; the audit says what the test says."""

    def __init__(self, audit: Callable[[Theorem], str], places: int = 1) -> None:
        self.lean, self.places = find_runtime().name, places
        self.attempts = 0
        self.audits = 0
        self.go = asyncio.Event()
        self.go.set()
        self._audit = audit

    async def attempt(self, job: Job) -> Found:
        self.attempts += 1
        await asyncio.sleep(0)
        return Found("found", "trivial", 3, goal="⊢ True", statement_hash="hash")

    async def audit(self, theorem: Theorem, script: str) -> Verdict:
        self.audits += 1
        await self.go.wait()
        return Verdict(theorem.name, self._audit(theorem), "", (), (), self.lean)  # type: ignore[arg-type]


def theorems(n: int) -> list[Theorem]:
    return [Theorem(f"t{i}", ": True") for i in range(n)]


def run(
    log: Results, executor: SmallExecutor, n: int, meanwhile: Callable[[asyncio.Event], Any] | None = None
) -> dict[str, str]:
    async def all_of_it() -> dict[str, str]:
        made = Batch([task_of(i, t) for i, t in enumerate(theorems(n))], Settings(budget=8), log)
        stop = asyncio.Event()
        other = asyncio.create_task(meanwhile(stop)) if meanwhile is not None else None
        await made.run(executor, stop, lambda *x: None)  # type: ignore[arg-type]
        if other is not None:
            await other
        return {t["name"]: t["outcome"] for t in made.rows()}

    return asyncio.run(all_of_it())


def test_a_proof_that_the_audit_could_not_judge_is_judged_when_resumed(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    log = Results(path, ASKED, False)
    first = SmallExecutor(lambda t: "error" if t.name == "t1" else "proved")
    assert run(log, first, 3) == {"t0": "proved", "t1": "error", "t2": "proved"}
    log.close()
    log = Results(path, ASKED, True)
    again = SmallExecutor(lambda t: "proved")
    assert run(log, again, 3) == dict.fromkeys(("t0", "t1", "t2"), "proved")
    assert (again.attempts, again.audits) == (0, 1), "what was found is not searched for again"
    log.close()


def test_proofs_from_another_lean_are_judged_again(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    log = Results(path, ASKED, False)
    first = SmallExecutor(lambda t: "proved" if t.name != "t2" else "rejected")
    first.lean = "Lean 3 (another)"
    assert run(log, first, 3) == {"t0": "proved", "t1": "proved", "t2": "rejected"}
    log.close()
    log = Results(path, ASKED, True)
    again = SmallExecutor(lambda t: "proved" if t.name == "t0" else "rejected")
    assert run(log, again, 3) == {"t0": "proved", "t1": "rejected", "t2": "rejected"}
    assert (again.attempts, again.audits) == (0, 2)
    log.close()


def test_ctrl_c_while_proofs_wait_for_the_audit_loses_none(tmp_path: Path) -> None:
    n, places = 4 * AUDITS, 2 * AUDITS
    log = Results(tmp_path / "r.jsonl", ASKED, False)
    executor = SmallExecutor(lambda t: "proved", places)

    async def interrupt(stop: asyncio.Event) -> None:
        executor.go.clear()
        while executor.attempts < places:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        stop.set()
        await asyncio.sleep(0.05)
        executor.go.set()

    outcomes = run(log, executor, n, interrupt)
    assert executor.attempts < n and sum(o == "proved" for o in outcomes.values()) == executor.attempts
    log.close()


def test_a_total_does_not_count_calls_from_before_a_retry(tmp_path: Path) -> None:
    path, tasks = tmp_path / "r.jsonl", [task_of(i, t) for i, t in enumerate(theorems(2))]
    log = Results(path, ASKED, False)
    log.add(row_of(tasks[0], Found("proved", "trivial", 3000), lean=find_runtime().name))
    log.add(row_of(tasks[1], Found("budget", "", 3000)))
    log.close()
    settings = Settings(budget=8, total_budget=FIRST * 2, look=False)
    for retry in (True, False):  # the retry, and its resumption
        log = Results(path, ASKED, True, retry=retry)
        batch, executor = Batch(tasks, settings, log), SmallExecutor(lambda t: "proved")
        asyncio.run(batch.run(executor, asyncio.Event(), lambda *x: None))  # type: ignore[arg-type]
        assert [(r["outcome"], r["lean_calls"]) for r in batch.rows()] == [("proved", 3000), ("proved", 3003)]
        assert (batch.schedule.spent, executor.attempts) == (3, int(retry))
        log.close()


def test_a_retry_without_a_total_keeps_the_proofs_of_later_tries(tmp_path: Path) -> None:
    path, (task,) = tmp_path / "r.jsonl", [task_of(0, t) for t in theorems(1)]
    log = Results(path, ASKED, False)
    for number, calls in enumerate((8, 32)):
        log.add(row_of(task, Found("budget", "", calls), number))
    log.add(row_of(task, Found("proved", "trivial", 50), 2, find_runtime().name))
    log.close()
    log, executor = Results(path, ASKED, True, retry=True), SmallExecutor(lambda t: "proved")
    batch = Batch([task], Settings(budget=100, look=False), log)
    asyncio.run(batch.run(executor, asyncio.Event(), lambda *x: None))  # type: ignore[arg-type]
    (row,) = batch.rows()
    assert (row["outcome"], row["proof"], row["lean_calls"], executor.attempts) == ("proved", "trivial", 90, 0)
    log.close()


def test_signals_are_handled_as_before_once_a_batch_is_over() -> None:
    async def work() -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
        with stoppable() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(stop.wait(), 60)
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before

    earlier = signal.getsignal(signal.SIGTERM)
    try:
        asyncio.run(work())
    finally:
        signal.signal(signal.SIGTERM, earlier)


def test_a_kept_proof_that_no_longer_holds_is_rejected_before_its_turn(tmp_path: Path) -> None:
    """A total smaller than a first try leaves every task untried. `Refusing` stands for the audit of a file that changed."""

    class Refusing:
        async def settle(self, scripts: dict[int, str]) -> Filled:
            assert scripts == {0: "trivial"}
            return Filled(refused={0: "elaboration: line 1: unknown identifier"})

    path = tmp_path / "r.jsonl"
    log = Results(path, ASKED, False)
    task = task_of(0, theorems(1)[0])
    log.add(row_of(task, Found("budget", lean_calls=9)))
    log.add(row_of(task, Found("proved", "trivial", 5), number=1))
    log.close()
    log = Results(path, ASKED, True, retry=True)
    settings = Settings(budget=8, total_budget=FIRST - 1, look=False)
    executor = SmallExecutor(lambda t: "proved")
    rows, *_ = asyncio.run(_attempted({0: task}, {}, settings, log, executor, Refusing()))  # type: ignore[arg-type]
    assert (rows[0]["outcome"], executor.attempts) == ("rejected", 0)
    assert (log.rows[task.key, 0]["outcome"], log.rows[task.key, 0]["lean_calls"]) == ("rejected", 14)
    log.close()


def test_a_load_that_cannot_be_had_once_does_not_end_the_measurements() -> None:
    asked = asyncio.Event()
    loads = 0

    async def load() -> Load:
        nonlocal loads
        loads += 1
        if loads == 4:
            asked.set()
        if loads == 2:
            raise ConnectionError("an actor is lost")
        return Load(1, 0.0, loads, 0)

    async def measure() -> int:
        monitor = ResourceMonitor(load)
        monitor._every = 0.01
        async with monitor:
            await asyncio.wait_for(asked.wait(), 60)
        return len(monitor.samples)

    assert asyncio.run(measure()) >= 2


@pytest.mark.lean
@pytest.mark.parametrize("kind", ["jsonl", "lean"])
def test_a_model_server_that_goes_away_costs_no_proof(kind: str, turnstile: Callable, tmp_path: Path) -> None:
    """Earlier proofs are audited and written before the error is reported."""
    results = tmp_path / "results.jsonl"

    def reply(k: int, body: dict[str, Any]) -> Reply:
        if "marked" in body["prompt"]:
            while '"name": "good"' not in results.read_text():  # until the other proof is found
                time.sleep(0.05)
            return 400, {"error": {"message": "gone"}}
        return completion(["rfl"])

    server = SmallServer(reply)
    try:
        if kind == "jsonl":
            file, out = tmp_path / "x.jsonl", tmp_path / "out.lean"
            rows = [{"name": "good", "statement": ": 2 = 2"}, {"name": "bad", "statement": "(marked : 1 = 3) : 1 = 2"}]
            file.write_text("\n".join(map(json.dumps, rows)))
        else:
            file, out = tmp_path / "x.lean", tmp_path / "out.lean"
            file.write_text("theorem good : 2 = 2 := by sorry\ntheorem bad (marked : 1 = 3) : 1 = 2 := by sorry\n")
        policy = f"{server.address}?template=bfs-prover&retries=0"
        output = ("--out", out, "--results", results)
        done = turnstile("prove", file, "--policy", policy, *output, "--workers", 1, "--no-look")
    finally:
        server.shutdown()
        server.server_close()
    assert done.code == 2 and "gone" in done.err.splitlines()[-1] and "Traceback" not in done.err
    assert "2 = 2 := by\n  rfl" in out.read_text() or "2 = 2 := by rfl" in out.read_text()
