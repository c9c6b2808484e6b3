"""LeanServer: proof states on one Lean process.

The death of a process costs only the step that caused it. The server remembers how each state was made; after a restart it
restores a state at its next use, by replaying its tactics from the theorem.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Self

import msgspec

from prover.lean import protocol
from prover.lean.connection import LeanConnection
from prover.lean.declared import LeanMessage
from prover.lean.project import SourceModule
from prover.lean.replay import Handles, Origin
from prover.lean.runtime import LeanRuntime, find_runtime
from prover.lean.steps import REPLAY_PATIENCE, Counters, LeanDied, LeanError, Limits, Resend, Step
from prover.lean.surroundings import LIBRARY_TACTICS, FileDeclarations, own_modules
from prover.lean.theorem import ProofState, StepResult, Theorem

__all__ = ["WHOLE_LIBRARY", "Counters", "LeanDied", "LeanError", "LeanServer", "Limits", "statement_source"]

WHOLE_LIBRARY = ("Init", "Std")
"""Imports of the environment in which library theorems are looked up."""


class LeanServer(LeanConnection):
    """One Lean process behind an asynchronous interface. Use as an async context manager.

    Steps may be awaited concurrently: they are sent in batches and answered one by one. `open` raises LeanError when Lean
    refuses the theorem; `step` reports the failures of tactics in StepResult.status.
    """

    WINDOW = 32  # steps on the pipe at once: enough to keep Lean busy, few enough to lose to a crash

    def __init__(
        self,
        runtime: LeanRuntime | None = None,
        limits: Limits | None = None,
        constants: bool = False,
        terse: bool = False,
    ) -> None:
        """`constants`: list the constants of each goal. `terse`: omit error messages, whose printing can cost as much as the
        tactic."""
        super().__init__(runtime or find_runtime(), limits or Limits())
        self.constants = constants
        self.terse = terse
        self.handles = Handles()
        self._to_free: tuple[list[int], list[int]] = ([], [])
        """Ids of the states and theorems of this process to free with the next message."""
        self._replaying = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _spawn(self) -> None:
        await super()._spawn()
        self._to_free = ([], [])

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
            # Opening introduces the binders of a library statement under readable names; scripts start after that.
            return replace(state, goals=tuple(replace(g, renamed=()) for g in state.goals))
        source = statement_source(theorem)
        states = await self.load(source, theorem.imports, theorem.source or theorem.name, theorem.before)
        if not states:
            raise LeanError(f"{theorem.source or theorem.name}: the statement has no goal")
        await self.free([state for _, state in states[:-1]])  # the context's own sorries
        return states[-1][1]

    async def load(
        self,
        source: str,
        imports: Sequence[str] = ("Init",),
        file: str = "<source>",
        before: Sequence[SourceModule] = (),
    ) -> list[tuple[dict[str, Any], ProofState]]:
        """Elaborate source text and open every `sorry` in it: (its position, its state), in source order.

        `before`: modules given as source, each after its imports; their sorries are not opened. Raises LeanError with
        `file:line:column: message` when the text or a module has an error.
        """
        holes, errors = await self.load_with_errors(source, imports, file, before)
        if errors:
            await self.free([state for _, state in holes])
            raise LeanError(str(errors[0]))
        return holes

    async def load_with_errors(
        self, source: str, imports: Sequence[str], file: str, before: Sequence[SourceModule] = ()
    ) -> tuple[list[tuple[dict[str, Any], ProofState]], list[LeanMessage]]:
        """Like `load`, with all errors of the text and of its modules instead of an exception."""
        request: dict[str, Any] = {"cmd": "load", "source": source, "imports": list(imports), "file": file}
        if self.constants:
            request["tactics"] = LIBRARY_TACTICS
            if own := own_modules(self.runtime.env.get("LEAN_PATH", "")):
                request["own"] = own
        if before:
            request["before"] = [module.message() for module in before]
        answer = await self.command(**request, constants=self.constants)
        return self._adopt(request, answer), msgspec.convert(answer["errors"], list[LeanMessage])

    def _adopt(self, request: dict[str, Any], answer: dict[str, Any]) -> list[tuple[dict[str, Any], ProofState]]:
        """Handles for the states that a command opened."""
        origin = Origin(request)
        self._set_remotes(origin, answer)
        return [
            (hole, self._state(origin, i, msgspec.convert(hole["states"][0], protocol.StateMessage)))
            for i, hole in enumerate(self._opened(answer))
        ]

    def _opened(self, answer: dict[str, Any]) -> list[dict[str, Any]]:
        """The opened states: the sorries of a file, or the answer itself for a library theorem."""
        return [hole for hole in answer.get("holes", [answer]) if hole.get("states")]

    def _abandoned(self, answer: dict[str, Any]) -> None:
        opened = self._opened(answer)
        self._free_remote([hole["states"][0]["id"] for hole in opened], [hole["thm"] for hole in opened])

    def _set_remotes(self, origin: Origin, answer: dict[str, Any]) -> None:
        opened = self._opened(answer)
        declared = FileDeclarations(answer.get("surroundings", ()))
        origin.surroundings = [declared.before(hole.get("part", 0)) for hole in opened]
        if origin.handles and len(opened) != len(origin.remotes):
            raise LeanError("opening the theorem again gave other states")
        origin.remotes = [hole["states"][0]["id"] for hole in opened]
        origin.theorems = [hole["thm"] for hole in opened]
        origin.generation = self._generation

    def _state(self, origin: Origin, index: int, message: protocol.StateMessage) -> ProofState:
        handle = self.handles.new(origin, index)
        goals = tuple(map(protocol.goal, message.goals))
        return ProofState(handle, message.key, goals, self.handles[handle].surroundings)

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        """Try each tactic on the state: one result each, in order."""
        if self._down:
            return [StepResult("crash", message=self._down) for _ in tactics]
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[StepResult]] = []
        for tactic in tactics:
            futures.append(loop.create_future())
            self.queue.waiting.append(Step(next(self.numbers), state.id, tactic, futures[-1]))
        loop.call_soon(self._send_steps)
        try:
            return list(await asyncio.gather(*futures))
        except asyncio.CancelledError:  # the caller never sees these states and cannot free them
            await self.free([s for f in futures if not f.cancelled() for s in f.result().states])
            raise

    def write_steps(self, steps: list[list[Any]], patience: int = 1) -> None:
        """Send steps with `patience` times the usual limits."""
        message = {"id": 0, "cmd": "step", "steps": steps, "heartbeats": self.limits.heartbeats * 1000 * patience}
        message |= {"ms": int(self.limits.seconds * 1000 * patience), "constants": self.constants, "terse": self.terse}
        self._process.write(message)

    def _send_steps(self) -> None:
        """Send waiting steps, up to the window, after restoring states of an earlier process."""
        if not self._ready.is_set() or self._down or self._draining:
            return
        waiting = self.queue.waiting
        batch: list[list[Any]] = []
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
            if handle.origin.generation != self._generation:
                if not self._replaying.locked():
                    self._tasks = [t for t in self._tasks if not t.done()]
                    self._tasks.append(asyncio.create_task(self._restore(step.handle)))
                break
            waiting.popleft()
            self.queue.expect(step.number, step)
            batch.append([step.number, handle.remote, step.tactic])
        if batch:
            self.write_steps(batch)

    async def _restore(self, handle: int) -> None:
        """Restore a state of an earlier process in this one."""
        async with self._replaying:
            why: Exception | None = None
            for _ in range(3):
                try:
                    await self._up()
                    await self._replay(handle)
                    why = None
                    break
                except (LeanDied, Resend) as e:  # a new process starts; try again
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
        for origin in chain:
            # After a replay for a freed state, the open states of the same origin exist twice.
            duplicates = self.handles.remotes(origin, open_=True) if origin.generation == self._generation else []
            if origin.request is not None:
                self._set_remotes(origin, await self.command(**origin.request, constants=self.constants))
            else:
                await self._up()
                future: asyncio.Future[protocol.Answer] = asyncio.get_running_loop().create_future()
                step = Step(next(self.numbers), origin.parent, origin.tactic, future, replay=True)
                parent = self.handles[origin.parent].remote
                self.queue.expect(step.number, step)
                self.write_steps([[step.number, parent, origin.tactic]], REPLAY_PATIENCE)
                answer = await future
                if answer.s != "ok" or len(answer.states) != len(origin.remotes):
                    raise LeanError(f"replaying `{origin.tactic}` gave: {answer.m or answer.s}")
                origin.remotes, origin.generation = [m.id for m in answer.states], self._generation
            if duplicates:
                self._free_remote(duplicates, [])  # but not the theorem, which their descendants still need
        for origin in chain:
            self._free_remote(self.handles.remotes(origin, open_=False), [])

    def _step_answered(self, step: Step, answer: protocol.Answer) -> None:
        self.counters.lean_s += answer.us / 1e6
        if step.future.done():  # cancelled
            self._free_remote([m.id for m in answer.states], [])
        elif step.replay:
            step.future.set_result(answer)
        else:
            origin = Origin(None, step.handle, step.tactic, [], [m.id for m in answer.states], [], self._generation)
            states = tuple(self._state(origin, i, m) for i, m in enumerate(answer.states))
            self.queue.answer(step, protocol.step_result(answer, states))

    async def free(self, states: Sequence[ProofState]) -> None:
        """Free states in Lean. Keeps the origins of states with open descendants for replay."""
        remote: list[int] = []
        theorems: list[int] = []
        for state in states:
            handle = self.handles.get(state.id)
            if handle is None or handle.freed:
                continue
            handle.freed = True
            if handle.origin.generation == self._generation:
                remote.append(handle.remote)
            theorems += self.handles.forget(state.id, self._generation)
        self._free_remote(remote, theorems)

    def _free_remote(self, states: Iterable[int], theorems: Iterable[int]) -> None:
        """Free them with the next message, together with all others freed until then."""
        if not any(self._to_free):
            asyncio.get_running_loop().call_soon(self._send_frees)
        self._to_free[0].extend(states)
        self._to_free[1].extend(theorems)

    def _send_frees(self) -> None:
        (states, theorems), self._to_free = self._to_free, ([], [])
        if (states or theorems) and self._ready.is_set() and not self._down:
            self._process.write({"id": 0, "cmd": "free", "states": states, "thms": theorems})


def statement_source(theorem: Theorem, proof: str = "sorry") -> str:
    """The theorem as source text: context, then `theorem NAME STATEMENT := by PROOF`."""
    body = "\n".join("  " + line for line in proof.split("\n"))
    context = theorem.context.rstrip("\n") + "\n\n" if theorem.context.strip() else ""
    statement = theorem.statement or ""
    ends = "\n" if "--" in statement.rpartition("\n")[2] else " "  # `:=` must not end up in a line comment
    begin = "\n" + " " * theorem.column if theorem.column is not None else " "
    return f"{context}theorem {theorem.name}{begin}{statement}{ends}:= by\n{body}\n"
