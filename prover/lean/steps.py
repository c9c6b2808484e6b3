"""What a Lean process is asked, what it works on, and for how long it may."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from prover.lean import protocol
from prover.lean.theorem import StepResult, StepStatus


class LeanError(Exception):
    """Lean refused a theorem: it does not parse, elaborate, or exist. Says where and why."""


class LeanDied(Exception):
    """A command that was not a step ended the process, or took too long."""

    def __init__(self, why: str, status: StepStatus = "crash", at: int | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.at = at
        """Number of the part of the command that the process worked on, where it tells."""


class Again(Exception):
    """The process ended before it came to this."""


SEARCH_HEARTBEATS = 2000
"""Of a step in runs and benchmarks, in units of `Limits.heartbeats`: see docs/search.md."""
GRACE_S = 1.0
"""How long a step may still run after it was interrupted: the watch looks every 50 ms, and Lean at what it says more often."""

REPLAY_PATIENCE = 2
"""How many times the limits of a step its replay may take: a process that has just started is slower."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one step and one process."""

    heartbeats: int = 20_000
    """In thousands of small allocations, as Lean's `maxHeartbeats`."""
    seconds: float = 10.0
    """Wall-clock time of a step. The embedded Lean is interrupted then; where it does not heed that, GRACE_S later, and native
    Lean at once, the process is replaced."""
    open_seconds: float = 120.0
    """Wall-clock time to start, or to open a theorem or environment."""
    memory_mb: int = 2000
    """Resident MiB, mapped files apart, at which an idle moment is used to replace the process. The embedded Lean has 32-bit
    memory and would die at some 2,300."""
    step_memory_mb: int = 6000
    """As `memory_mb`: the step that runs is ended, and the process replaced at once."""


@dataclass(slots=True)
class Counters:
    """What a server did so far."""

    steps: int = 0
    lean_s: float = 0.0
    """Seconds inside Lean, on steps."""
    busy_s: float = 0.0
    """Seconds during which Lean had something to do."""
    restarts: int = 0
    by_status: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Step:
    number: int
    handle: int
    tactic: str
    future: asyncio.Future[Any]
    """Of a StepResult; of the Answer itself when the step is a replay."""
    replay: bool = False


@dataclass(slots=True, eq=False)
class Command:
    cmd: str
    seconds: float
    future: asyncio.Future[dict[str, Any]]


class Queue:
    """Steps that wait, and what was sent and is not answered: each is answered exactly once."""

    def __init__(self, limits: Limits, counters: Counters, grace_s: float = 0.0) -> None:
        self.limits = limits
        self.grace_s = grace_s
        self.counters = counters
        self.waiting: deque[Step] = deque()
        self.sent: dict[int, Step | Command] = {}
        """In the order in which the process works: the first is what it works on."""
        self._progress = time.monotonic()
        """When the process began with the first of `sent`."""
        self._began = self._progress
        """When it was last idle."""
        self._at: int | None = None
        """As LeanDied.at."""

    def __len__(self) -> int:
        return len(self.waiting) + len(self.sent)

    def expect(self, number: int, item: Step | Command) -> None:
        """It is sent now."""
        if not self.sent:
            self._began = self._progress = time.monotonic()
            self._at = None
        self.sent[number] = item

    def reached(self, at: int) -> None:
        """The command under way came to its part number `at`, which has the command's whole time."""
        self._at = at
        self._progress = time.monotonic()

    def pop(self, answer: protocol.Answer) -> Step | Command | None:
        """What this is the answer to."""
        item = self.sent.pop(answer.id if answer.q is None else answer.q, None)  # type: ignore[arg-type]
        if item is not None:
            self._progress = time.monotonic()
            self._at = None
            if not self.sent:
                self.counters.busy_s += self._progress - self._began
        return item

    def busy_s(self) -> float:
        """Seconds so far with something sent and not answered."""
        return self.counters.busy_s + (time.monotonic() - self._began if self.sent else 0.0)

    def overdue(self) -> str | None:
        """Why the process must end, if what it works on has run over its time."""
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
        """Blame what the process was working on (`why` empty: nobody), and let the rest be sent again."""
        sent, self.sent = list(self.sent.values()), {}
        if sent:
            self.counters.busy_s += time.monotonic() - self._began
        for item in reversed(sent):
            guilty = item is sent[0] and bool(why)
            if isinstance(item, Step) and not item.replay:
                if guilty:
                    self.answer(item, StepResult(status, message=why))
                else:
                    self.waiting.appendleft(item)
            elif not item.future.done():
                item.future.set_exception(LeanDied(why, status, self._at) if guilty else Again())

    def give_up(self, why: str) -> None:
        """Answer everything: there will be no process."""
        for item in [*self.sent.values(), *self.waiting]:
            if isinstance(item, Step) and not item.replay:
                self.answer(item, StepResult("crash", message=why))
            elif not item.future.done():
                item.future.set_exception(LeanDied(why))
        self.sent.clear()
        self.waiting.clear()
