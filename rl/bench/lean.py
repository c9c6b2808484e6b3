"""The proof server: steps per second, overhead, start-up time, memory, cost of a kill.

The workload resembles a search: various tactics on several states, including failures, in batches of 16, with states freed
immediately. The server reports `lean_s` of a step: the time for parsing, tactic, keys and printing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Sequence
from typing import Any

import psutil

from prover.lean.pool import LeanPool
from prover.lean.server import LeanServer
from prover.lean.theorem import ProofState, Theorem
from rl.bench import Quick, compare

BATCH = 16
"""Concurrent steps."""
WARM_UP = 3000
"""Steps of a process before its speed is measured: by then V8 has compiled most of Lean (docs/experiments/2026-11-28-two-processes.md)."""

WORK: tuple[tuple[str, str], ...] = (
    ("(p q r : Prop) (h : p ∧ q) (hr : r) : (q ∧ p) ∧ r", "constructor | cases h | simp_all | exact h | tauto_"),
    ("(a b c : Nat) (h : a < b) (k : b < c) : a + 1 < c + 1", "omega | grind | simp | exact h | induction a"),
    (
        "(xs ys : List Nat) : (xs ++ ys).length = ys.length + xs.length",
        "simp | induction xs | cases xs | grind | omega",
    ),
    (": ∀ n m : Nat, n ≤ m → n * n ≤ m * m", "intro n m h | intros | grind | exact fun _ _ h => Nat.mul_le_mul h h"),
    ("(f : Nat → Nat) (h : ∀ x, f x = x) : f (f 2) = 2", "rw [h] | simp [h] | grind | apply h | exact h 2"),
    ("(x : Nat) (h : x ∈ [1, 2, 3]) : x < 4", "simp at h | omega | cases h | rcases h with _ ‖ h | exact Nat.lt_of_le"),
    ("(α : Type) (s : α) : ∃ x : α, x = s", "exists s | exact ⟨s, rfl⟩ | constructor | refine ⟨?_, ?_⟩ | simp"),
    ("(p q : Prop) : p ∨ q → q ∨ p", "intro h | rintro (h ‖ h) | exact Or.comm.1 | grind | intro (h : p)"),
)
"""Statements with tactics, some of which succeed, some close the goal, and some fail. `|` separates tactics; `‖` stands for `|`."""


async def _open_all(lean: LeanServer | LeanPool) -> list[tuple[ProofState, list[str]]]:
    opened = []
    for i, (statement, tactics) in enumerate(WORK):
        state = await lean.open(Theorem(f"bench_{i}", statement))
        opened.append((state, [t.replace("‖", "|") for t in tactics.split(" | ")]))
    return opened


def _rounds(opened: list[tuple[ProofState, list[str]]]) -> list[tuple[ProofState, str]]:
    """Every (state, tactic) once, alternating between states."""
    longest = max(len(tactics) for _, tactics in opened)
    return [(state, tactics[i]) for i in range(longest) for state, tactics in opened if i < len(tactics)]


class _Worker:
    """Runs concurrent steps, frees their states, and counts steps and time."""

    def __init__(self, lean: LeanServer | LeanPool, opened: list[tuple[ProofState, list[str]]]) -> None:
        self.lean = lean
        self.work = _rounds(opened)
        self.at = 0
        self.steps = 0
        self.lean_s = 0.0

    async def one(self) -> None:
        state, tactic = self.work[self.at % len(self.work)]
        self.at += 1
        [result] = await self.lean.step(state, [tactic])
        self.steps += 1
        self.lean_s += result.lean_s
        await self.lean.free(result.states)

    async def batches(self, steps: int) -> float:
        """Seconds for `steps` steps in batches of BATCH, awaiting each batch."""
        began = time.perf_counter()
        for _ in range(-(-steps // BATCH)):
            await asyncio.gather(*(self.one() for _ in range(BATCH)))
        return time.perf_counter() - began

    async def stream(self, steps: int, in_flight: int) -> float:
        """Seconds for `steps` steps with `in_flight` always running."""
        left = steps

        async def lane() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await self.one()

        began = time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(in_flight)))
        return time.perf_counter() - began


async def _started(starts: int) -> list[float]:
    """Start-up seconds of `starts` processes, after one that warms the file cache."""
    seconds = []
    for _ in range(starts + 1):
        began = time.perf_counter()
        async with LeanServer():
            seconds.append(time.perf_counter() - began)
    return seconds[1:]


def _cpu_s(pids: Sequence[int]) -> tuple[float, float]:
    """(processor seconds of the first threads of processes, which run Lean; those of all other threads)."""
    first, others = 0.0, 0.0
    for pid in pids:
        for thread in psutil.Process(pid).threads():
            seconds = thread.user_time + thread.system_time
            first, others = (first + seconds, others) if thread.id == pid else (first, others + seconds)
    return first, others


async def _throughput(processes: int, steps: int, warm_up: int) -> tuple[float, dict[str, float], LeanPool]:
    """Steps per second with `processes` processes, each working on all statements, and processor milliseconds a step."""
    async with LeanPool(processes) as pool:
        workers = [_Worker(server, await _open_all(server)) for server in pool.servers]
        for worker in workers:
            await worker.stream(warm_up, BATCH)
        pids = [server.pid for server in pool.servers if server.pid is not None]
        before = (time.process_time(), *_cpu_s(pids))
        began = time.perf_counter()
        await asyncio.gather(*(worker.stream(steps // processes, BATCH) for worker in workers))
        rate = steps / (time.perf_counter() - began)
        spent = [now - then for now, then in zip((time.process_time(), *_cpu_s(pids)), before, strict=True)]
        cpu = {
            part: round(1000 * s / steps, 3) for part, s in zip(("client", "lean", "lean_threads"), spent, strict=True)
        }
        return rate, cpu, pool


async def _overhead_and_growth(steps: int, long_run: int) -> dict[str, Any]:
    """With one process: client time over Lean time on awaited batches, then memory growth over a long run."""
    async with LeanServer() as server:
        rss = server.rss_mb()
        opened = await _open_all(server)
        first_environment = server.rss_mb()
        worker = _Worker(server, opened)
        await worker.batches(2 * len(worker.work))
        before = worker.lean_s
        wall = await worker.batches(steps)
        ratio = wall / (worker.lean_s - before)
        at_start = server.rss_mb()
        restarts = server.counters.restarts
        peak = at_start
        for _ in range(20):  # take the peak, because memory is small after a restart
            await worker.stream(long_run // 20, BATCH)
            peak = max(peak, server.rss_mb())
        return {
            "overhead_ratio": round(ratio, 4),
            "rss_mb": round(rss, 1),
            "rss_mb_after_first_environment": round(first_environment, 1),
            "rss_mb_after_steps": round(server.rss_mb(), 1),
            "rss_growth": round(peak / at_start - 1, 4),
            "growth_steps": long_run,
            "restarts": server.counters.restarts - restarts,
            "answers": dict(server.counters.by_status),
        }


async def _kill_cost(batches: int) -> dict[str, Any]:
    """Cost of SIGKILL in the middle of a batch compared with an undisturbed batch (medians), and answers that differ."""
    undisturbed, killed, lost = [], [], 0
    async with LeanServer() as server:
        opened = await _open_all(server)
        work = _rounds(opened)[: 2 * BATCH]

        async def batch(kill_after: float | None) -> tuple[float, list[str]]:
            began = time.perf_counter()
            steps = [asyncio.create_task(server.step(state, [tactic])) for state, tactic in work]
            if kill_after is not None:
                await asyncio.sleep(kill_after)
                if server.pid is not None:
                    os.kill(server.pid, signal.SIGKILL)
            results = [result for [result] in await asyncio.gather(*steps)]
            await server.free([state for result in results for state in result.states])
            return time.perf_counter() - began, [result.status for result in results]

        _, expected = await batch(None)
        for _ in range(batches):
            seconds, _ = await batch(None)
            undisturbed.append(seconds)
            seconds, statuses = await batch(seconds / 2)
            killed.append(seconds)
            # Only the step that was running may answer `crash`.
            lost += sum(got not in (want, "crash") for got, want in zip(statuses, expected, strict=True))
            lost += max(0, statuses.count("crash") - 1)
    return {"kill_cost_s": round(statistics.median(killed) - statistics.median(undisturbed), 3), "answers_lost": lost}


async def _measure(quick: bool) -> dict[str, Any]:
    steps = 320 if quick else 4000
    figures: dict[str, Any] = {"ready_s": round(statistics.median(await _started(1 if quick else 3)), 3)}
    rates, cpu = {}, {}
    for n in (1, 2):
        rates[n], cpu[str(n)], pool = await _throughput(n, steps * n, 160 if quick else WARM_UP)
        figures["lean"] = pool.runtime.name
    figures["steps_per_s"] = {str(n): round(rate, 2) for n, rate in rates.items()}
    figures["cpu_ms_a_step"] = cpu
    if not quick:
        figures["scaling_2"] = round(rates[2] / rates[1], 3)
    figures |= await _overhead_and_growth(steps, 1_000 if quick else 50_000)
    figures |= await _kill_cost(1 if quick else 5)
    figures["cores"] = os.cpu_count()
    figures["quick"] = quick
    figures["expected"] = expected(figures)
    return figures


def expected(figures: dict[str, Any]) -> dict[str, str]:
    """Limits of the figures on 2 idle cores, and whether they are met."""
    limits = {
        "scaling_2": (">=", 1.8),
        "overhead_ratio": ("<=", 1.10),
        "ready_s": ("<=", 12.0),
        "rss_mb_after_steps": ("<=", 1600.0),
        "rss_growth": ("<", 0.10),
        "kill_cost_s": ("<=", figures["ready_s"]),
        "answers_lost": ("<=", 0),
    }
    return compare(figures, limits)


def bench_lean(*, quick: Quick = False) -> dict[str, Any]:
    """Figures of the Lean environment on this machine, by key.

    `steps_per_s`: by number of processes. `cpu_ms_a_step`: processor time of the client, of Lean's first threads and of its other
    threads, where the embedded Lean's WebAssembly is compiled, by number of processes. `scaling_2`: rate of two processes over that of
    one, after WARM_UP steps of each; absent with `quick`, whose processes are still compiling. `overhead_ratio`: client time over Lean
    time, on batches of 16. `ready_s`: median start-up seconds with a warm file cache. `rss_mb`: resident MiB of a ready process;
    also `rss_mb_after_first_environment` and `rss_mb_after_steps`. `rss_growth`: relative growth to the peak during `growth_steps`
    steps; `restarts` in these. `kill_cost_s`: cost of SIGKILL in a batch of 32; `answers_lost`: its missing or different answers.
    `expected`: limits, and whether they are met.
    """
    return asyncio.run(_measure(quick))
