"""The driver's work between two rounds of a run that has many stored attempts."""

from __future__ import annotations

import itertools
import json
import resource
import sqlite3
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from curricula.library import split_of
from prover.lean.theorem import Theorem
from prover.solve.job import Found, Trace
from prover.solve.ledger import Ledger, theorem_json
from rl.actors.dispatch import Finished
from rl.actors.recorder import RecorderBody
from rl.config import RunConfig
from rl.curriculum import Curriculum
from rl.metrics import rounds as of_rounds
from rl.metrics.alerts import alerts
from rl.metrics.round_metrics import RoundMetrics, row_of

STATS = {
    "nodes": 40,
    "edges": 160,
    "errors": {"error": 90, "timeout": 2},
    "lean_s": 2.5,
    "model_s": 1.0,
    "own_s": 0.2,
    "neither_s": 0.1,
    "model_tokens": 4000,
    "entropy": 1.5,
    "closed": 0.3,
    "steps": 3,
    "calls_allowed": 64,
    "rewards": {"proved": 1.0},
    "values": [[0.5, 3]] * 16,
}


def store(path: Path, theorems: int, rounds: int) -> list[Theorem]:
    """Write the ledger of a run that tried every theorem in every round. Returns the theorems."""
    names = (name for name in (f"stored_{i}" for i in itertools.count()) if split_of(name) == "train")
    chosen = [Theorem(n, "(n : Nat) : n + 1 = 1 + n", source=f"set:{i}") for i, n in enumerate(islice(names, theorems))]
    specs, stats = [theorem_json(t) for t in chosen], json.dumps(STATS)

    def rows() -> Iterator[tuple[Any, ...]]:
        for r in range(1, rounds + 1):
            for i, t in enumerate(chosen):
                proved = (i * 7919 + r * 104729) % 10 < 4
                outcome, calls, script = ("proved", 9, "omega") if proved else ("budget", None, None)
                yield (
                    f"round {r}",
                    t.name,
                    specs[i],
                    outcome,
                    64,
                    calls,
                    4.0,
                    script,
                    "",
                    "[]",
                    "[]",
                    r - 1,
                    "",
                    stats,
                    0.0,
                )

    ledger = Ledger(path)
    for r in range(1, rounds + 1):
        ledger.set(f"learned {r}", {"version": r})
        row = {
            "round": r,
            "solve/train/all/rate": 0.4,
            "solve/train/all/of": float(theorems),
            "outcome/proved": 0.4 * theorems,
        }
        ledger.log(f"round {r}", row)
    ledger.close()
    db = sqlite3.connect(path)
    with db:
        db.executemany(
            "insert into attempts (phase, theorem, spec, outcome, lean_calls, calls_to_solve, seconds, script, reason, axioms, premises,"
            " model_version, lean, stats, at) values (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            rows(),
        )
    db.close()
    return chosen


def bench_bookkeeping(folder: Path, attempts: int, rounds: int = 100) -> dict[str, Any]:
    """`start_cpu_s`: processor seconds of a resumed run for reading the ledger once. `round_s`, `round_cpu_s`: wall and processor seconds for
    the plan of a further round, its metrics, its row in the curves and the alerts, without recording its attempts. `memory_mb`: maximum
    resident MiB of this process."""
    path = folder / "ledger.sqlite"
    theorems = store(path, max(1, attempts // rounds), rounds)
    config = RunConfig()
    ledger = Ledger(path)
    began = time.process_time()
    ledger.best_sizes()
    ledger.training_calls()
    curriculum = Curriculum(config, theorems, ledger)
    curriculum.read(rounds + 1)
    started = time.process_time() - began
    r = rounds + 1
    began, cpu = time.monotonic(), time.process_time()
    tasks = curriculum.tasks(r, "model", {}, True)
    fleet: Any = SimpleNamespace(prover_counters=dict, server_counters=dict, auditors=SimpleNamespace(longest=0))
    measured = RoundMetrics(r, fleet, ledger, curriculum.known)
    planned, planned_cpu = time.monotonic() - began, time.process_time() - cpu
    recorder = RecorderBody(config, str(path), "simulated")
    for task in tasks:
        found = Found("budget", "", task.lean_calls, 4.0, trace=Trace(stats=STATS))
        recorder.record(f"round {r}", r, Finished(task, found, {}))
    began, cpu = time.monotonic(), time.process_time()
    measured.collected()
    measured.learned({"training_seconds": 1.0}, 1.0)
    ledger.log(f"round {r}", {"round": r, **row_of(r, ledger)})
    alerts(of_rounds.history(of_rounds.of_rows(ledger.rounds())))
    curriculum.read(r + 1)
    return {
        "stored": attempts,
        "attempts_of_the_round": len(tasks),
        "start_cpu_s": round(started, 2),
        "round_s": round(planned + time.monotonic() - began, 2),
        "round_cpu_s": round(planned_cpu + time.process_time() - cpu, 2),
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
