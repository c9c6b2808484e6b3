"""Lean processes that outlive a command. The next command of the module finds them warm.

A command starts three that its texts share: one for searches, one that elaborates statements, and the checker. In one long command
they serve thousands of texts, so several short commands may share them too. Processes that serve a single text still start anew.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Hashable
from contextlib import ExitStack
from typing import Any, TypeVar
from unittest.mock import patch

from prover.lean.judges import Judges
from prover.lean.process import LeanProcess
from prover.lean.runtime import LeanRuntime
from prover.lean.server import LeanServer, Limits

T = TypeVar("T")

FULL_MB = 1200
"""Memory of a process that is not kept. Lean never releases an environment."""


class WarmLean:
    """Keeps processes, and runs coroutines on one event loop, to which their pipes belong."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.judges: dict[Hashable, _Judges] = {}
        self.idle: dict[Hashable, list[LeanProcess]] = defaultdict(list)

    def patches(self) -> ExitStack:
        """What makes commands use it, until the context ends."""
        warm = self

        class Server(_Server):
            idle = warm.idle

        stack = ExitStack()
        stack.enter_context(patch("asyncio.run", self.run))
        stack.enter_context(patch("prover.lean.audit.Judges", self._judges_of))
        stack.enter_context(patch("prover.lean.pool.LeanServer", Server))
        return stack

    def _judges_of(self, runtime: LeanRuntime, limits: Limits, fresh_every: int) -> Judges:
        key = (id(runtime), limits, fresh_every)
        if key not in self.judges:
            self.judges[key] = _Judges(runtime, limits, fresh_every)
        return self.judges[key]

    def run(self, main: Coroutine[Any, Any, T], **_: object) -> T:
        """As asyncio.run, which ends what is left of `main`, except the kept processes' own tasks."""
        try:
            return self.loop.run_until_complete(main)
        finally:
            self.loop.run_until_complete(self._end_rest())

    async def _end_rest(self) -> None:
        kept = {task for judges in self.judges.values() for server in judges.servers for task in server._tasks}
        left = asyncio.all_tasks() - kept - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.loop.shutdown_asyncgens()

    def close(self) -> None:
        for judges in self.judges.values():
            self.loop.run_until_complete(judges.end())
        for process in [p for idle in self.idle.values() for p in idle]:
            self.loop.run_until_complete(process.end())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


class _Judges(Judges):
    async def close(self) -> None:
        await self._stop("context")

    async def end(self) -> None:
        await super().close()


class _Server(LeanServer):
    """Takes over an idle process at its start, and leaves a healthy one at its end."""

    idle: dict[Hashable, list[LeanProcess]]

    async def _spawn(self) -> None:
        waiting = self.idle[id(self.runtime), self.limits.step_memory_mb]
        if self._generation < 0 and waiting:
            self._process = waiting.pop()
            self._generation = 0
            self._ready.set()
        else:
            await super()._spawn()

    async def close(self) -> None:
        works = self._ready.is_set() and not self.down and self._process.killed_for is None and not self.queue.sent
        if not works or self.own_mb() > FULL_MB:
            await super().close()
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.idle[id(self.runtime), self.limits.step_memory_mb].append(self._process)
        self._give_up("the server was closed")
