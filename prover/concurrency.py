"""Concurrent work on many items, and coroutines for callers with or without an event loop."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def each(
    items: Iterable[T], work: Callable[[T], Awaitable[R]], at_once: int, seconds: float = math.inf
) -> list[R]:
    """The results of `work`, in the order of the items, with at most `at_once` (at least 1) calls under way. Starts no item after `seconds`.

    The first exception cancels the work under way, and is raised once that has ended.
    """
    found: dict[int, R] = {}
    todo, began = enumerate(items), time.monotonic()

    async def lane() -> None:
        for i, item in todo:
            if time.monotonic() - began > seconds:
                return
            found[i] = await work(item)

    lanes = [asyncio.ensure_future(lane()) for _ in range(max(1, at_once))]
    try:
        await asyncio.gather(*lanes)  # a task group would ignore that `work` raises CancelledError
    finally:
        for task in lanes:
            task.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
    return [found[i] for i in sorted(found)]


def without_loop(work: Callable[[], R]) -> R:
    """The result of a function that starts an event loop. If one runs here, as in a notebook, the function runs in a thread of its own and
    blocks that loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def completed(work: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """The result of a coroutine function, for callers with or without an event loop."""
    return without_loop(lambda: asyncio.run(work()))
