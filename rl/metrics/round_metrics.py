"""Metrics of a round, from its attempts and the actors' counters before and after it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from prover.solve.ledger import Ledger
from rl.metrics import calibration, compute

if TYPE_CHECKING:
    from rl.actors.fleet import Fleet


class RoundMetrics:
    """Created when a round begins. `collected` computes the metrics of its attempts. `learned` adds the learner's and stores all of them."""

    def __init__(self, r: int, fleet: Fleet, ledger: Ledger, known: Collection[str]) -> None:
        self.r, self.fleet, self.ledger = r, fleet, ledger
        self.known = set(known)
        self.earlier = ledger.done(f"round {r}")
        """Theorems tried in this round before the run was resumed."""
        self.before = fleet.prover_counters(), fleet.server_counters()
        self.began = time.monotonic()
        self.seconds = 0.0
        self.found: dict[str, float] = {}

    def collected(self) -> None:
        """Compute the metrics of the round's attempts, which are all in the ledger.

        Metrics of a resumed round cover all of its attempts; speeds cover those since the last start.
        """
        self.seconds = seconds = time.monotonic() - self.began
        provers, servers = self.fleet.prover_counters(), self.fleet.server_counters()
        attempts = list(self.ledger.attempts(f"round {self.r}"))
        found = compute.solve_rates(attempts, "train")
        found |= compute.of_attempts(attempts, self.known)
        found |= compute.tokens_per_second([a for a in attempts if a.theorem.name not in self.earlier], seconds)
        found |= compute.of_lean(self.before[0], provers, seconds)
        found |= compute.of_model(self.before[1], servers, seconds)
        found |= compute.staleness(attempts, self.r - 1)
        longest = max((p["longest_queue"] for p in provers.values()), default=0)
        found |= {"queue/audits": float(self.fleet.auditors.longest), "queue/model": float(longest)}
        found |= compute.rewards(attempts)
        found |= compute.pass_rates(
            [(a.stats["rollouts"], a.stats["correct"]) for a in attempts if a.stats.get("rollouts")], "train"
        )
        found |= calibration.metrics(calibration.predictions(attempts))
        self.found = found

    def learned(self, metrics: Mapping[str, float], learning: float) -> None:
        """Add the learner's metrics and write all metrics of the round to the ledger. `learning`: seconds from the start of preparation to
        the served version."""
        learned = {k: v for k, v in metrics.items() if v == v}  # nan: not measured
        if (idle := self.found.get("search/idle_share")) is not None:
            training = learned.get("training_seconds", 0.0)
            self.found |= compute.system(self.seconds, idle, learning, training)
        self.ledger.measure(f"round {self.r}", {**self.found, **learned})


def row_of(r: int, ledger: Ledger) -> dict[str, float]:
    """All metrics of round `r`, with its validation."""
    found = {
        name if "/" in name else f"learner/{name}": value
        for _, name, value, _ in ledger.measurements(f"round {r}")
        if value is not None
    }
    return found | compute.solve_rates(ledger.attempts(f"validation round {r}"), "validation")
