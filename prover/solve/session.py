"""What `turnstile prove` does alike for files and for theorems: settings, stopping, the answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prover.console import one_line, say
from prover.errors import UserError
from prover.files import write_whole
from prover.lean.runtime import find_runtime
from prover.search.budget import NO_LIMIT, Budget
from prover.solve.attempt import Prover
from prover.solve.job import Found


@dataclass(frozen=True)
class Settings:
    """What was asked for."""

    provers: Sequence[Prover]
    budget: int
    workers: int
    disprove: float = 0.0
    tree: Path | None = None
    limit: int | None = None
    seed: int = 0
    policy: str = ""
    """As it was named: workers on other machines make it anew."""
    total: int | None = None
    """Lean calls for all tasks together."""
    look: bool = True
    """Whether to look at statements, too."""
    ray: str | None = None
    """Address of a Ray cluster whose machines do the work; `local` starts one here."""
    within: Budget = NO_LIMIT
    """Limits of a theorem besides its Lean calls."""
    mark: bool = False
    """Whether to leave a comment behind every `sorry` that stays."""
    project: bool = False
    """Whether the tasks are those of many files."""

    @property
    def wants_premises(self) -> bool:
        return any(p.wants_premises for p in self.provers)


def workers_for(asked: int, tasks: int) -> int:
    """How many Lean processes: as asked, else by cores, memory (2 GiB each, and as much for the audit) and tasks."""
    if asked:
        return asked
    try:
        available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, ValueError, OSError):
        available, cores = 8.0, os.cpu_count() or 1
    return max(1, min(cores, int((available - 4) / 2), 16, tasks))


def document(tasks: list[dict[str, Any]], began: float, interrupted: bool, lean: str = "") -> dict[str, Any]:
    """The answer's fields."""
    return {
        "tasks": tasks,
        "proved": sum(t["outcome"] == "proved" for t in tasks),
        "total": len(tasks),
        "interrupted": interrupted,
        "lean": lean or find_runtime().name,
        "seconds": round(time.monotonic() - began, 2),
    }


def page_written(settings: Settings, found: Found, name: str, number: int, total: int) -> None:
    """Write the search's page, where one is asked for: into a folder where there are several tasks. That it cannot be written is
    said, and ends nothing."""
    if settings.tree is None or not found.page:
        return
    path = settings.tree
    if total > 1 or settings.project or path.is_dir():
        folder = path if path.is_dir() else path.with_suffix("")
        safe = re.sub(r"[^\w.-]+", "_", name)[:80]
        path = folder / f"{number + 1:04}-{safe}.html"
        with contextlib.suppress(FileExistsError):  # a file of that name: said below
            folder.mkdir(exist_ok=True)
    try:
        write_whole(path, found.page.encode("utf-8", "replace"))
    except UserError as error:
        say(f"turnstile: no page of {one_line(name)}: {error}")


@contextlib.contextmanager
def stoppable() -> Iterator[asyncio.Event]:
    """An event that the first Ctrl-C (or a polite kill) sets; the second one ends everything."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def interrupt() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
            return
        stop.set()
        say("turnstile: stopping; what was found is being audited and written (Ctrl-C again to leave at once)")

    handled = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, interrupt)
            handled.append(number)
    try:
        yield stop
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


async def kept_going(work: Awaitable[Any]) -> Exception | None:
    """What the work raises, for later: what was found till then is worth having."""
    try:
        await work
    except Exception as error:
        return error
    return None


async def until(stop: asyncio.Event, *work: Any) -> None:
    """Run all until they are done, or cancel them when the event is set. Raises what one of them raises."""
    waiter = asyncio.create_task(stop.wait())
    tasks = [asyncio.create_task(w) for w in work]
    try:
        pending = set(tasks)
        while pending and not stop.is_set():
            done, _ = await asyncio.wait([*pending, waiter], return_when=asyncio.FIRST_COMPLETED)
            pending -= done
            for task in done - {waiter}:
                task.result()
    finally:
        for task in [*tasks, waiter]:
            task.cancel()
        await asyncio.gather(*tasks, waiter, return_exceptions=True)
