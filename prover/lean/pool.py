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


@dataclass(eq=False)
class _Process:
    """A process and its contents."""

    server: LeanServer
    open: int = 0
    """Number of opened theorems, and of sorries in use."""
    imports: set[tuple[str, ...]] = field(default_factory=set[tuple[str, ...]])
    files: dict[Hashable, _Loaded] = field(default_factory=dict[Hashable, _Loaded])
    """The loaded files, the least recently used first."""
    loading: asyncio.Lock = field(default_factory=asyncio.Lock)


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
        self._processes = [_Process(server) for server in self.servers]
        self._home: dict[int, _Process] = {}
        self._roots: set[int] = set()

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

    async def _choose(self, imports: tuple[str, ...]) -> _Process:
        """The least busy process that works; among equals, one that has imported the environment. One that has imported many environments
        is restarted before it imports another."""
        chosen = min(
            self._processes, key=lambda p: (p.server.down, p.open, imports not in p.imports, p.server.load_factor)
        )
        if imports not in chosen.imports:
            server = chosen.server
            crowded = len(chosen.imports) >= ENVIRONMENTS or server.own_mb() > server.limits.memory_mb
            chosen.imports = {imports} if crowded else chosen.imports | {imports}
            if crowded:
                await server.restart()
        return chosen

    async def open(self, theorem: Theorem) -> ProofState:
        """Open a theorem (LeanServer.open). Free every opened state in the end, because the pool counts open states to balance the load."""
        process = await self._choose(theorem.imports)
        process.open += 1
        try:
            state = await process.server.open(theorem)
        except BaseException:
            process.open -= 1
            raise
        self._home[state.id] = process
        self._roots.add(state.id)
        return state

    async def open_sorry(
        self, text: LeanText, imports: tuple[str, ...], before: tuple[SourceModule, ...], number: int
    ) -> tuple[list[ProofState], Callable[[], None]]:
        """(the states of a file's sorry, on the most suitable process; a function to call when they are no longer needed).

        The file is loaded once in each process and stays for its other sorries. Its states must not be freed. Raises
        LeanError, naming file, line and column, where a module before the file has an error.
        """
        process = await self._choose(imports)
        process.open += 1
        try:
            async with process.loading:
                key = (text.path, text.text, imports, before)
                if (file := process.files.pop(key, None)) is None:
                    await self._drop_idle(process)
                    file = _Loaded((await load_file(process.server, text, imports, before))[1])
                    for states in file.states:
                        self._home.update((state.id, process) for state in states)
                process.files[key] = file
                file.users += 1
        except BaseException:
            process.open -= 1
            raise

        def release() -> None:
            file.users -= 1
            process.open -= 1

        return file.states[number], release

    async def _drop_idle(self, process: _Process) -> None:
        idle = [key for key, file in process.files.items() if not file.users]
        for key in idle[: max(0, len(process.files) - FILES_KEPT + 1)]:
            states = [s for here in process.files.pop(key).states for s in here]
            for state in states:
                self._home.pop(state.id, None)
            await process.server.free(states)

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        """Try tactics on a state, on the process that has it (LeanServer.step)."""
        process = self._home.get(state.id)
        if process is None:
            return [StepResult("error", message="the state was freed") for _ in tactics]
        results = await process.server.step(state, tactics)
        for result in results:
            for child in result.states:
                self._home[child.id] = process
        return results

    async def free(self, states: Sequence[ProofState]) -> None:
        """Free states (LeanServer.free)."""
        found: dict[_Process, list[ProofState]] = defaultdict(list)
        for state in states:
            process = self._home.pop(state.id, None)
            if process is not None:
                found[process].append(state)
                if state.id in self._roots:
                    self._roots.discard(state.id)
                    process.open -= 1
        for process, mine in found.items():
            await process.server.free(mine)

    @property
    def lean_s(self) -> float:
        """Seconds spent inside Lean on steps, over all processes."""
        return sum(s.counters.lean_s for s in self.servers)

    @property
    def steps(self) -> int:
        return sum(s.counters.steps for s in self.servers)
