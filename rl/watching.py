"""A round watched: counters at both ends, the attempts between, and what they give reason to say."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from statistics import fmean
from typing import Any

from rl import calibration, metrics, rounds
from rl.alerts import alerts
from rl.fleet import Fleet
from rl.ledger import Ledger
from rl.tracking import Tracker


class RoundWatch:
    """Made when a round begins; `end` measures, remembers, logs and alerts."""

    def __init__(self, r: int, fleet: Fleet, ledger: Ledger, tracker: Tracker, known: Collection[str]) -> None:
        self.r, self.fleet, self.ledger, self.tracker = r, fleet, ledger, tracker
        self.known = set(known)
        self.before = fleet.counters()
        self.began = time.monotonic()

    def end(self, learner: Callable[[], Mapping[str, float]], validate: Callable[[], None]) -> None:
        """Measure the round's attempts, then call `learner`, which learns and gives its metrics, and `validate`, which tries what
        was learned and leaves its attempts in the ledger; say what is worth saying.

        A resumed round is measured over the attempts of all its starts, with the time and the counters of the last alone.
        """
        seconds = time.monotonic() - self.began
        after = self.fleet.counters()
        attempts = list(self.ledger.attempts(f"round {self.r}"))
        found = metrics.solve_rates(attempts, "train")
        found |= metrics.of_attempts(attempts, self.known, seconds)
        found |= metrics.of_lean(self.before.provers, after.provers, seconds)
        found |= metrics.of_model(self.before.server, after.server, seconds)
        found |= metrics.staleness(attempts, self.r - 1)
        found |= metrics.queues({"audits": round(self.fleet.longest_audit_queue), "model": round(after.waiting)})
        found |= metrics.rewards(mean_rewards(a.stats.get("rewards", {}) for a in attempts))
        found |= metrics.pass_rates(
            [(a.stats["rollouts"], a.stats["correct"]) for a in attempts if a.stats.get("rollouts")], "train"
        )
        found |= calibration.metrics(calibration.predictions(attempts))
        learned = {k: v for k, v in learner().items() if v == v}  # without nan: what was not measured
        learning = time.monotonic() - self.began - seconds
        if "search/idle_share" in found:
            found |= metrics.system(seconds, found["search/idle_share"], learning, learned.get("training_seconds", 0.0))
        self.ledger.measure(f"round {self.r}", {**found, **learned})
        validate()
        found |= metrics.solve_rates(self.ledger.attempts(f"validation round {self.r}"), "validation")
        self.tracker.log({"round": self.r, **found, **{f"learner/{k}": v for k, v in learned.items()}})
        for alert in alerts(rounds.history(rounds.figures(self.ledger))):
            self.tracker.alert(alert)


def mean_rewards(all_rewards: Any) -> dict[str, float]:
    """The mean of each reward over the attempts that have it."""
    values: dict[str, list[float]] = {}
    for rewards in all_rewards:
        for name, x in rewards.items():
            values.setdefault(name, []).append(x)
    return {name: fmean(xs) for name, xs in values.items()}
