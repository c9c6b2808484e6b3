"""LeanServer: one Lean process. Open, step, free; limits; restart and replay.

A process death is an ordinary event: it costs the step that caused it. States are remembered by how they were made, so
after a restart a state comes back when it is next used, by replaying its tactics from the theorem.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import secrets
import signal
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from prover.errors import UserError
from prover.lean import protocol
from prover.lean.runtime import LeanRuntime, find_runtime
from prover.lean.snapshot import limit_stack
from prover.lean.theorem import ProofState, StepResult, StepStatus, Theorem

WHOLE_LIBRARY = ("Init", "Std")
"""Imports of the environment that library theorems are looked up in."""

_handles = itertools.count(1)
_STARTS = 6  # attempts at a replacement, over three seconds and more
_OUT_OF_MEMORY = re.compile(r"out of memory|OOM|enlarge memory|heap limit", re.IGNORECASE)


class LeanError(Exception):
    """Lean refused a theorem: it does not parse, elaborate, or exist. Says where and why."""


class LeanDied(Exception):
    """A command that was not a step ended the process, or took too long."""


class _Again(Exception):
    """The process ended before it came to this."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one step and one process."""

    heartbeats: int = 20_000
    """In thousands of small allocations, as Lean's `maxHeartbeats`."""
    seconds: float = 10.0
    """Wall-clock time of a step, after which the process is killed."""
    open_seconds: float = 120.0
    """Wall-clock time to start, or to open a theorem or environment."""
    memory_mb: int = 3500
    """Resident size at which an idle moment is used to restart the process."""


@dataclass(slots=True, eq=False)
class _Made:
    """States that came of one tactic, or of opening a theorem or a source: they come back together."""

    request: dict[str, Any] | None = None
    """The command that opened them; None: `tactic` on the state `parent` made them."""
    parent: int = 0
    tactic: str = ""
    handles: list[int] = field(default_factory=list)
    remotes: list[int] = field(default_factory=list)
    """What the states are called in the process of `generation`, by index."""
    theorems: list[int] = field(default_factory=list)
    generation: int = -1


@dataclass(slots=True)
class _Handle:
    """A state as its user knows it."""

    made: _Made
    index: int
    children: int = 0
    """How many states were made from it that are still known."""
    freed: bool = False

    @property
    def remote(self) -> int:
        return self.made.remotes[self.index]


@dataclass(slots=True, eq=False)
class _Step:
    number: int
    handle: int
    tactic: str
    future: asyncio.Future[Any]
    """Of a StepResult; of the Answer itself when the step is a replay."""
    replay: bool = False


@dataclass(slots=True, eq=False)
class _Command:
    cmd: str
    seconds: float
    future: asyncio.Future[dict[str, Any]]


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


class LeanServer:
    """One Lean process behind an async interface. Use as an async context manager.

    Steps may be awaited concurrently: they are sent in batches and answered one by one. `open` raises LeanError when Lean
    refuses the theorem; `step` never raises for what a tactic does: see StepResult.status.
    """

    WINDOW = 32  # steps on the pipe at once: enough to keep Lean busy, few enough to lose to a crash

    def __init__(
        self, runtime: LeanRuntime | None = None, limits: Limits | None = None, constants: bool = False, terse: bool = False
    ) -> None:
        self.runtime = runtime or find_runtime()
        self.limits = limits or Limits()
        self.constants = constants
        self.terse = terse  # leave error messages out of answers: printing them costs as much as many a tactic
        self.counters = Counters()
        self.version = ""
        self.ready_s = 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._generation = -1
        self._nonce = b""
        self._handles: dict[int, _Handle] = {}
        self._numbers = itertools.count(1)
        self._waiting: deque[_Step] = deque()
        self._sent: dict[int, _Step | _Command] = {}
        """What the process has not answered yet, in the order in which it works: the first is what it works on."""
        self._replaying = asyncio.Lock()
        self._ready = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._progress = time.monotonic()
        """When the process began with the first of `_sent`."""
        self._began = self._progress
        """When it was last idle."""
        self._noise: deque[str] = deque(maxlen=20)
        self._down = ""
        """Why there is no process and will be none."""
        self._killed_for: str | None = None
        """Why it was killed: a limit; empty: nobody's fault; None: it was not."""
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

    async def _spawn(self) -> None:
        began = time.monotonic()
        self._nonce = secrets.token_hex(16).encode()
        self._noise.clear()

        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.runtime.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=self.runtime.env,
                cwd=self.runtime.cwd,
                limit=2**28,
                preexec_fn=limit_stack,
                start_new_session=True,
            )
        except (OSError, subprocess.SubprocessError) as e:
            raise UserError(f"{self.runtime.name} did not start: {e}") from None
        assert self._process.stdin
        self._process.stdin.write(self._nonce + b"\n")
        try:
            answer, _ = await asyncio.wait_for(self._read(), self.limits.open_seconds)
        except (asyncio.TimeoutError, EOFError):
            await self._kill()
            last = list(self._noise)[-3:]
            raise UserError(f"{self.runtime.name} did not start: {' | '.join(last) or 'no output'}") from None
        self.version = answer.ready or ""
        self.ready_s = time.monotonic() - began
        self._generation += 1
        self._tired = False
        self._steps_at_start = self.counters.steps
        self._ready.set()

    async def _read(self) -> tuple[protocol.Answer, bytes]:
        """The next answer, skipping what is not ours. Raises EOFError at the end."""
        assert self._process and self._process.stdout
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # a line over the limit: nothing that the server sends
                continue
            if not line:
                raise EOFError
            # Lean's own noise may stand in front on the same line, never behind.
            at = line.find(self._nonce)
            if at < 0:
                self._note(line)
                continue
            try:
                return protocol.decode(line[at + len(self._nonce) :])
            except Exception:  # cut off by a death in the middle
                self._note(line)

    def _note(self, line: bytes) -> None:
        """Remember what the process says besides answers, for when it dies; not its frames and progress."""
        text = line[:300].decode(errors="replace").rstrip()
        if text and not text.lstrip().startswith(("at ", "[DEBUG", "wasm://")):
            self._noise.append(text)

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def close(self) -> None:
        """End the process. Waiting steps answer `crash`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._kill()
        self._give_up("the server was closed")

    def _give_up(self, why: str) -> None:
        """Answer everything: there will be no process."""
        self._down = why
        for item in [*self._sent.values(), *self._waiting]:
            if isinstance(item, _Step) and not item.replay:
                self._answer(item, StepResult("crash", message=why))
            elif not item.future.done():
                item.future.set_exception(LeanDied(why))
        self._sent.clear()
        self._waiting.clear()
        self._ready.set()  # whoever waits for it finds `_down`

    async def _up(self) -> None:
        """Wait until the process is ready. Raises LeanDied when there will be none."""
        await self._ready.wait()
        if self._down:
            raise LeanDied(self._down)

    def _end(self, why: str) -> None:
        """Kill the process; the reader sees its end and starts another."""
        if self._killed_for is None and self._process is not None and self._process.returncode is None:
            self._killed_for = why
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def restart(self) -> None:
        """Replace the process: memory that Lean never gives back. Open states come back when next used."""
        generation = self._generation
        self._end("")
        while self._generation == generation and not self._down:
            await asyncio.sleep(0.02)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def rss_mb(self) -> float:
        """Resident memory of the process, in MiB (0 when it is down)."""
        try:
            with open(f"/proc/{self.pid}/statm") as f:
                return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        except (OSError, IndexError):
            return 0.0

    async def _pump(self) -> None:
        """Read answers until the process ends, then start it again."""
        try:
            while True:
                try:
                    answer, line = await self._read()
                except (EOFError, ConnectionError):
                    await self._recover()
                    continue
                item = self._sent.pop(answer.id if answer.q is None else answer.q, None)  # type: ignore[arg-type]
                if item is None:
                    continue
                self._progress = time.monotonic()
                if not self._sent:
                    self.counters.busy_s += self._progress - self._began
                if isinstance(item, _Step):
                    self._step_answered(item, answer)
                elif not item.future.done():
                    item.future.set_result(protocol.raw(line))
                self._send_steps()
        except UserError as e:
            self._give_up(str(e))

    async def _recover(self) -> None:
        """Blame what the process was working on, start another, and send the rest again."""
        self._ready.clear()
        await self._kill()
        noise = " | ".join(self._noise)[-300:]
        status: StepStatus = "crash"
        why = self._killed_for
        if why:
            status = "timeout"
        elif why is None:
            status = "memory" if _OUT_OF_MEMORY.search(noise) else "crash"
            why = f"the Lean process died: {noise}"
        sent, self._sent = list(self._sent.values()), {}
        for item in reversed(sent):
            guilty = item is sent[0] and bool(why)
            if isinstance(item, _Step) and not item.replay:
                if guilty:
                    self._answer(item, StepResult(status, message=why))
                else:
                    self._waiting.appendleft(item)
            elif not item.future.done():
                item.future.set_exception(LeanDied(why) if guilty else _Again())
        self.counters.restarts += 1
        for attempt in range(_STARTS):
            try:
                self._killed_for = None
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
            first = next(iter(self._sent.values()), None)
            if first is not None:
                seconds = self.limits.seconds if isinstance(first, _Step) else first.seconds
                if time.monotonic() - self._progress > seconds:
                    self._end(f"over {seconds:g} s" if isinstance(first, _Step) else f"`{first.cmd}` took over {seconds:g} s")
            elif self._tired:
                self._end("")
            # Not right after a start: what is open may need that much, and would be replayed for ever.
            if self.counters.steps - self._steps_at_start > 1000 and self.rss_mb() > self.limits.memory_mb:
                self._tired = True

    def _send(self, number: int, item: _Step | _Command, message: dict[str, Any]) -> None:
        """Write a message and expect its answer. Only when ready."""
        self._expect(number, item)
        self._write(message)

    def _expect(self, number: int, item: _Step | _Command) -> None:
        if not self._sent:
            self._began = self._progress = time.monotonic()
        self._sent[number] = item

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process and self._process.stdin
        with contextlib.suppress(ConnectionError, RuntimeError):  # a closed pipe: the reader sees the end and recovers
            self._process.stdin.write(protocol.encode(message))

    # -- commands ----------------------------------------------------------------------------------------------------

    async def command(self, cmd: str, **fields: Any) -> dict[str, Any]:
        """Send any command and wait for its answer, again if the process died of something else.

        Raises LeanError for an `error` answer, LeanDied if the command killed the process or took too long.
        """
        while True:
            await self._up()
            number = next(self._numbers)
            future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            self._send(number, _Command(cmd, self.limits.open_seconds, future), {"id": number, "cmd": cmd, **fields})
            try:
                answer = await future
                break
            except _Again:
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
        return states[-1][1]

    async def load(
        self, source: str, imports: Sequence[str] = ("Init",), file: str = "<source>"
    ) -> list[tuple[dict[str, Any], ProofState]]:
        """Elaborate source text and open every `sorry` in it: (where it stands, its state), in source order.

        Raises LeanError with `file:line:column: message` when the text has an error.
        """
        request = {"cmd": "load", "source": source, "imports": list(imports), "file": file}
        answer = await self.command(**request, constants=self.constants)
        if answer["errors"]:
            e = answer["errors"][0]
            raise LeanError(f"{file}:{e['line']}:{e['column']}: {e['m'].strip()}")
        return self._adopt(request, answer)

    def _adopt(self, request: dict[str, Any], answer: dict[str, Any]) -> list[tuple[dict[str, Any], ProofState]]:
        """Handles for what a command opened."""
        made = _Made(request)
        self._reached(made, answer)
        return [(hole, self._handle(made, i, hole["states"][0])) for i, hole in enumerate(_opened(answer))]

    def _reached(self, made: _Made, answer: dict[str, Any]) -> None:
        opened = _opened(answer)
        if made.handles and len(opened) != len(made.remotes):
            raise LeanError("opening it again gave other states")
        made.remotes = [hole["states"][0]["id"] for hole in opened]
        made.theorems = [hole["thm"] for hole in opened]
        made.generation = self._generation

    def _handle(self, made: _Made, index: int, message: Any) -> ProofState:
        m = message if isinstance(message, protocol.StateMessage) else protocol.msgspec.convert(message, protocol.StateMessage)
        handle = next(_handles)
        made.handles.append(handle)
        self._handles[handle] = _Handle(made, index)
        return protocol.state(m, handle)

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        """Try each tactic on the state: one result each, in order."""
        if self._down:
            return [StepResult("crash", message=self._down) for _ in tactics]
        loop = asyncio.get_running_loop()
        futures = []
        for tactic in tactics:
            future: asyncio.Future[StepResult] = loop.create_future()
            self._waiting.append(_Step(next(self._numbers), state.id, tactic, future))
            futures.append(future)
        loop.call_soon(self._send_steps)
        try:
            return list(await asyncio.gather(*futures))
        except asyncio.CancelledError:  # nobody will know these to free them
            await self.free([s for f in futures if not f.cancelled() for s in f.result().states])
            raise

    def _step_message(self, steps: list[list[Any]], heartbeats: int) -> dict[str, Any]:
        return {"id": 0, "cmd": "step", "steps": steps, "heartbeats": heartbeats * 1000, "constants": self.constants, "terse": self.terse}

    def _send_steps(self) -> None:
        """Send waiting steps, up to the window. States of an earlier process are brought back first."""
        if not self._ready.is_set() or self._down or self._tired:
            return
        batch = []
        while self._waiting and len(self._sent) < self.WINDOW:
            step = self._waiting[0]
            handle = self._handles.get(step.handle)
            if step.future.done():  # cancelled
                self._waiting.popleft()
                continue
            if handle is None or handle.freed:
                self._waiting.popleft()
                self._answer(step, StepResult("error", message="the state was freed"))
                continue
            if handle.made.generation != self._generation:
                if not self._replaying.locked():
                    self._tasks = [t for t in self._tasks if not t.done()]
                    self._tasks.append(asyncio.create_task(self._bring_back(step.handle)))
                break
            self._waiting.popleft()
            self._expect(step.number, step)
            batch.append([step.number, handle.remote, step.tactic])
        if batch:
            self._write(self._step_message(batch, self.limits.heartbeats))

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
                except (LeanDied, _Again) as e:  # another process comes, and may have to do it all again
                    why = e
                except (LeanError, LookupError) as e:
                    why = e
                    break
            if why is not None:
                for step in [s for s in self._waiting if s.handle == handle]:
                    self._waiting.remove(step)
                    self._answer(step, StepResult("crash", message=f"the state could not be replayed: {why}"))
        self._send_steps()

    async def _replay(self, handle: int) -> None:
        chain: list[_Made] = []
        while handle and self._handles[handle].made.generation != self._generation:
            chain.append(self._handles[handle].made)
            handle = chain[-1].parent
        for made in reversed(chain):
            if made.request is not None:
                self._reached(made, await self.command(**made.request, constants=self.constants))
            else:
                await self._up()
                future: asyncio.Future[protocol.Answer] = asyncio.get_running_loop().create_future()
                step = _Step(next(self._numbers), made.parent, made.tactic, future, replay=True)
                asked = [step.number, self._handles[made.parent].remote, made.tactic]
                self._send(step.number, step, self._step_message([asked], self.limits.heartbeats * 2))
                answer = await future
                if answer.s != "ok" or len(answer.states) != len(made.remotes):
                    raise LeanError(f"replaying `{made.tactic}` gave: {answer.m or answer.s}")
                made.remotes, made.generation = [m.id for m in answer.states], self._generation
        for made in chain:  # what came back and nobody wants
            unwanted = [made.remotes[i] for i, h in enumerate(made.handles) if h not in self._handles or self._handles[h].freed]
            self._free_remote(unwanted, [])

    def _step_answered(self, step: _Step, answer: protocol.Answer) -> None:
        self.counters.lean_s += answer.us / 1e6
        if step.future.done():  # cancelled: nobody will free what it made
            self._free_remote([m.id for m in answer.states], [])
        elif step.replay:
            step.future.set_result(answer)
        else:
            made = _Made(None, step.handle, step.tactic, [], [m.id for m in answer.states], [], self._generation)
            states = tuple(self._handle(made, i, m) for i, m in enumerate(answer.states))
            if (parent := self._handles.get(step.handle)) is not None:
                parent.children += len(states)
            self._answer(step, protocol.step_result(answer, states))

    def _answer(self, step: _Step, result: StepResult) -> None:
        self.counters.steps += 1
        self.counters.by_status[result.status] = self.counters.by_status.get(result.status, 0) + 1
        if not step.future.done():
            step.future.set_result(result)

    async def free(self, states: Sequence[ProofState]) -> None:
        """Forget states. Those that others were made from are kept as a recipe, without memory in Lean."""
        remote = []
        theorems: list[int] = []
        for state in states:
            handle = self._handles.get(state.id)
            if handle is None or handle.freed:
                continue
            handle.freed = True
            if handle.made.generation == self._generation:
                remote.append(handle.remote)
            theorems += self._forget(state.id)
        self._free_remote(remote, theorems)

    def _free_remote(self, states: list[int], theorems: list[int]) -> None:
        if (states or theorems) and self._ready.is_set() and not self._down:
            self._write({"id": 0, "cmd": "free", "states": states, "thms": theorems})

    def _forget(self, h: int) -> list[int]:
        """Drop a freed handle and every freed ancestor that nothing else was made from; theorems that nobody needs now."""
        while h:
            handle = self._handles.get(h)
            if handle is None or not handle.freed or handle.children:
                return []
            del self._handles[h]
            made = handle.made
            if made.request is not None:
                last = not any(other in self._handles for other in made.handles)
                return made.theorems if last and made.generation == self._generation else []
            h = made.parent
            if h in self._handles:
                self._handles[h].children -= 1
        return []

    @property
    def load_factor(self) -> int:
        """How many steps wait or are with Lean."""
        return len(self._waiting) + len(self._sent)


def _opened(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """What a command opened: the holes of a source, or the answer itself for a library theorem."""
    return [hole for hole in answer.get("holes", [answer]) if hole.get("states")]


def statement_source(theorem: Theorem, proof: str = "sorry") -> str:
    """Source text of a theorem with a proof: context, then `theorem NAME STATEMENT := by PROOF`."""
    body = "\n".join("  " + line for line in proof.split("\n"))
    context = theorem.context.rstrip("\n") + "\n\n" if theorem.context.strip() else ""
    return f"{context}theorem {theorem.name} {theorem.statement} := by\n{body}\n"
