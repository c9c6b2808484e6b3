"""Limits, counters and the request queue of a Lean process."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from prover.lean import protocol
from prover.lean.theorem import StepResult, StepStatus


class LeanError(Exception):
    """Lean refused a theorem: it does not parse, elaborate or exist. The message says where and why."""


class LeanDied(Exception):
    """A command (not a step) ended the process or took too long."""

    def __init__(self, why: str, status: StepStatus = "crash", at: int | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.at = at
        """Number of the part of the command that the process was working on, if known."""


class Resend(Exception):
    """The process ended before it reached this request."""


SEARCH_HEARTBEATS = 2000
"""Heartbeats of a step in searches, in units of `Limits.heartbeats`; see docs/search.md."""
SEARCH_SECONDS = 5.0
"""Wall-clock seconds of a step in the searches of `turnstile prove`. Heartbeats do not count the time of big-number arithmetic."""
ENVIRONMENTS = 12
"""Number of environments after which a process is replaced. Lean never releases one, and 32-bit memory holds about 20 of Init's
size."""
GRACE_S = 1.0
"""Seconds that an interrupted step may take to stop. The watch thread polls every 50 ms."""

REPLAY_PATIENCE = 2
"""Factor on the limits of a step when it is replayed: a fresh process is slower."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one step and one process."""

    heartbeats: int = 20_000
    """As Lean's `maxHeartbeats`: thousands of small allocations."""
    seconds: float = 10.0
    """Wall-clock seconds of a step. Then the embedded Lean is interrupted, and its process replaced after another GRACE_S;
    native Lean is replaced at once."""
    open_seconds: float = 120.0
    """Wall-clock seconds to start, or to open a theorem or environment."""
    memory_mb: int = 2000
    """Resident MiB without mapped files at which the process is replaced when idle. The embedded Lean, with 32-bit memory, dies at
    about 2,300."""
    step_memory_mb: int = 6000
    """Like `memory_mb`, but the process is replaced at once and the running step fails."""


@dataclass(slots=True)
class Counters:
    """Totals of a server."""

    steps: int = 0
    lean_s: float = 0.0
    """Seconds inside Lean on steps."""
    busy_s: float = 0.0
    """Seconds in which Lean had work."""
    restarts: int = 0
    by_status: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(slots=True, eq=False)
class Step:
    number: int
    handle: int
    tactic: str
    future: asyncio.Future[Any]
    """Resolves to a StepResult, or to the Answer if this is a replay."""
    replay: bool = False


@dataclass(slots=True, eq=False)
class Command:
    cmd: str
    seconds: float
    future: asyncio.Future[dict[str, Any]]


class Queue:
    """Waiting steps and sent requests. Each is answered exactly once."""

    def __init__(self, limits: Limits, counters: Counters, grace_s: float = 0.0) -> None:
        self.limits = limits
        self.grace_s = grace_s
        self.counters = counters
        self.waiting: deque[Step] = deque()
        self.sent: dict[int, Step | Command] = {}
        """Requests without answer, in the order in which the process works; it works on the first."""
        self._progress = time.monotonic()
        """Time at which the process began with the first of `sent`."""
        self._began = self._progress
        """Time at which `sent` last became non-empty."""
        self._at: int | None = None
        """See LeanDied.at."""

    def __len__(self) -> int:
        return len(self.waiting) + len(self.sent)

    def expect(self, number: int, item: Step | Command) -> None:
        """Record a request that is sent now."""
        if not self.sent:
            self._began = self._progress = time.monotonic()
            self._at = None
        self.sent[number] = item

    def reached(self, at: int) -> None:
        """Note that the current command reached its part `at`. The time limit starts again for each part."""
        self._at = at
        self._progress = time.monotonic()

    def pop(self, answer: protocol.Answer) -> Step | Command | None:
        """The request that this answers, if any."""
        number = answer.id if answer.q is None else answer.q
        item = self.sent.pop(number, None) if number is not None else None
        if item is not None:
            self._progress = time.monotonic()
            self._at = None
            if not self.sent:
                self.counters.busy_s += self._progress - self._began
        return item

    def busy_s(self) -> float:
        """Seconds so far in which a request was sent and not answered."""
        return self.counters.busy_s + (time.monotonic() - self._began if self.sent else 0.0)

    def overdue(self) -> str | None:
        """The reason to kill the process if its current request exceeds its time limit, else None."""
        first = next(iter(self.sent.values()), None)
        if first is None:
            return None
        seconds, grace = first.seconds if isinstance(first, Command) else self.limits.seconds, 0.0
        if isinstance(first, Step):
            seconds, grace = seconds * (REPLAY_PATIENCE if first.replay else 1), self.grace_s
        if time.monotonic() - self._progress <= seconds + grace:
            return None
        return f"over {seconds:g} s" if isinstance(first, Step) else f"`{first.cmd}` took over {seconds:g} s"

    def answer(self, step: Step, result: StepResult) -> None:
        self.counters.steps += 1
        self.counters.by_status[result.status] = self.counters.by_status.get(result.status, 0) + 1
        if not step.future.done():
            step.future.set_result(result)

    def process_died(self, status: StepStatus, why: str) -> None:
        """Fail the request that the process was working on, unless `why` is empty. Send the others again."""
        sent, self.sent = list(self.sent.values()), {}
        if sent:
            self.counters.busy_s += time.monotonic() - self._began
        for item in reversed(sent):
            blamed = item is sent[0] and bool(why)
            if isinstance(item, Step) and not item.replay:
                if blamed:
                    self.answer(item, StepResult(status, message=why))
                else:
                    self.waiting.appendleft(item)
            elif not item.future.done():
                item.future.set_exception(LeanDied(why, status, self._at) if blamed else Resend())

    def give_up(self, why: str) -> None:
        """Fail all requests, because no process will run any more."""
        for item in [*self.sent.values(), *self.waiting]:
            if isinstance(item, Step) and not item.replay:
                self.answer(item, StepResult("crash", message=why))
            elif not item.future.done():
                item.future.set_exception(LeanDied(why))
        self.sent.clear()
        self.waiting.clear()
