"""Lean processes that outlive a test. The next test, also of another file, finds them warm.

A command starts three that its texts share: one for searches, one that elaborates statements, and the checker. In one long command
they serve thousands of texts, so several short commands may share them too. Processes that serve a single text still start anew.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Coroutine, Hashable
from contextlib import ExitStack
from typing import Any, TypeVar
from unittest.mock import patch

from prover.lean.audit import Auditor
from prover.lean.judges import Judges
from prover.lean.process import LeanProcess
from prover.lean.runtime import LeanRuntime
from prover.lean.server import LeanServer, Limits

T = TypeVar("T")

FULL_MB = 1200
"""Memory of a process that is not kept. Lean never releases an environment."""
KEPT_MB = 800
"""The same at the end of a file."""


class WarmLean:
    """Keeps processes, and runs coroutines on one event loop, to which their pipes belong."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.judges: dict[Hashable, _Judges] = {}
        self.idle: dict[Hashable, list[LeanProcess]] = defaultdict(list)

    def auditor(self) -> Auditor:
        """An auditor on the kept processes."""
        with patch("prover.lean.audit.Judges", self._judges_of):
            return Auditor()

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
        # The last one is the one used last.
        judges = self.judges[key] = self.judges.pop(key, None) or _Judges(runtime, limits, fresh_every)
        return judges

    def run(self, main: Coroutine[Any, Any, T], **_: object) -> T:
        """As asyncio.run, which ends what is left of `main`, except the kept processes' own tasks. A thread beside the command gets a
        loop of its own."""
        if threading.current_thread() is not threading.main_thread():
            with asyncio.Runner() as runner:
                return runner.run(main)
        before = asyncio.all_tasks(self.loop)
        try:
            return self.loop.run_until_complete(main)
        finally:
            self.loop.run_until_complete(self._end_rest(before))

    async def _end_rest(self, before: set[asyncio.Task[Any]]) -> None:
        kept = {task for judges in self.judges.values() for server in judges.servers for task in server._tasks}
        left = asyncio.all_tasks() - before - kept - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.loop.shutdown_asyncgens()

    def thin(self) -> None:
        """Leave small processes only, of one search and one audit: those used last. Ends what is left of the tests."""
        self.loop.run_until_complete(self._end_rest(set()))
        *old, last = self.judges or [None]
        for key in old:
            self.loop.run_until_complete(self.judges.pop(key).end())
        if last is not None:
            self.loop.run_until_complete(self.judges[last].thin())
        processes = [p for idle in self.idle.values() for p in idle]
        keep = [(key, p) for key, idle in self.idle.items() for p in idle if p.own_mb() < KEPT_MB][-1:]
        self.idle.clear()
        for key, process in keep:
            self.idle[key].append(process)
        for process in set(processes) - {p for _, p in keep}:
            self.loop.run_until_complete(process.end())

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

    async def thin(self) -> None:
        kept = [(role, one.server) for role, one in self._kept.items()]
        for role in [role for role, server in kept if server.down or server.own_mb() > KEPT_MB]:
            await self._stop(role)

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
