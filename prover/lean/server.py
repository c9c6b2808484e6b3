"""LeanServer: one Lean process at a time. Open, step, free; restart and replay.

A process death is an ordinary event: it costs the step that caused it. States are remembered by how they were made, so
after a restart a state comes back when it is next used, by replaying its tactics from the theorem.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from prover.errors import UserError
from prover.lean import protocol
from prover.lean.process import LeanProcess
from prover.lean.project import SourceModule
from prover.lean.replay import Handles, Made
from prover.lean.runtime import LeanRuntime, find_runtime
from prover.lean.steps import (
    GRACE_S,
    REPLAY_PATIENCE,
    Again,
    Command,
    Counters,
    LeanDied,
    LeanError,
    Limits,
    Queue,
    Step,
)
from prover.lean.text import names_module
from prover.lean.theorem import ProofState, StepResult, StepStatus, Theorem

__all__ = ["WHOLE_LIBRARY", "Counters", "LeanDied", "LeanError", "LeanServer", "Limits", "statement_source"]

WHOLE_LIBRARY = ("Init", "Std")
"""Imports of the environment that library theorems are looked up in."""

_STARTS = 6  # attempts at a replacement, over three seconds and more


class LeanServer:
    """One Lean process behind an async interface. Use as an async context manager.

    Steps may be awaited concurrently: they are sent in batches and answered one by one. `open` raises LeanError when Lean
    refuses the theorem; `step` never raises for what a tactic does: see StepResult.status.
    """

    WINDOW = 32  # steps on the pipe at once: enough to keep Lean busy, few enough to lose to a crash

    def __init__(
        self,
        runtime: LeanRuntime | None = None,
        limits: Limits | None = None,
        constants: bool = False,
        terse: bool = False,
    ) -> None:
        self.runtime = runtime or find_runtime()
        self.limits = limits or Limits()
        self.constants = constants
        self.terse = terse  # leave error messages out of answers: printing them costs as much as many a tactic
        self.counters = Counters()
        self._process = self._new_process()
        self._generation = -1
        self.handles = Handles()
        self.numbers = itertools.count(1)
        self.queue = Queue(self.limits, self.counters, GRACE_S if self.runtime.kind == "embedded" else 0.0)
        self._unwanted: tuple[list[int], list[int]] = ([], [])
        """States and theorems of this process to free with the next message."""
        self._replaying = asyncio.Lock()
        self._ready = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._down = ""
        """Why there is no process and will be none."""
        self._tired = False
        self._steps_at_start = 0

    async def __aenter__(self) -> LeanServer:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # -- the process -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the process and wait until it is ready. Raises UserError when it cannot start."""
        await self._spawn()
        self._tasks = [asyncio.create_task(self._pump()), asyncio.create_task(self._watch())]

    def _new_process(self) -> LeanProcess:
        return LeanProcess(
            self.runtime, 2 * self.limits.step_memory_mb
        )  # memory is looked at now and then: this is for between

    async def _spawn(self) -> None:
        self._process = self._new_process()
        await self._process.start(self.limits.open_seconds)
        self._generation += 1
        self._unwanted = ([], [])
        self._tired = False
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
        self._ready.set()  # whoever waits for it finds `_down`

    @property
    def down(self) -> bool:
        """Whether there will be no process any more."""
        return bool(self._down)

    async def _up(self) -> None:
        """Wait until the process is ready. Raises LeanDied when there will be none."""
        await self._ready.wait()
        if self._down:
            raise LeanDied(self._down)

    async def restart(self) -> None:
        """Replace the process: memory that Lean never gives back. Open states come back when next used."""
        generation = self._generation
        self._process.kill("")
        while self._generation == generation and not self._down:
            await asyncio.sleep(0.02)

    def busy_s(self) -> float:
        """Seconds so far during which Lean had something to do."""
        return self.queue.busy_s()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def version(self) -> str:
        return self._process.version

    @property
    def ready_s(self) -> float:
        """Seconds that the last start took."""
        return self._process.ready_s

    def rss_mb(self) -> float:
        """Resident memory of the process, in MiB (0 when it is down)."""
        return self._process.rss_mb()

    def own_mb(self) -> float:
        """Resident memory without mapped files, in MiB: what `memory_mb` and `step_memory_mb` limit."""
        return self._process.own_mb()

    async def _pump(self) -> None:
        """Read answers until the process ends, then start it again."""
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
                    item.future.set_result(protocol.raw(line))
                self._send_steps()
        except UserError as e:
            self._give_up(str(e))

    async def _recover(self) -> None:
        """Blame what the process was working on, start another, and send the rest again."""
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
            why = f"the Lean process died: {' | '.join(filter(None, (ending, dead.last_words)))}"
        self.queue.process_died(status, why)
        self.counters.restarts += 1
        for attempt in range(_STARTS):
            try:
                await self._spawn()
                break
            except UserError:
                if attempt == _STARTS - 1:
                    raise
                await asyncio.sleep(0.1 * 2**attempt)
        self._send_steps()

    async def _watch(self) -> None:
        """Kill the process when what it works on runs over its time, or when it has grown too large."""
        while True:
            await asyncio.sleep(min(0.25, self.limits.seconds / 4))
            if not self._ready.is_set():
                continue
            if (why := self.queue.overdue()) is not None:
                self._process.kill(why)
            elif self._tired and not self.queue.sent:
                self._process.kill("")
            own = self._process.own_mb()
            if own > self.limits.step_memory_mb and self.queue.sent:
                self._process.kill(f"over {self.limits.step_memory_mb} MB", "memory")
            # Not right after a start: what is open may need that much, and would be replayed for ever.
            elif own > self.limits.memory_mb and self.counters.steps - self._steps_at_start > 1000:
                self._tired = True

    # -- commands ----------------------------------------------------------------------------------------------------

    async def command(self, cmd: str, **fields: Any) -> dict[str, Any]:
        """Send any command and wait for its answer, again if the process died of something else.

        Raises LeanError for an `error` answer, LeanDied if the command killed the process or took too long.
        """
        for name in (*fields.get("imports", ()), *(before["module"] for before in fields.get("before", ()))):
            if not names_module(name):  # native Lean would look for its file wherever that says
                raise LeanError(f"{name!r} is no module's name")
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
            except Again:
                continue
        if (error := answer.get("error")) is not None:
            raise LeanError(str(error))
        return answer

    # -- theorems and states -----------------------------------------------------------------------------------------

    async def open(self, theorem: Theorem) -> ProofState:
        """The theorem's first state. Raises LeanError, naming line and column, when Lean refuses it."""
        if theorem.library is not None:
            request: dict[str, Any] = {
                "cmd": "library",
                "name": theorem.library,
                "imports": list(theorem.imports),
                "whole": list(WHOLE_LIBRARY),
            }
            answer = await self.command(**request, constants=self.constants)
            state = self._adopt(request, answer)[0][1]
            # Opening introduces what a library statement binds, under readable names: scripts start after that.
            return replace(state, goals=tuple(replace(g, renamed=()) for g in state.goals))
        source = statement_source(theorem)
        states = await self.load(source, theorem.imports, theorem.source or theorem.name)
        if not states:
            raise LeanError(f"{theorem.source or theorem.name}: the statement has no goal")
        await self.free([state for _, state in states[:-1]])  # what the context leaves open
        return states[-1][1]

    async def load(
        self,
        source: str,
        imports: Sequence[str] = ("Init",),
        file: str = "<source>",
        before: Sequence[SourceModule] = (),
    ) -> list[tuple[dict[str, Any], ProofState]]:
        """Elaborate source text and open every `sorry` in it: (where it stands, its state), in source order.

        `before`: modules given as source, each after what it imports; their sorries are not opened. Raises LeanError with
        `file:line:column: message` when the text or one of these has an error.
        """
        request = {"cmd": "load", "source": source, "imports": list(imports), "file": file}
        if before:
            request["before"] = [module.message() for module in before]
        answer = await self.command(**request, constants=self.constants)
        if answer["errors"]:
            e = answer["errors"][0]
            raise LeanError(f"{e['file']}:{e['line']}:{e['column']}: {e['m'].strip()}")
        return self._adopt(request, answer)

    def _adopt(self, request: dict[str, Any], answer: dict[str, Any]) -> list[tuple[dict[str, Any], ProofState]]:
        """Handles for what a command opened."""
        made = Made(request)
        self._reached(made, answer)
        return [(hole, self._state(made, i, hole["states"][0])) for i, hole in enumerate(_opened(answer))]

    def _reached(self, made: Made, answer: dict[str, Any]) -> None:
        opened = _opened(answer)
        if made.handles and len(opened) != len(made.remotes):
            raise LeanError("opening it again gave other states")
        made.remotes = [hole["states"][0]["id"] for hole in opened]
        made.theorems = [hole["thm"] for hole in opened]
        made.generation = self._generation

    def _state(self, made: Made, index: int, message: Any) -> ProofState:
        m = (
            message
            if isinstance(message, protocol.StateMessage)
            else protocol.msgspec.convert(message, protocol.StateMessage)
        )
        return protocol.state(m, self.handles.new(made, index))

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        """Try each tactic on the state: one result each, in order."""
        if self._down:
            return [StepResult("crash", message=self._down) for _ in tactics]
        loop = asyncio.get_running_loop()
        futures = []
        for tactic in tactics:
            future: asyncio.Future[StepResult] = loop.create_future()
            self.queue.waiting.append(Step(next(self.numbers), state.id, tactic, future))
            futures.append(future)
        loop.call_soon(self._send_steps)
        try:
            return list(await asyncio.gather(*futures))
        except asyncio.CancelledError:  # nobody will know these to free them
            await self.free([s for f in futures if not f.cancelled() for s in f.result().states])
            raise

    def write_steps(self, steps: list[list[Any]], patience: int = 1) -> None:
        """Send them, with so many times the limits of a step."""
        message = {"id": 0, "cmd": "step", "steps": steps, "heartbeats": self.limits.heartbeats * 1000 * patience}
        message |= {"ms": int(self.limits.seconds * 1000 * patience), "constants": self.constants, "terse": self.terse}
        self._process.write(message)

    def _send_steps(self) -> None:
        """Send waiting steps, up to the window. States of an earlier process are brought back first."""
        if not self._ready.is_set() or self._down or self._tired:
            return
        waiting = self.queue.waiting
        batch = []
        while waiting and len(self.queue.sent) < self.WINDOW:
            step = waiting[0]
            handle = self.handles.get(step.handle)
            if step.future.done():  # cancelled
                waiting.popleft()
                continue
            if handle is None or handle.freed:
                waiting.popleft()
                self.queue.answer(step, StepResult("error", message="the state was freed"))
                continue
            if handle.made.generation != self._generation:
                if not self._replaying.locked():
                    self._tasks = [t for t in self._tasks if not t.done()]
                    self._tasks.append(asyncio.create_task(self._bring_back(step.handle)))
                break
            waiting.popleft()
            self.queue.expect(step.number, step)
            batch.append([step.number, handle.remote, step.tactic])
        if batch:
            self.write_steps(batch)

    async def _bring_back(self, handle: int) -> None:
        """Replay a state of an earlier process in this one, its ancestors first."""
        async with self._replaying:
            why: Exception | None = None
            for _ in range(3):
                try:
                    await self._up()
                    await self._replay(handle)
                    why = None
                    break
                except (LeanDied, Again) as e:  # another process comes, and may have to do it all again
                    why = e
                except (LeanError, LookupError) as e:
                    why = e
                    break
            if why is not None:
                for step in [s for s in self.queue.waiting if s.handle == handle]:
                    self.queue.waiting.remove(step)
                    self.queue.answer(step, StepResult("crash", message=f"the state could not be replayed: {why}"))
        self._send_steps()

    async def _replay(self, handle: int) -> None:
        chain = self.handles.chain(handle, self._generation)
        for made in chain:
            # Made again for a state that was freed: those beside it are there twice then.
            twice = self.handles.wanted(made) if made.generation == self._generation else []
            if made.request is not None:
                self._reached(made, await self.command(**made.request, constants=self.constants))
            else:
                await self._up()
                future: asyncio.Future[protocol.Answer] = asyncio.get_running_loop().create_future()
                step = Step(next(self.numbers), made.parent, made.tactic, future, replay=True)
                asked = [step.number, self.handles[made.parent].remote, made.tactic]
                self.queue.expect(step.number, step)
                self.write_steps([asked], REPLAY_PATIENCE)
                answer = await future
                if answer.s != "ok" or len(answer.states) != len(made.remotes):
                    raise LeanError(f"replaying `{made.tactic}` gave: {answer.m or answer.s}")
                made.remotes, made.generation = [m.id for m in answer.states], self._generation
            if twice:
                self._free_remote(twice, [])  # not the theorem: states made from the first ones go on in it
        for made in chain:
            self._free_remote(self.handles.unwanted(made), [])

    def _step_answered(self, step: Step, answer: protocol.Answer) -> None:
        self.counters.lean_s += answer.us / 1e6
        if step.future.done():  # cancelled: nobody will free what it made
            self._free_remote([m.id for m in answer.states], [])
        elif step.replay:
            step.future.set_result(answer)
        else:
            made = Made(None, step.handle, step.tactic, [], [m.id for m in answer.states], [], self._generation)
            states = tuple(self._state(made, i, m) for i, m in enumerate(answer.states))
            self.queue.answer(step, protocol.step_result(answer, states))

    async def free(self, states: Sequence[ProofState]) -> None:
        """Forget states. Those that others were made from are kept as a recipe, without memory in Lean."""
        remote = []
        theorems: list[int] = []
        for state in states:
            handle = self.handles.get(state.id)
            if handle is None or handle.freed:
                continue
            handle.freed = True
            if handle.made.generation == self._generation:
                remote.append(handle.remote)
            theorems += self.handles.forget(state.id, self._generation)
        self._free_remote(remote, theorems)

    def _free_remote(self, states: Iterable[int], theorems: Iterable[int]) -> None:
        """Soon, and with whatever else is freed by then."""
        if not any(self._unwanted):
            asyncio.get_running_loop().call_soon(self._send_unwanted)
        self._unwanted[0].extend(states)
        self._unwanted[1].extend(theorems)

    def _send_unwanted(self) -> None:
        (states, theorems), self._unwanted = self._unwanted, ([], [])
        if (states or theorems) and self._ready.is_set() and not self._down:
            self._process.write({"id": 0, "cmd": "free", "states": states, "thms": theorems})

    @property
    def load_factor(self) -> int:
        """How many steps wait or are with Lean."""
        return len(self.queue)


def _opened(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """What a command opened: the holes of a source, or the answer itself for a library theorem."""
    return [hole for hole in answer.get("holes", [answer]) if hole.get("states")]


def statement_source(theorem: Theorem, proof: str = "sorry") -> str:
    """Source text of a theorem with a proof: context, then `theorem NAME STATEMENT := by PROOF`."""
    body = "\n".join("  " + line for line in proof.split("\n"))
    context = theorem.context.rstrip("\n") + "\n\n" if theorem.context.strip() else ""
    statement = theorem.statement or ""
    ends = "\n" if "--" in statement.rpartition("\n")[2] else " "  # not inside its comment
    return f"{context}theorem {theorem.name} {statement}{ends}:= by\n{body}\n"
