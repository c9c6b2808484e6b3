"""LeanPool: several LeanServers behind one asynchronous interface."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from prover.lean.project import SourceModule
from prover.lean.runtime import find_runtime
from prover.lean.server import LeanServer, Limits
from prover.lean.sorries import load_file
from prover.lean.steps import ENVIRONMENTS
from prover.lean.text import LeanText
from prover.lean.theorem import ProofState, StepResult, Theorem

FILES_KEPT = 4
"""Maximum number of files that a process keeps loaded while none of their sorries is open."""


@dataclass
class _Loaded:
    """A file in one process."""

    states: list[list[ProofState]]
    """The states of each sorry."""
    users: int = 0


@dataclass
class _Files:
    """The files that one process has loaded, the least recently used first."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    loaded: dict[Hashable, _Loaded] = field(default_factory=dict[Hashable, _Loaded])


class LeanPool:
    """`size` Lean processes. A theorem is opened on the least busy one, and its states stay there.

    Use as an async context manager. The interface is LeanServer's: `open`, `step`, `free`.
    """

    def __init__(
        self, size: int = 2, limits: Limits | None = None, constants: bool = False, terse: bool = False
    ) -> None:
        if size < 1:
            raise ValueError("a pool needs at least one process")
        self.runtime = find_runtime()
        self.servers = [LeanServer(self.runtime, limits, constants, terse) for _ in range(size)]
        self._home: dict[int, LeanServer] = {}
        self._open: dict[int, int] = {id(s): 0 for s in self.servers}
        self._imports: dict[int, set[tuple[str, ...]]] = {id(s): set() for s in self.servers}
        self._roots: set[int] = set()
        self._files: dict[int, _Files] = defaultdict(_Files)

    async def __aenter__(self) -> LeanPool:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Start every process at once."""
        await asyncio.gather(*(s.start() for s in self.servers))

    async def close(self) -> None:
        await asyncio.gather(*(s.close() for s in self.servers))

    def _choose(self, imports: tuple[str, ...]) -> LeanServer:
        """The least busy server that works; among equals, one that has imported the environment."""
        return min(
            self.servers, key=lambda s: (s.down, self._open[id(s)], imports not in self._imports[id(s)], s.load_factor)
        )

    async def open(self, theorem: Theorem) -> ProofState:
        """Open a theorem (LeanServer.open). Free every opened state in the end, because the pool counts open states to balance the load."""
        server = self._choose(theorem.imports)
        await self._make_room(server, theorem.imports)
        self._open[id(server)] += 1
        try:
            state = await server.open(theorem)
        except BaseException:
            self._open[id(server)] -= 1
            raise
        self._home[state.id] = server
        self._roots.add(state.id)
        return state

    async def open_sorry(
        self, text: LeanText, imports: tuple[str, ...], before: tuple[SourceModule, ...], number: int
    ) -> tuple[list[ProofState], Callable[[], None]]:
        """(the states of a file's sorry, on the most suitable process; a function to call when they are no longer needed).

        The file is loaded once in each process and stays for its other sorries. Its states must not be freed. Raises
        LeanError, naming file, line and column, where a module before the file has an error.
        """
        server = self._choose(imports)
        await self._make_room(server, imports)
        files = self._files[id(server)]
        self._open[id(server)] += 1
        try:
            async with files.lock:
                key = (text.path, text.text, imports, before)
                if (file := files.loaded.pop(key, None)) is None:
                    await self._drop_idle(files, server)
                    file = _Loaded((await load_file(server, text, imports, before))[1])
                    for states in file.states:
                        self._home.update((state.id, server) for state in states)
                files.loaded[key] = file
                file.users += 1
        except BaseException:
            self._open[id(server)] -= 1
            raise

        def release() -> None:
            file.users -= 1
            self._open[id(server)] -= 1

        return file.states[number], release

    async def _drop_idle(self, files: _Files, server: LeanServer) -> None:
        idle = [key for key, file in files.loaded.items() if not file.users]
        for key in idle[: max(0, len(files.loaded) - FILES_KEPT + 1)]:
            states = [s for here in files.loaded.pop(key).states for s in here]
            for state in states:
                self._home.pop(state.id, None)
            await server.free(states)

    async def _make_room(self, server: LeanServer, imports: tuple[str, ...]) -> None:
        """Restart a process that has imported many environments, before it imports another."""
        known = self._imports[id(server)]
        if imports in known:
            return
        crowded = len(known) >= ENVIRONMENTS or server.own_mb() > server.limits.memory_mb
        known.add(imports)
        if crowded:
            known.clear()
            known.add(imports)
            await server.restart()

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        """Try tactics on a state, on the process that has it (LeanServer.step)."""
        server = self._home.get(state.id)
        if server is None:
            return [StepResult("error", message="the state was freed") for _ in tactics]
        results = await server.step(state, tactics)
        for result in results:
            for child in result.states:
                self._home[child.id] = server
        return results

    async def free(self, states: Sequence[ProofState]) -> None:
        """Free states (LeanServer.free)."""
        by_server: dict[int, tuple[LeanServer, list[ProofState]]] = {}
        for state in states:
            server = self._home.pop(state.id, None)
            if server is not None:
                by_server.setdefault(id(server), (server, []))[1].append(state)
                if state.id in self._roots:
                    self._roots.discard(state.id)
                    self._open[id(server)] -= 1
        for server, mine in by_server.values():
            await server.free(mine)

    @property
    def lean_s(self) -> float:
        """Seconds spent inside Lean on steps, over all processes."""
        return sum(s.counters.lean_s for s in self.servers)

    @property
    def steps(self) -> int:
        return sum(s.counters.steps for s in self.servers)
