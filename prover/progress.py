"""Progress of a batch on standard error: a bar on a terminal, else a line every 30 s."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

from prover.console import plain, say

EVERY_S = 30.0
"""Seconds between lines without a terminal."""

Report = Callable[[str, str, int], None]
"""Called with (name, outcome, Lean calls) of each finished task."""


class Pace:
    """Counts and rates of finished tasks."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.calls = 0
        self.outcomes: Counter[str] = Counter()
        self._began = time.monotonic()

    def add(self, outcome: str, calls: int) -> None:
        self.done += 1
        self.total = max(self.total, self.done)  # later rounds of a batch are not known at its beginning
        self.calls += calls
        self.outcomes[outcome] += 1

    def text(self, extra: str = "") -> str:
        """E.g. `120/1000, 30 proved, 41 a minute, 12.3 Lean calls/s, 22 min left`. The proofs of a file are audited at its end,
        and are `found` until then."""
        seconds = max(time.monotonic() - self._began, 1e-3)
        rate = self.done / seconds
        left = timedelta(seconds=round((self.total - self.done) / rate)) if rate else "?"
        found, proved = self.outcomes["found"], self.outcomes["proved"]
        parts = [
            f"{self.done}/{self.total}",
            f"{proved} proved" if proved or not found else "",
            f"{found} found, not yet audited" if found else "",
            f"{60 * rate:.0f} a minute",
            f"{self.calls / seconds:.1f} Lean calls/s",
            extra,
            f"{left} left",
        ]
        return ", ".join(p for p in parts if p)


@contextlib.contextmanager
def progress(total: int, what: str, extra: Callable[[], str] = lambda: "") -> Iterator[Report]:
    """Shows rates and the remaining time. `what`: plural noun for the tasks. `extra`: returns more text for each update."""
    pace = Pace(total)
    if not sys.stderr.isatty():
        last = time.monotonic()

        def line(name: str, outcome: str, calls: int) -> None:
            nonlocal last
            pace.add(outcome, calls)
            if time.monotonic() - last > EVERY_S:
                last = time.monotonic()
                say(f"turnstile: {what}: {pace.text(extra())}")

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    fields = (TextColumn(f"{{task.fields[{field}]}}", markup=False) for field in ("pace", "name"))
    columns = [TextColumn(what), BarColumn(), *fields]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, name="", pace="")

        def advance(name: str, outcome: str, calls: int) -> None:
            pace.add(outcome, calls)
            bar.update(task, advance=1, name=plain(name)[:30], pace=pace.text(extra()))

        yield advance
