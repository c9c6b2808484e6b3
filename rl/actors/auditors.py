"""The auditors of a fleet, spread over its machines."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ray.exceptions import ActorUnavailableError

from prover.lean.theorem import Theorem
from rl.actors.events import Events, Handler

PROVERS_PER_AUDITOR = 8
RETRY_INTERVAL_S = 5.0
"""Seconds until an auditor that is not reachable is asked again."""
MAX_RETRIES = 60
"""Maximum number of such retries. By then, Ray gives up a machine that is cut off and starts its auditor on another one."""


class Auditors:
    """Sends each proof to the auditor with the fewest open audits. Ray restarts auditors that die and repeats their audits."""

    def __init__(self, start: Callable[[int], Any], events: Events, each: int) -> None:
        """`start`: starts the auditor with a given number. `each`: maximum number of proofs that wait for one auditor."""
        self.waiting = 0
        self.longest = 0
        """Maximum of `waiting` since this was last set to 0."""
        self._start, self._events, self._each = start, events, each
        self.actors: list[Any] = []
        self._open: list[int] = []

    def grow(self, provers: int) -> None:
        """Have one auditor for every `PROVERS_PER_AUDITOR` provers, and at least one."""
        for k in range(len(self.actors), max(1, -(-provers // PROVERS_PER_AUDITOR))):
            self.actors.append(self._start(k))
            self._open.append(0)

    @property
    def full(self) -> bool:
        """Whether too many proofs wait for another search to start."""
        return self.waiting >= self._each * len(self.actors)

    def audit(self, theorem: Theorem, script: str, handler: Handler) -> None:
        """Have a proof audited. `handler` receives the verdict, or Ray's error after repeated deaths of the auditor."""
        k = min(range(len(self.actors)), key=self._open.__getitem__)
        retries = 0

        def ask() -> None:
            self._events.watch(self.actors[k].audit.remote(theorem, script), done)

        def done(future: Future[Any]) -> None:
            nonlocal retries
            if isinstance(future.exception(), ActorUnavailableError) and retries < MAX_RETRIES:
                retries += 1
                again = threading.Timer(RETRY_INTERVAL_S, ask)
                again.daemon = True
                again.start()
                return
            self._open[k] -= 1
            self.waiting -= 1
            handler(future)

        self._open[k] += 1
        self.waiting += 1
        self.longest = max(self.longest, self.waiting)
        ask()
