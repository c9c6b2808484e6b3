"""The parts that all inputs of `turnstile prove` share: interruption, and the answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import Awaitable, Coroutine, Iterator
from typing import Any

from prover.console import one_line, say
from prover.errors import UserError
from prover.files import write_whole
from prover.lean.runtime import find_runtime
from prover.solve.job import Found
from prover.solve.options import Settings
from prover.solve.remarks import duplicates


def workers_for(asked: int, tasks: int) -> int:
    """Number of Lean processes: `asked`, or if 0 as many as cores, memory (2 GiB each, 4 GiB reserved) and tasks allow."""
    if asked:
        return asked
    try:
        available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, ValueError, OSError):
        available, cores = 8.0, os.cpu_count() or 1
    return max(1, min(cores, int((available - 4) / 2), 16, tasks))


def document(
    tasks: list[dict[str, Any]], began: float, interrupted: bool, lean: str, failure: Exception | None
) -> dict[str, Any]:
    """The answer's fields. `failure`: the exception that ended the batch early."""
    duplicates(tasks)
    for task in tasks:
        task.pop("statement_hash", None)
    return {
        "tasks": tasks,
        "proved": sum(t["outcome"] == "proved" for t in tasks),
        "total": len(tasks),
        "interrupted": interrupted or failure is not None,
        "lean": lean or find_runtime().name,
        "seconds": round(time.monotonic() - began, 2),
        "failure": failure,
    }


def page_written(settings: Settings, found: Found, name: str, number: int, total: int) -> None:
    """Write the search page if requested, into a folder if there are several tasks. A failure to write is only reported."""
    if settings.tree is None or not found.page:
        return
    path = settings.tree
    if total > 1 or settings.project or path.is_dir():
        folder = path if path.is_dir() else path.with_suffix("")
        safe = re.sub(r"[^\w.-]+", "_", name)[:80]
        path = folder / f"{number + 1:04}-{safe}.html"
        with contextlib.suppress(FileExistsError):  # write_whole reports it
            folder.mkdir(exist_ok=True)
    try:
        write_whole(path, found.page.encode("utf-8", "replace"))
    except UserError as error:
        say(f"turnstile: no page of {one_line(name)} was written: {error}")


@contextlib.contextmanager
def stoppable() -> Iterator[asyncio.Event]:
    """An event that the first Ctrl-C or SIGTERM sets. The second one cancels the task. Afterwards the handlers are those from before."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def interrupt() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
            return
        stop.set()
        say("turnstile: stopping after the proofs found so far are audited and written (Ctrl-C again to quit now)")

    before: dict[int, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, interrupt)
            before[number] = handler
    try:
        yield stop
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)  # sets the system's default
            if handler is not None:  # None: not set from Python
                signal.signal(number, handler)


async def kept_going(work: Awaitable[Any]) -> Exception | None:
    """Await `work` and return its exception, so that the results found so far can be saved."""
    try:
        await work
    except Exception as error:
        return error
    return None


async def until(stop: asyncio.Event, work: Coroutine[Any, Any, Any]) -> None:
    """Await `work`, or cancel it when `stop` is set."""
    tasks = [asyncio.create_task(work), asyncio.create_task(stop.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
