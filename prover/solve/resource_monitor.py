"""Measures memory and CPU time of the Lean processes during a batch."""

from __future__ import annotations

import asyncio
import logging
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psutil

from prover.solve.job import Load

_log = logging.getLogger(__name__)

KEPT = 240
"""Maximum number of samples. Beyond it, every second one is dropped and the interval doubles."""


class ResourceMonitor:
    """Samples the load of an executor periodically. Use as an async context manager, inside the executor's."""

    def __init__(self, load: Callable[[], Awaitable[Load]]) -> None:
        self._load = load
        self._every = 1.0
        """Seconds between two samples."""
        self._began = time.monotonic()
        self.samples: list[tuple[float, float, float]] = []
        """(seconds since the start, MiB of all Lean processes, MiB of this process) per sample."""
        self.peak_mb = 0.0
        self.cpu_s = 0.0
        self._cpu: dict[int, float] = {}
        self._processes: dict[int, psutil.Process] = {}
        self._task: asyncio.Task[None] | None = None
        self._first = self.last = Load(0, 0.0, 0, 0)

    async def __aenter__(self) -> ResourceMonitor:
        self._first = await self._load()
        self._began = time.monotonic()
        self._sample(self._first, count=False)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                self._sample(await self._load())
            except Exception as error:  # of a process or actor that is being replaced
                _log.debug("no sample: %s: %s", type(error).__name__, error)
            if len(self.samples) > KEPT:
                self.samples = self.samples[::2]
                self._every *= 2

    def _sample(self, load: Load, count: bool = True) -> None:
        self.last = load
        rss = 0
        for pid in load.pids:
            try:
                process = self._processes.setdefault(pid, psutil.Process(pid))
                rss += process.memory_info().rss
                times = process.cpu_times()
            except psutil.Error:
                continue
            used = times.user + times.system
            self.cpu_s += max(0.0, used - self._cpu.get(pid, 0.0)) if count else 0.0
            self._cpu[pid] = used
        for pid in set(self._processes) - set(load.pids):
            del self._processes[pid]
        own = psutil.Process().memory_info().rss / 2**20
        mb = rss / 2**20
        self.peak_mb = max(self.peak_mb, mb)
        self.samples.append((round(self.seconds, 1), round(mb, 1), round(own, 1)))

    def utilisation(self) -> float:
        """Share of time that the searching Lean processes were busy, in [0, 1]."""
        seconds = self.samples[-1][0] * self.last.processes
        return min(1.0, (self.last.busy_s - self._first.busy_s) / seconds) if seconds else 0.0

    def figures(self) -> dict[str, Any]:
        """Utilisation and memory, as in `--json`."""
        third = max(1, len(self.samples) // 3)
        early, late = self.samples[third : 2 * third] or self.samples, self.samples[-third:]
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        seconds = max(self.seconds, 1e-9)
        return {
            "lean_utilisation": round(self.utilisation(), 3),
            "lean_cpu_share": round(self.cpu_s / (seconds * cores), 3),
            "lean_steps": self.last.steps - self._first.steps,
            "lean_restarts": self.last.restarts - self._first.restarts,
            "memory_mb": {
                "peak": round(self.peak_mb),
                "middle": round(statistics.median(s[1] for s in early)),
                "last": round(statistics.median(s[1] for s in late)),
                "own_middle": round(statistics.median(s[2] for s in early)),
                "own_last": round(statistics.median(s[2] for s in late)),
            },
        }
