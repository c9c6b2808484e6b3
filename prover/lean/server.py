"""LeanServer: one Lean process. Open, step, free; limits; restart and replay.

A process death is an ordinary event: it costs the step that caused it. States are remembered by how they were made, so
after a restart a state comes back when it is next used, by replaying its tactics from the theorem.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import secrets
import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from prover.errors import UserError
from prover.lean import protocol
from prover.lean.runtime import LeanRuntime, find_runtime
from prover.lean.snapshot import limit_stack
from prover.lean.theorem import ProofState, StepResult, Theorem

WHOLE_LIBRARY = ("Init", "Std")
"""Imports of the environment that library theorems are looked up in."""

_handles = itertools.count(1)


class LeanError(Exception):
    """Lean refused a theorem: it does not parse, elaborate, or exist. Says where and why."""


class LeanDied(Exception):
    """The process ended during a command that was not a step."""


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


@dataclass(slots=True)
class _Handle:
    """How a state was made, and what it is called in the living process."""

    root: _Root
    parent: int = 0
    """Handle of the state that the tactic ran on; 0: opened by `root`."""
    tactic: str = ""
    index: int = 0
    remote: int = -1
    generation: int = -1
    children: int = 0
    freed: bool = False


@dataclass(slots=True, eq=False)
class _Root:
    """An opened theorem."""

    request: dict[str, Any]
    remote: int = -1
    generation: int = -1
    hole: int = -1
    """Which `sorry` of a loaded source; -1 for a library theorem."""


@dataclass(slots=True)
class _Step:
    number: int
    handle: int
    tactic: str
    future: asyncio.Future[StepResult]
    sent: bool = False


@dataclass(slots=True)
class Counters:
    """What a server did so far."""

    steps: int = 0
    lean_s: float = 0.0
    """Seconds inside Lean, on steps."""
    busy_s: float = 0.0
    """Seconds during which at least one step was with Lean."""
    restarts: int = 0
    by_status: dict[str, int] = field(default_factory=dict)


class LeanServer:
    """One Lean process behind an async interface. Use as an async context manager.

    Steps may be awaited concurrently: they are sent in batches and answered one by one. `open` raises LeanError when Lean
    refuses the theorem; `step` never raises for what a tactic does: see StepResult.status.
    """

    WINDOW = 32  # steps on the pipe at once: enough to keep Lean busy, few enough to lose to a crash

    def __init__(self, runtime: LeanRuntime | None = None, limits: Limits | None = None, constants: bool = False) -> None:
        self.runtime = runtime or find_runtime()
        self.limits = limits or Limits()
        self.constants = constants
        self.counters = Counters()
        self.version = ""
        self.ready_s = 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._generation = -1
        self._nonce = b""
        self._handles: dict[int, _Handle] = {}
        self._numbers = itertools.count(1)
        self._waiting: deque[_Step] = deque()
        self._flying: deque[_Step] = deque()
        self._commands: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._lock = asyncio.Lock()
        self._kick = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._progress = time.monotonic()
        self._noise: deque[str] = deque(maxlen=20)
        self._closed = False
        self._killed_for = ""
        self._restarting = False

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
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._kill()
        for step in [*self._flying, *self._waiting]:
            self._answer(step, StepResult("crash", message="the server was closed"))
        self._flying.clear()
        self._waiting.clear()
        self._fail_commands("the server was closed")

    def _fail_commands(self, why: str) -> None:
        for future in self._commands.values():
            if not future.done():
                future.set_exception(LeanDied(why))
        self._commands.clear()

    async def restart(self) -> None:
        """Replace the process: memory that Lean never gives back. Open states come back when next used."""
        generation = self._generation
        self._restarting = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        while self._generation == generation and not self._closed:
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
        while True:
            try:
                answer, line = await self._read()
            except EOFError:
                await self._recover()
                continue
            self._progress = time.monotonic()
            if answer.q is not None:
                self._step_answered(answer)
            elif answer.id is not None and (future := self._commands.pop(answer.id, None)) and not future.done():
                future.set_result(protocol.raw(line))
            self._send_steps()

    async def _recover(self) -> None:
        await self._kill()
        status = "timeout" if self._killed_for else "crash"
        why = self._killed_for or "the Lean process died: " + " | ".join(self._noise)[-300:]
        self._killed_for = ""
        # Only the step that Lean was working on is to blame; the others go again.
        blameless, self._restarting = self._restarting, False
        if self._flying and not blameless:
            self._answer(self._flying.popleft(), StepResult(status, message=why))  # type: ignore[arg-type]
        while self._flying:
            step = self._flying.pop()
            step.sent = False
            self._waiting.appendleft(step)
        self._fail_commands(why)
        self.counters.restarts += 1
        for attempt in range(3):
            try:
                await self._spawn()
                break
            except UserError:
                if attempt == 2:
                    raise
        self._progress = time.monotonic()
        self._send_steps()

    async def _watch(self) -> None:
        """Kill the process when the step that it works on runs over its time."""
        while True:
            await asyncio.sleep(min(0.25, self.limits.seconds / 4))
            if self._flying and not self._commands and time.monotonic() - self._progress > self.limits.seconds:
                self._killed_for = f"over {self.limits.seconds:g} s"
                if self._process is not None and self._process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(self._process.pid, signal.SIGKILL)
                self._progress = time.monotonic() + 1e6  # until the restart

    # -- commands ----------------------------------------------------------------------------------------------------

    async def command(self, cmd: str, **fields: Any) -> dict[str, Any]:
        """Send any command and wait for its answer. Raises LeanError for an `error` answer, LeanDied if the process ends."""
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._commands[number] = future
        await self._write({"id": number, "cmd": cmd, **fields})
        try:
            answer = await asyncio.wait_for(asyncio.shield(future), fields.get("seconds") or self.limits.open_seconds)
        except asyncio.TimeoutError:
            self._commands.pop(number, None)
            if self._process is not None and self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            raise LeanDied(f"`{cmd}` took too long") from None
        if (error := answer.get("error")) is not None:
            raise LeanError(str(error))
        return answer

    async def _write(self, message: dict[str, Any]) -> None:
        while self._process is None or self._process.stdin is None:
            if self._closed:
                raise LeanDied("the server was closed")
            await asyncio.sleep(0.05)
        with contextlib.suppress(ConnectionError):  # the reader sees the end and recovers
            self._process.stdin.write(protocol.encode(message))
            await self._process.stdin.drain()

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
            return (await self._open(request, [-1]))[0]
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
        found = []
        for i, hole in enumerate(answer["holes"]):
            if "states" in hole and hole["states"]:
                root = _Root(request, hole["thm"], self._generation, i)
                found.append((hole, self._adopt(root, hole["states"][0])))
        return found

    async def _open(self, request: dict[str, Any], holes: list[int]) -> list[ProofState]:
        answer = await self.command(**request, constants=self.constants)
        root = _Root(request, answer["thm"], self._generation, holes[0])
        state = self._adopt(root, answer["states"][0])
        # Opening introduces what a library statement binds, under readable names: scripts start after that.
        return [replace(state, goals=tuple(replace(g, renamed=()) for g in state.goals))]

    def _adopt(self, root: _Root, message: dict[str, Any]) -> ProofState:
        m = protocol.msgspec.convert(message, protocol.StateMessage)
        handle = next(_handles)
        self._handles[handle] = _Handle(root, remote=m.id, generation=self._generation)
        return protocol.state(m, handle)

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        """Try each tactic on the state: one result each, in order."""
        loop = asyncio.get_running_loop()
        futures = []
        for tactic in tactics:
            future: asyncio.Future[StepResult] = loop.create_future()
            self._waiting.append(_Step(next(self._numbers), state.id, tactic, future))
            futures.append(future)
        loop.call_soon(self._send_steps)
        return list(await asyncio.gather(*futures))

    def _send_steps(self) -> None:
        """Send waiting steps, up to the window. States of an earlier process are brought back first."""
        if self._process is None or self._process.stdin is None or not self._waiting:
            return
        batch = []
        while self._waiting and len(self._flying) < self.WINDOW:
            step = self._waiting[0]
            handle = self._handles.get(step.handle)
            if handle is None or handle.freed:
                self._waiting.popleft()
                self._answer(step, StepResult("error", message="the state was freed"))
                continue
            if handle.generation != self._generation:
                if not self._lock.locked():
                    self._tasks.append(asyncio.create_task(self._bring_back(step.handle)))
                    self._tasks = [t for t in self._tasks if not t.done()]
                break
            self._waiting.popleft()
            if not self._flying:
                self._progress = time.monotonic()
            step.sent = True
            self._flying.append(step)
            batch.append([step.number, handle.remote, step.tactic])
        if batch:
            message = {
                "id": 0,
                "cmd": "step",
                "steps": batch,
                "heartbeats": self.limits.heartbeats * 1000,
                "constants": self.constants,
            }
            with contextlib.suppress(ConnectionError):
                self._process.stdin.write(protocol.encode(message))

    async def _bring_back(self, handle: int) -> None:
        """Replay a state of an earlier process in this one, its ancestors first."""
        async with self._lock:
            generation = self._generation
            chain = []
            h = handle
            while h and self._handles[h].generation != self._generation:
                chain.append(h)
                h = self._handles[h].parent
            try:
                for h in reversed(chain):
                    await self._remake(h)
            except (LeanDied, LeanError, KeyError) as e:
                if generation == self._generation:  # not merely another crash: it cannot come back
                    for step in [s for s in self._waiting if s.handle == handle]:
                        self._waiting.remove(step)
                        self._answer(step, StepResult("crash", message=f"the state could not be replayed: {e}"))
        self._send_steps()

    async def _remake(self, h: int) -> None:
        handle = self._handles[h]
        if not handle.parent:
            answer = await self.command(**handle.root.request, constants=self.constants)
            message = answer if handle.root.hole < 0 else answer["holes"][handle.root.hole]
            handle.root.remote, handle.root.generation = message["thm"], self._generation
            handle.remote, handle.generation = message["states"][0]["id"], self._generation
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[StepResult] = loop.create_future()
        step = _Step(next(self._numbers), handle.parent, handle.tactic, future)
        self._replaying = step
        self._flying.append(step)
        parent = self._handles[handle.parent]
        await self._write(
            {
                "id": 0,
                "cmd": "step",
                "steps": [[step.number, parent.remote, step.tactic]],
                "heartbeats": self.limits.heartbeats * 2000,
                "constants": self.constants,
            }
        )
        result = await future
        if not result.ok or handle.index >= len(result.states):
            raise LeanError(f"replaying `{handle.tactic}` gave: {result.message or result.status}")
        fresh = self._handles.pop(result.states[handle.index].id)
        handle.remote, handle.generation = fresh.remote, self._generation

    def _step_answered(self, answer: protocol.Answer) -> None:
        step = next((s for s in self._flying if s.number == answer.q), None)
        if step is None:
            return
        self._flying.remove(step)
        states = []
        parent = self._handles.get(step.handle)
        for i, m in enumerate(answer.states):
            handle = next(_handles)
            if parent is not None:
                self._handles[handle] = _Handle(parent.root, step.handle, step.tactic, i, m.id, self._generation)
                parent.children += 1
            states.append(protocol.state(m, handle))
        self.counters.lean_s += answer.us / 1e6
        self._answer(step, protocol.step_result(answer, tuple(states)))

    def _answer(self, step: _Step, result: StepResult) -> None:
        self.counters.steps += 1
        self.counters.by_status[result.status] = self.counters.by_status.get(result.status, 0) + 1
        if not step.future.done():
            step.future.set_result(result)

    async def free(self, states: Sequence[ProofState]) -> None:
        """Forget states. Those that others were made from are kept as a recipe, without memory in Lean."""
        remote = []
        for state in states:
            handle = self._handles.get(state.id)
            if handle is None or handle.freed:
                continue
            handle.freed = True
            if handle.generation == self._generation:
                remote.append(handle.remote)
            self._forget(state.id)
        if remote and self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                self._process.stdin.write(protocol.encode({"id": 0, "cmd": "free", "states": remote, "thms": []}))

    def _forget(self, h: int) -> None:
        """Drop a freed handle and every freed ancestor that nothing else was made from."""
        while h:
            handle = self._handles.get(h)
            if handle is None or not handle.freed or handle.children:
                return
            del self._handles[h]
            h = handle.parent
            if h in self._handles:
                self._handles[h].children -= 1

    @property
    def load_factor(self) -> int:
        """How many steps wait or are with Lean."""
        return len(self._waiting) + len(self._flying)


def statement_source(theorem: Theorem, proof: str = "sorry") -> str:
    """Source text of a theorem with a proof: context, then `theorem NAME STATEMENT := by PROOF`."""
    body = "\n".join("  " + line for line in proof.split("\n"))
    context = theorem.context.rstrip("\n") + "\n\n" if theorem.context.strip() else ""
    return f"{context}theorem {theorem.name} {theorem.statement} := by\n{body}\n"
