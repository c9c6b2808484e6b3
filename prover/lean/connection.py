"""LeanConnection: commands to a Lean process that is replaced whenever it dies."""

from __future__ import annotations

import abc
import asyncio
import itertools
from typing import Any

import msgspec

from prover.errors import UserError
from prover.lean import protocol
from prover.lean.process import LeanProcess
from prover.lean.runtime import LeanRuntime
from prover.lean.steps import GRACE_S, Command, Counters, LeanDied, LeanError, Limits, Queue, Resend, Step
from prover.lean.text import names_module
from prover.lean.theorem import StepStatus

_START_ATTEMPTS = 6  # with pauses of 0.1, 0.2, … s between them: over three seconds


class LeanConnection(abc.ABC):
    """One process of the proof server. After its death, another one gets the requests that it did not answer.

    Subclasses send the steps that wait in `_queue` and handle their answers.
    """

    def __init__(self, runtime: LeanRuntime, limits: Limits) -> None:
        self.runtime = runtime
        self.limits = limits
        self.counters = Counters()
        self._process = self._new_process()
        self._generation = -1
        """Counts the processes so far; -1 before the first."""
        self.numbers = itertools.count(1)
        self.queue = Queue(limits, self.counters, GRACE_S if runtime.kind == "embedded" else 0.0)
        self._ready = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._down = ""
        """The reason why no process will run any more; empty while one runs or starts."""
        self._draining = False
        """Whether the process is replaced after it has answered all sent requests."""
        self._steps_at_start = 0

    @abc.abstractmethod
    def _send_steps(self) -> None:
        """Send as many waiting steps as the process accepts now."""

    @abc.abstractmethod
    def _step_answered(self, step: Step, answer: protocol.Answer) -> None: ...

    def _abandoned(self, answer: dict[str, Any]) -> None:
        """Undo a command whose caller was cancelled before it got the answer."""
        return

    async def start(self) -> None:
        """Start the process and wait until it is ready. Raises UserError when it cannot start."""
        await self._spawn()
        self._tasks = [asyncio.create_task(self._read_answers()), asyncio.create_task(self._enforce_limits())]

    def _new_process(self) -> LeanProcess:
        # `_enforce_limits` samples the memory; the system's limit covers the time between two samples.
        return LeanProcess(self.runtime, 2 * self.limits.step_memory_mb)

    async def _spawn(self) -> None:
        self._process = self._new_process()
        await self._process.start(self.limits.open_seconds)
        self._generation += 1
        self._draining = False
        self._steps_at_start = self.counters.steps
        self._ready.set()

    async def close(self) -> None:
        """End the process. Waiting steps answer `crash`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._process.end()
        self._give_up("the server was closed")

    def _give_up(self, why: str) -> None:
        self._down = why
        self.queue.give_up(why)
        self._ready.set()  # wakes `_up`, which then raises

    @property
    def down(self) -> bool:
        """Whether no process will run any more."""
        return bool(self._down)

    async def _up(self) -> None:
        """Wait until the process is ready. Raises LeanDied when none will run."""
        await self._ready.wait()
        if self._down:
            raise LeanDied(self._down)

    async def restart(self) -> None:
        """Replace the process, to release memory that Lean never frees. Open states are restored at their next use."""
        generation = self._generation
        self._process.kill("")
        while self._generation == generation and not self._down:
            await asyncio.sleep(0.02)

    def busy_s(self) -> float:
        """Seconds so far in which Lean had work."""
        return self.queue.busy_s()

    @property
    def load_factor(self) -> int:
        """Number of requests that wait or are in Lean."""
        return len(self.queue)

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def ready_s(self) -> float:
        """Seconds that the last start took."""
        return self._process.ready_s

    def rss_mb(self) -> float:
        """Resident memory of the process, in MiB (0 when it is down)."""
        return self._process.rss_mb()

    def own_mb(self) -> float:
        """Resident memory without mapped files, in MiB. `memory_mb` and `step_memory_mb` limit this."""
        return self._process.own_mb()

    async def command(self, cmd: str, **fields: Any) -> dict[str, Any]:
        """Send a command and wait for its answer. It is sent again if the process dies before it reaches the command.

        Raises LeanError for an `error` answer, LeanDied if the command killed the process or took too long.
        """
        for name in (*fields.get("imports", ()), *(before["module"] for before in fields.get("before", ()))):
            if not names_module(name):  # native Lean would open a file anywhere
                raise LeanError(f"{name!r} is not a module name")
        while True:
            await self._up()
            number = next(self.numbers)
            future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            seconds = self.limits.open_seconds * (1 + len(fields.get("before", ())))
            self.queue.expect(number, Command(cmd, seconds, future))
            self._process.write({"id": number, "cmd": cmd, **fields})
            try:
                answer = await future
                break
            except Resend:
                continue
            except asyncio.CancelledError:  # perhaps after the answer came
                if future.done() and not future.cancelled() and future.exception() is None:
                    self._abandoned(future.result())
                raise
        if (error := answer.get("error")) is not None:
            raise LeanError(str(error))
        return answer

    async def _read_answers(self) -> None:
        """Handle answers until the process ends, then start another; repeat."""
        try:
            while True:
                try:
                    answer, line = await self._process.read()
                except (EOFError, ConnectionError):
                    await self._recover()
                    continue
                if answer.at is not None:
                    self.queue.reached(answer.at)
                    continue
                item = self.queue.pop(answer)
                if item is None:
                    continue
                if isinstance(item, Step):
                    self._step_answered(item, answer)
                elif not item.future.done():
                    item.future.set_result(msgspec.json.decode(line))
                else:
                    self._abandoned(msgspec.json.decode(line))
                self._send_steps()
        except UserError as e:
            self._give_up(str(e))

    async def _recover(self) -> None:
        """Fail the request that the process was working on when it died, start another process, and send the other requests again."""
        self._ready.clear()
        dead = self._process
        ending = "" if dead.killed_for is not None else await dead.ending()
        await dead.end()
        status: StepStatus = "crash"
        why = dead.killed_for
        if why:
            status = dead.killed_as
        elif why is None:
            status = "memory" if dead.out_of_memory else "crash"
            why = f"the Lean process died: {' | '.join(filter(None, (ending, dead.last_output)))}"
        self.queue.process_died(status, why)
        self.counters.restarts += 1
        for attempt in range(_START_ATTEMPTS):
            try:
                await self._spawn()
                break
            except UserError:
                if attempt == _START_ATTEMPTS - 1:
                    raise
                await asyncio.sleep(0.1 * 2**attempt)
        self._send_steps()

    async def _enforce_limits(self) -> None:
        """Kill the process when a request exceeds its time limit or the process its memory limit."""
        while True:
            await asyncio.sleep(min(0.25, self.limits.seconds / 4))
            if not self._ready.is_set():
                continue
            if (why := self.queue.overdue()) is not None:
                self._process.kill(why)
            elif self._draining and not self.queue.sent:
                self._process.kill("")
            own = self._process.own_mb()
            if own > self.limits.step_memory_mb and self.queue.sent:
                self._process.kill(f"over {self.limits.step_memory_mb} MB", "memory")
            # Not soon after a start: if the open states need this much memory, replaying them would never end.
            elif own > self.limits.memory_mb and self.counters.steps - self._steps_at_start > 1000:
                self._draining = True
