"""Results of remote calls in the order in which they arrive. The cost of a result does not depend on the number of open calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

Handler = Callable[["Future[Any]"], None]
"""Called with the completed future, which holds the result or the exception that `ray.get` would raise."""


class Events:
    """Calls handlers in the thread that takes the events, so that they need no locks."""

    def __init__(self) -> None:
        self.waited = 0.0
        """Seconds in which there was nothing to do."""
        self.handled = 0
        self._arrived: SimpleQueue[tuple[Handler, Future[Any]]] = SimpleQueue()

    def watch(self, ref: Any, handler: Handler) -> None:
        """Call `handler` in `take` once the reference is resolved."""
        ref.future().add_done_callback(lambda future: self._arrived.put((handler, future)))

    def take(self, timeout: float) -> None:
        """Handle everything that has arrived; wait up to `timeout` seconds if nothing has."""
        began = time.monotonic()
        try:
            arrived = [self._arrived.get(timeout=timeout)]
        except Empty:
            return
        finally:
            self.waited += time.monotonic() - began
        # Later arrivals are left for the next call, so that this one returns.
        arrived += [self._arrived.get() for _ in range(self._arrived.qsize())]
        for handler, future in arrived:
            handler(future)
        self.handled += len(arrived)
