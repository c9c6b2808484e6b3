"""Shared Lean processes for `Dojo`. Its interface is synchronous, but the servers are asynchronous."""

from __future__ import annotations

import asyncio
import atexit
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
        self.pid = os.getpid()
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


_background: Background | None = None


def shared() -> Background:
    """The Background that all Dojos of this process share."""
    global _background
    if _background is None or _background.pid != os.getpid():  # a forked child has the object but not the thread
        _background = Background()
        atexit.register(_background.close)
    return _background


def close_servers() -> None:
    """End the Lean processes that the Dojos of this process share. The next Dojo starts new ones."""
    if _background is not None and _background.pid == os.getpid():
        _background.close()
