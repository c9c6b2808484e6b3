"""Learning from collected rounds while later rounds are collected.

Version r is trained on the examples of round r, from the weights of version r - 1. Collecting round r starts once version
r - 1 - `learn.max_staleness` is served. Learning therefore never uses older attempts, and at most that many rounds wait for the learner.
The ledger stores the state: a run that was killed learns from what was collected, and collects what is missing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ray.exceptions import RayError

from prover.errors import UserError
from prover.solve.ledger import Ledger
from rl.actors.dispatch import POLL_INTERVAL_S
from rl.actors.fleet import Fleet
from rl.actors.preparation import Prepared
from rl.config import RunConfig
from rl.metrics import compute
from rl.metrics.round_metrics import RoundMetrics


class Pipeline:
    """Trains versions in order, one at a time, in the thread that takes the fleet's events."""

    def __init__(
        self, config: RunConfig, ledger: Ledger, fleet: Fleet, preparation: Any, say: Callable[[str], None]
    ) -> None:
        """`preparation`: handle of a PreparationActor."""
        self.config, self.ledger, self.fleet, self.preparation, self.say = config, ledger, fleet, preparation, say
        self.learned = ledger.learned()
        """The newest version that is served."""
        self.held = False
        """Whether a trained version has to wait, because the served one is being measured."""
        self._collected: deque[tuple[int, RoundMetrics]] = deque()
        self._busy = False
        self._began = 0.0
        """When the training of the next version began."""
        self._trained: tuple[int, RoundMetrics, dict[str, float]] | None = None
        """A version that is not served yet."""
        self._last = time.monotonic(), fleet.server_counters()
        """When the last version was served, and the counters of the model servers then."""

    def needed(self, r: int) -> int:
        """The version that must be served before round `r` is collected."""
        first = 0 if r == 1 or self.config.has_model else 1  # the model from scratch is made by the first round
        return max(first, r - 1 - self.config.learn.max_staleness)

    def wait(self, version: int, served: Callable[[], None]) -> None:
        """Return once `version` is served. `served` is called first, and after each new version."""
        served()
        while self.learned < version:
            before = self.learned
            self.fleet.events.take(POLL_INTERVAL_S)
            if self.learned > before:
                served()

    def add(self, r: int, metrics: RoundMetrics) -> None:
        """Learn from the collected round `r`, after the rounds before it."""
        self._collected.append((r, metrics))
        self._start()

    def serve(self) -> None:
        """Serve the trained version, unless it has to wait, and start the next round's training."""
        if self._trained is None or self.held:
            return
        (r, measured, metrics), self._trained = self._trained, None
        self.fleet.publish()
        self.fleet.events.watch(self.preparation.trim.remote(r), lambda future: future.result())
        now, counters = time.monotonic(), self.fleet.server_counters()
        since, before = self._last
        self._last = now, counters
        metrics |= compute.idle(before, counters, now - since, metrics["training_seconds"])
        measured.learned(metrics, now - self._began)
        self.ledger.set(f"learned {r}", {"version": r})
        self.learned = r
        self.held = bool(self.config.eval.validation)
        self._busy = False
        self._start()

    def _start(self) -> None:
        if self._busy or not self._collected:
            return
        self._busy = True
        self._began = time.monotonic()
        r, measured = self._collected.popleft()
        prepared, policy, value = self.preparation.prepare.options(num_returns=3).remote(r)
        self.fleet.events.watch(prepared, lambda future: self._prepared(r, measured, future, policy, value))

    def _prepared(self, r: int, measured: RoundMetrics, future: Future[Any], policy: Any, value: Any) -> None:
        try:
            prepared: Prepared = future.result()
        except RayError as error:
            if isinstance(cause := getattr(error, "cause", None), UserError):
                raise cause from None
            raise
        for line in prepared.said:
            self.say(line)
        self.fleet.models = prepared.models

        def done(metrics: dict[str, float]) -> None:
            self.say(
                f"round {r}: loss {metrics.get('policy_loss', 0):.2f} nats per tactic token, "
                f"{metrics.get('epochs', 0):.1f} epochs, {metrics.get('tokens_per_second', 0):.0f} tokens/s"
            )
            training = prepared.metrics["training_seconds"] + metrics.get("seconds", 0.0)
            self._trained = r, measured, {**metrics, **prepared.metrics, "training_seconds": training}
            self.serve()

        self.fleet.train(policy, value, self.config.learn.seconds, r, done)
