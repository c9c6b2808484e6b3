"""The driver of a large fleet: 1,000 provers of 8 searches each, whose Lean and model are simulated by latencies.

Simulated provers and auditors share processes, but each has its own searches, messages, results and examples. The dispatcher, the auditor
pool and the recorder are those of training. Latencies are those of the training attempts of the demonstration run.
"""

from __future__ import annotations

import asyncio
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import ray

from curricula.library import split_of
from prover.lean.theorem import Theorem, Verdict
from prover.search.examples import Example
from prover.solve.job import Found, Trace
from rl.actors.fleet import Fleet
from rl.actors.recorder import start_recorder
from rl.attempt import Task, split
from rl.config import LearnConfig, ProverConfig, RunConfig

LEAN = (0.001, 0.026, 0.047, 0.063, 0.080, 0.096, 0.131, 0.172, 0.234, 0.324, 1.004)
MODEL = (0.0, 0.0, 0.0001, 0.0001, 0.0006, 0.026, 0.045, 0.066, 0.107, 0.175, 0.609)
"""Deciles of the seconds per Lean call that 787 attempts of the demonstration run spent in Lean and in the model, with 5 searches on
a Lean process."""
AUDIT = (0.05, 0.4)
"""Bounds of the seconds of an audit."""
PROVED = 0.3
"""Share of attempts with a proof to audit."""
EXAMPLES = 16
"""Examples of an attempt, about 9 kB in the ledger."""
PROVERS_PER_PROCESS = 250


def _drawn(deciles: tuple[float, ...], rng: random.Random) -> float:
    k = rng.randrange(len(deciles) - 1)
    return rng.uniform(deciles[k], deciles[k + 1])


def _example(k: int) -> Example:
    text = f"n m : Nat\nh : n = m + {k}\n⊢ " + " + ".join(f"n * {i}" for i in range(40))
    tried = tuple(f"simp [Nat.add_comm, Nat.mul_{i}]" for i in range(8))
    return Example(
        text, text, ("Nat", "HAdd.hAdd"), (), 8, True, False, 2, 1.0, (("omega", 2),), ((tried[0], "error"),), 0
    )


@ray.remote
class _Process:
    """Simulated provers and auditors. `i` is the number of the prover or auditor."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.examples = [_example(k) for k in range(EXAMPLES)]

    async def ready(self, i: int) -> str:
        return "simulated"

    async def use(self, i: int, *models: Any) -> None:
        pass

    async def attempt(self, i: int, task: Task) -> Any:
        seconds = sum(_drawn(LEAN, self.rng) + _drawn(MODEL, self.rng) for _ in range(task.lean_calls))
        await asyncio.sleep(seconds)
        proved = self.rng.random() < PROVED
        stats = {"nodes": 40, "edges": 160, "errors": {"error": 90}, "lean_s": seconds, "closed": 0.3, "steps": 2}
        outcome, script = ("found", "omega") if proved else ("budget", "")
        found = Found(outcome, script, task.lean_calls, seconds, trace=Trace(9, stats, self.examples))
        return split(found, task.learn)

    async def audit(self, i: int, theorem: Theorem, script: str) -> Verdict:
        await asyncio.sleep(self.rng.uniform(*AUDIT))
        return Verdict(theorem.name, "proved")


class _Method:
    """A method of one simulated actor, with the interface of a Ray actor's method."""

    def __init__(self, method: Any, prover: int) -> None:
        self.method, self.prover = method, prover

    def options(self, **options: Any) -> _Method:
        return _Method(self.method.options(**options), self.prover)

    def remote(self, *arguments: Any) -> Any:
        return self.method.remote(self.prover, *arguments)


class _Actor:
    def __init__(self, process: Any, i: int) -> None:
        self.ready, self.use, self.attempt, self.audit = (
            _Method(m, i) for m in (process.ready, process.use, process.attempt, process.audit)
        )


class _Actors:
    """Replaces the actor classes of provers and auditors."""

    def __init__(self, processes: list[Any]) -> None:
        self.processes, self.started = processes, 0

    def options(self, **options: Any) -> _Actors:
        return self

    def remote(self, *arguments: Any) -> _Actor:
        self.started += 1
        return _Actor(self.processes[self.started % len(self.processes)], self.started)


def bench_driver(provers: int, searches: int, calls: int, seconds: float) -> dict[str, Any]:
    """Figures over `seconds` in the steady state, which starts after the mean duration of a search. `attempts_per_minute`. `busy_share`:
    share of time in which the driver did not wait. `cpu_share`: processor time of the driver's process, including Ray's threads, over wall
    time; `recorder_share`: the same for the recorder. `memory_mb`: maximum resident MiB of the driver. `calls`: Lean calls of an attempt,
    which set its duration."""
    config = RunConfig(prover=ProverConfig(provers=provers, concurrent=searches), learn=LearnConfig())
    with tempfile.TemporaryDirectory() as folder:
        processes: list[Any] = []
        kind = _Actors(processes)
        fleet = Fleet(config, Path(folder), lambda text: None, kind, kind, learns=False)
        fleet.connect()
        count = -(-provers // PROVERS_PER_PROCESS)
        at_once = 4 * searches * PROVERS_PER_PROCESS
        processes += [_Process.options(num_cpus=0, max_concurrency=at_once).remote(k) for k in range(count)]
        try:
            fleet.start()
            recorder = start_recorder(config, Path(folder) / "ledger.sqlite", "simulated", None)
            ray.get([recorder.pid.remote(), *(m.ready for m in fleet.members.values())])
            return _measured(fleet, recorder, calls, seconds) | {"provers": provers, "searches": searches}
        finally:
            ray.shutdown()  # Fleet.close would kill the provers as actors, but here they are none


def _measured(fleet: Fleet, recorder: Any, calls: int, seconds: float) -> dict[str, Any]:
    c = fleet.config.prover
    attempt_s = calls * sum(sum(d[k] + d[k + 1] for d in (LEAN, MODEL)) / 2 for k in range(10)) / 10
    wanted = round(c.provers * c.concurrent * (2 + seconds / attempt_s) * 1.5)
    names = (name for name in (f"simulated_{i}" for i in range(3 * wanted)) if split_of(name) == "train")
    tasks = [Task(Theorem(name, ": True"), "explorer", calls, learn=True) for name, _ in zip(names, range(wanted))]
    process = psutil.Process(ray.get(recorder.pid.remote()))
    own = psutil.Process()
    warm = time.monotonic() + attempt_s
    start: tuple[float, float, float, float] | None = None
    done = handled = 0
    for finished in fleet.run(tasks, lambda f, examples: recorder.record.remote("round 1", 1, f, examples)):
        assert finished.recorded.outcome in ("proved", "budget"), finished.found.reason
        now = time.monotonic()
        if start is None:
            if now < warm:
                continue
            start = now, fleet.events.waited, sum(own.cpu_times()[:2]), sum(process.cpu_times()[:2])
            handled = fleet.events.handled
        done += 1
        if now > start[0] + seconds:
            break
    assert start is not None
    spent = time.monotonic() - start[0]
    return {
        "attempts_per_minute": round(60 * done / spent),
        "busy_share": round(1 - (fleet.events.waited - start[1]) / spent, 3),
        "cpu_share": round((sum(own.cpu_times()[:2]) - start[2]) / spent, 3),
        "recorder_share": round((sum(process.cpu_times()[:2]) - start[3]) / spent, 3),
        "events": fleet.events.handled - handled,
        "attempts": done,
        "attempt_s": round(attempt_s, 1),
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
