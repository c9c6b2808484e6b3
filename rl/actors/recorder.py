"""The actor that records attempts: outcome, rewards and examples go from the provers to it, and the driver gets a summary."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from prover.logs import ActorLog
from prover.solve.job import Trace
from prover.solve.ledger import Ledger
from rl import rewards, training_examples
from rl.actors.dispatch import Finished, attempt_of, judge
from rl.config import RunConfig


@dataclass(frozen=True)
class Recorded:
    """Summary of a recorded attempt for the driver."""

    outcome: str
    size: int | None = None
    """Number of tactics in its audited proof."""


class RecorderBody:
    """Writes attempts into a run's ledger. Recording an attempt again changes nothing, so a call may be repeated."""

    def __init__(self, config: RunConfig, path: str, lean: str, log: ActorLog | None = None) -> None:
        """`lean`: name of the Lean version, for attempts without a verdict."""
        if log is not None:
            log.open()
        self.config, self.lean = config, lean
        self.ledger = Ledger(Path(path))
        self.best = self.ledger.best_sizes()

    def pid(self) -> int:
        """Its process id, so that a benchmark on this machine can measure it."""
        return os.getpid()

    def record(self, phase: str, r: int, finished: Finished, full: Trace | None = None) -> Recorded:
        """Record a finished task of round `r`, with its outcome, rewards and examples. `full`: its trace with the examples."""
        task, found = finished.task, finished.found
        trace = full or found.trace
        outcome, _, script, verdict = judge(finished)
        proved = outcome == "proved"
        size = trace.stats.get("steps")
        if trace.rollouts and proved:
            size = min(training_examples.size_of(row) for row in trace.rollouts if row["script"] == script)
        weights = rewards.weights(self.config.rewards, r)
        best = self.best.get(task.theorem.name)
        rows: list[training_examples.Row] = []
        if trace.rollouts and task.learn:
            audited = {s: v.verdict for s, v in finished.verdicts.items()}
            allowed = task.turns or task.max_tactics
            rows, parts = training_examples.rollout_rows(task.theorem, trace, audited, weights, allowed, best)
        elif outcome == "error":
            parts = {}  # neither a success nor a failure
        else:
            calls = trace.calls_to_solve if proved and trace.calls_to_solve else found.lean_calls
            parts = rewards.score(
                rewards.AttemptResult(
                    proved, size, best, calls, max(1, task.lean_calls), trace.stats.get("closed", 0.0)
                ),
                weights,
            )
            if task.learn and outcome != "rejected" and task.negated is None:
                rows = training_examples.rows(
                    task.theorem,
                    trace,
                    proved,
                    sum(parts.values()) / weights["proved"],
                    self.config.learn,
                    verdict.premises if verdict else (),
                )
        if proved and size is not None:
            self.best[task.theorem.name] = min(size, best or size)
        stats = {**trace.stats, "calls_allowed": task.lean_calls} | ({"steps": size} if size is not None else {})
        stats |= {"rewards": {n: round(x / weights[n], 4) for n, x in parts.items()}} if task.learn else {}
        if trace.rollouts and task.learn:
            stats |= {"signal": training_examples.has_signal(rows)}
        stats |= {"side": "disprove"} if task.negated is not None else {}
        attempt = attempt_of(phase, finished, self.lean, stats)
        self.ledger.record(attempt, [(kind, {**data, "round": r}) for kind, data in rows])
        return Recorded(outcome, size if proved else None)


RecorderActor = ray.remote(RecorderBody)


def start_recorder(config: RunConfig, path: Path, lean: str, log: ActorLog | None) -> Any:
    """Start the actor on this machine, which has the ledger. Ray restarts it after a death and repeats its calls."""
    return RecorderActor.options(**beside_the_ledger()).remote(config, str(path.absolute()), lean, log)


def beside_the_ledger() -> dict[str, Any]:
    """Options of an actor on this machine that Ray restarts."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return {"num_cpus": 0, "max_restarts": -1, "max_task_retries": 3, "scheduling_strategy": here}
