"""Shared Lean processes for `Dojo`. Its interface is synchronous, but the servers are asynchronous."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from prover.lean.audit import Auditor
from prover.lean.server import LeanServer, Limits

T = TypeVar("T")


class Background:
    """An event loop in a thread, and one running server for each set of limits."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._servers: dict[Limits, LeanServer] = {}
        self._auditor: Auditor | None = None
        self._lock = threading.Lock()
        threading.Thread(target=self._loop.run_forever, name="turnstile-dojo", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def server(self, limits: Limits) -> LeanServer:
        with self._lock:
            if limits not in self._servers:
                server = LeanServer(limits=limits)
                self.run(server.start())
                self._servers[limits] = server
            return self._servers[limits]

    def auditor(self) -> Auditor:
        with self._lock:
            self._auditor = self._auditor or Auditor()
            return self._auditor

    def close(self) -> None:
        with self._lock:
            servers, self._servers = list(self._servers.values()), {}
            auditor, self._auditor = self._auditor, None
        if auditor is not None:
            self.run(auditor.close())
        for server in servers:
            self.run(server.close())


@functools.cache
def shared() -> Background:
    """The Background that all Dojos of this process share."""
    background = Background()
    atexit.register(background.close)
    return background


os.register_at_fork(after_in_child=shared.cache_clear)  # a forked child has the object but not the thread


def close_servers() -> None:
    """End the Lean processes that the Dojos of this process share. The next Dojo starts new ones."""
    if shared.cache_info().currsize:
        shared().close()
