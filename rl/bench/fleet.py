"""The training system without Lean: scaling of 1, 2 and 4 provers, one driver for many, a round after many stored attempts.

Uses the fleet, actors, searches and explorer of training. Only Lean is simulated: every step takes `LATENCY` and leaves a goal of
the same kind or an error, so that every search uses its whole budget. For Lean's own speed see `turnstile bench lean`.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from prover.errors import UserError
from prover.lean.runtime import LeanRuntime
from prover.lean.theorem import Goal, ProofState, StepResult, Theorem
from rl.actors.fleet import Fleet
from rl.actors.prover import ProverBody
from rl.attempt import Task
from rl.bench import Quick
from rl.bench.bookkeeping import bench_bookkeeping
from rl.bench.driver import bench_driver
from rl.config import LearnConfig, ProverConfig, RunConfig

LATENCY = 0.02
"""Seconds of a simulated step; a step on the embedded Lean takes 5 to 50 ms."""


class SimulatedPool:
    """A pool of one simulated process that answers one step at a time."""

    def __init__(self) -> None:
        self.runtime = LeanRuntime("native", "simulated", ())
        self.ids = itertools.count()
        self.gate = asyncio.Lock()
        self.servers: list[Any] = []
        self.steps = 0
        self.lean_s = 0.0

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def _state(self) -> ProofState:
        i = next(self.ids)
        goal = Goal(f"n : Nat\n⊢ n + {i} = {i} + n", (("n", "Nat"),), f"n + {i} = {i} + n", ("HAdd.hAdd", "Nat"))
        return ProofState(i, f"k{i}", (goal,))

    async def open(self, theorem: Theorem) -> ProofState:
        return self._state()

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        out = []
        for _ in tactics:
            async with self.gate:
                await asyncio.sleep(LATENCY)
            self.steps += 1
            self.lean_s += LATENCY
            ok = self.steps % 4 == 0
            states = (self._state(),) if ok else ()
            order = ((0, 0),) if ok else ()
            out.append(StepResult("ok" if ok else "error", states, order, "" if ok else "simulated", LATENCY))
        return out

    async def free(self, states: Sequence[ProofState]) -> None:
        pass


class _SimulatedProver(ProverBody):
    def _make_pool(self) -> Any:
        return SimulatedPool()

    async def ready(self) -> str:
        await self._start()
        return "simulated"


def bench_fleet(
    *,
    quick: Quick = False,
    provers: int = 1000,
    searches: int = 8,
    calls: int = 256,
    seconds: int = 60,
    stored: int = 1_000_000,
) -> dict[str, Any]:
    """Prints `provers` and `own_share` (see `scaling`), `bookkeeping` and `driver` (see these modules).

    --quick uses 40 provers and 20,000 stored attempts.

    Args:
        provers: simulated provers of one driver. 0: none.
        searches: concurrent searches per prover.
        calls: Lean calls of a search, each with latencies of the demonstration run.
        seconds: measured time in the steady state.
        stored: attempts in the ledger before the measured round. 0: none.
    """
    if min(provers, stored) < 0 or min(searches, calls, seconds) < 1:
        raise UserError("--provers and --stored must be at least 0, --searches, --calls and --seconds at least 1")
    figures: dict[str, Any] = {}
    if stored:
        with tempfile.TemporaryDirectory() as folder:
            figures["bookkeeping"] = bench_bookkeeping(Path(folder), 20_000 if quick else stored)
    figures |= scaling(quick)
    if provers:
        figures["driver"] = bench_driver(*((40, 4, 16, 10) if quick else (provers, searches, calls, seconds)))
    return figures


def scaling(quick: bool) -> dict[str, Any]:
    """`provers`, by number of provers: `calls_per_s`; `efficiency`, the rate divided by the number of provers and by the rate of one;
    `lean_share`, the share of a prover's wall time in the simulated Lean. `own_share`: share of a single prover's wall time outside it."""
    tasks, calls = (8, 32) if quick else (24, 64)
    out: dict[str, Any] = {"latency_s": LATENCY, "provers": {}}
    prover = ray.remote(_SimulatedProver)
    for n in (1, 2, 4):
        config = RunConfig(prover=ProverConfig(provers=n, concurrent=4), learn=LearnConfig(threads=1))
        with tempfile.TemporaryDirectory() as folder:
            fleet = Fleet(config, Path(folder), lambda text: None, prover)
            fleet.start()
            try:
                ray.get([m.ready for m in fleet.members.values()])
                for m in fleet.members.values():
                    m.up = True
                began = time.monotonic()
                todo = [Task(Theorem(f"t{i}", ": True"), "explorer", calls) for i in range(tasks * n)]
                found = [f.found for f in fleet.run(todo)]
                seconds = time.monotonic() - began
            finally:
                fleet.close()
        wrong = [f.reason for f in found if f.outcome != "budget"]
        if wrong:
            raise RuntimeError(f"simulated searches ended early: {wrong[0]}")
        rate = sum(f.lean_calls for f in found) / seconds
        first = out["provers"].get("1", {"calls_per_s": rate})
        out["provers"][str(n)] = {
            "calls_per_s": round(rate, 2),
            "efficiency": round(rate / n / first["calls_per_s"], 3),
            "lean_share": round(rate * LATENCY / n, 3),
        }
    out["own_share"] = round(1 - out["provers"]["1"]["lean_share"], 3)
    return out
