"""The environment interface on LeanDojo's own `Dojo`, for repositories that LeanDojo has traced.

The `source` of such a theorem contains its repository and file, see `lean_dojo_theorem`. LeanDojo needs native Lean (`lake`
on PATH) and traces a new repository for minutes to hours.

Differences from LeanPool: a state is one group with all goals, since LeanDojo does not know which goals are independent; its
`key` is the printed text, so states that differ only in names count as different; there are no heartbeats, only wall-clock
limits; and `StepResult.lean_s` is measured at the client.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.lean.leandojo.dojo import package
from prover.lean.server import LeanError, Limits
from prover.lean.theorem import Goal, ProofState, StepResult, StepStatus, Theorem

_SOURCE = re.compile(r"lean_dojo:(?P<url>.+)@(?P<commit>[^@:]+):(?P<path>[^:]+\.lean)")


def lean_dojo_theorem(url: str, commit: str, file_path: str, full_name: str) -> Theorem:
    """A theorem of a repository. The inverse of `lean_dojo_source`."""
    return Theorem(full_name, library=full_name, source=f"lean_dojo:{url}@{commit}:{file_path}")


def lean_dojo_source(theorem: Theorem) -> tuple[str, str, str] | None:
    """(url, commit, file path) of a theorem of a repository, or None for any other theorem."""
    m = _SOURCE.fullmatch(theorem.source)
    return (m["url"], m["commit"], m["path"]) if m else None


@dataclass(eq=False)
class _Opened:
    """A theorem with a LeanDojo process. `generation` counts its processes so far."""

    entry: Any
    dojo: Any = None
    root: Any = None
    generation: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(eq=False)
class _State:
    """A TacticState in the process of `generation`, and the tactics that lead to it from the theorem."""

    opened: _Opened
    path: tuple[str, ...]
    state: Any
    generation: int


class LeanDojoEnvironment:
    """LeanPool's interface on `lean_dojo.Dojo`. Use as an async context manager.

    `size`: number of LeanDojo processes that work at once; each open theorem has its own. A process that timed out or died is
    replaced, and its states are restored by replaying their tactics.
    """

    def __init__(self, size: int = 2, limits: Limits | None = None, build_deps: bool = True) -> None:
        if size < 1:
            raise ValueError("an environment needs at least one process")
        self.limits = limits or Limits()
        self.build_deps = build_deps
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="lean-dojo")
        self._entering = threading.Lock()  # LeanDojo changes the working directory while it starts
        self._repos: dict[tuple[str, str], Any] = {}
        self._states: dict[int, _State] = {}
        self._roots: dict[int, _Opened] = {}
        self._next = 1
        self._ids = threading.Lock()

    async def __aenter__(self) -> LeanDojoEnvironment:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Import LeanDojo and find `lake`. Raises UserError if one is missing."""
        self._package = await asyncio.to_thread(package)
        if shutil.which("lake") is None:
            elan = Path.home() / ".elan" / "bin"
            if not (elan / "lake").exists():
                raise UserError(
                    "LeanDojo needs native Lean with `lake`: install elan, or choose environment `turnstile`"
                )
            os.environ["PATH"] = f"{elan}{os.pathsep}{os.environ.get('PATH', '')}"

    async def close(self) -> None:
        """End every process."""
        for opened in list(self._roots.values()):
            await self._in_thread(self._leave, opened)
        self._roots.clear()
        self._states.clear()
        self._threads.shutdown(wait=True)

    async def _in_thread(self, work: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    # -- theorems ----------------------------------------------------------------------------------------------------

    async def open(self, theorem: Theorem) -> ProofState:
        """The theorem's first state. Raises LeanError if LeanDojo cannot open it."""
        if lean_dojo_source(theorem) is None:
            raise LeanError(f"{theorem.name}: not from a traced repository: use a theorem of a LeanDojo Benchmark file")
        return await self._in_thread(self._open, theorem)

    def _open(self, theorem: Theorem) -> ProofState:
        where = lean_dojo_source(theorem)
        assert where is not None
        url, commit, path = where
        try:
            with self._entering:
                if (url, commit) not in self._repos:
                    self._repos[url, commit] = self._package.LeanGitRepo(url, commit)
                entry = self._package.Theorem(self._repos[url, commit], Path(path), theorem.library)
            opened = _Opened(entry)
            with opened.lock:
                self._enter(opened)
        except Exception as e:  # AssertionError, or any error of git, GitHub and lake
            raise LeanError(f"LeanDojo could not open {theorem.name}: {type(e).__name__}: {e}") from e
        state = self._new_state(opened, (), opened.root)
        self._roots[state.id] = opened
        return state

    def _enter(self, opened: _Opened) -> None:
        with self._entering:
            dojo = self._package.Dojo(opened.entry, timeout=int(self.limits.open_seconds), build_deps=self.build_deps)
            try:
                opened.dojo, opened.root = dojo.__enter__()
            except BaseException:
                if hasattr(dojo, "proc"):
                    dojo.__exit__(None, None, None)
                raise
            # The process reads `timeout` for every answer. Opening had a longer one than tactics.
            opened.dojo.proc.timeout = self.limits.seconds

    def _leave(self, opened: _Opened) -> None:
        with opened.lock:
            self._end_process(opened)

    def _new_state(self, opened: _Opened, path: tuple[str, ...], state: Any) -> ProofState:
        with self._ids:
            number = self._next
            self._next += 1
        self._states[number] = _State(opened, path, state, opened.generation)
        goals = tuple(_goal(text) for text in state.pp.split("\n\n") if "⊢" in text)
        return ProofState(number, "pp:" + hashlib.sha256(state.pp.encode()).hexdigest()[:32], goals)

    # -- steps -------------------------------------------------------------------------------------------------------

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        """Try each tactic on the state: one result each, in order."""
        return list(await asyncio.gather(*(self._in_thread(self._step, state.id, tactic) for tactic in tactics)))

    def _step(self, number: int, tactic: str) -> StepResult:
        known = self._states.get(number)
        if known is None:
            return StepResult("error", message="the state was freed")
        opened = known.opened
        with opened.lock:
            try:
                self._restore(known)
            except Exception as e:
                self._end_process(opened)
                return StepResult("crash", message=f"the state could not be replayed: {type(e).__name__}: {e}")
            began = time.perf_counter()
            try:
                result = opened.dojo.run_tac(known.state, tactic)
            except Exception as e:
                self._end_process(opened)  # after a timeout, LeanDojo's process does not answer any more
                return StepResult(*self._failure(e), lean_s=time.perf_counter() - began)
            spent = time.perf_counter() - began
            if isinstance(result, self._package.TacticState):
                after = self._new_state(opened, (*known.path, tactic), result)
                return StepResult("ok", (after,), tuple((0, i) for i in range(len(after.goals))), lean_s=spent)
            if isinstance(result, self._package.ProofFinished):
                return StepResult("ok", lean_s=spent)
            message = result.error if isinstance(result, self._package.LeanError) else "the proof contains `sorry`"
            return StepResult("error", message=message, lean_s=spent)

    def _failure(self, e: Exception) -> tuple[StepStatus, tuple[()], tuple[()], str]:
        if isinstance(e, self._package.DojoTacticTimeoutError):
            return "timeout", (), (), f"over {self.limits.seconds:g} s"
        if isinstance(e, self._package.DojoCrashError) and e.is_out_of_memory:  # type: ignore[attr-defined]
            return "memory", (), (), "out of memory"
        return "crash", (), (), f"LeanDojo: {type(e).__name__}: {e}"

    def _end_process(self, opened: _Opened) -> None:
        """End the process of an opened theorem. The caller holds its lock."""
        dojo, opened.dojo = opened.dojo, None
        opened.generation += 1
        if dojo is not None:
            dojo.__exit__(None, None, None)
            dojo.proc.close(force=True)

    def _restore(self, known: _State) -> None:
        """Start the process and replay the state, if necessary. The caller holds the lock."""
        opened = known.opened
        if opened.dojo is None:
            self._enter(opened)
        dojo: Any = opened.dojo
        if known.generation == opened.generation:
            return
        state = opened.root
        for tactic in known.path:
            state = dojo.run_tac(state, tactic)
            if not isinstance(state, self._package.TacticState):
                raise RuntimeError(f"replaying `{tactic}` gave {state}")
        known.state, known.generation = state, opened.generation

    async def free(self, states: Sequence[ProofState]) -> None:
        """Release states. LeanDojo keeps them in its process, which ends when the theorem's first state is freed."""
        for state in states:
            self._states.pop(state.id, None)
            if (opened := self._roots.pop(state.id, None)) is not None:
                for number in [n for n, known in self._states.items() if known.opened is opened]:
                    del self._states[number]
                await self._in_thread(self._leave, opened)


def _goal(text: str) -> Goal:
    """A printed goal. `hypotheses` omits those without a usable name."""
    parsed = package().parse_goals(text)[0]
    named = tuple((d.ident, d.lean_type) for d in parsed.assumptions if "✝" not in d.ident)
    return Goal(text, named, parsed.conclusion)
