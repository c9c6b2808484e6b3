"""Many attempts on a few Lean processes: what `turnstile prove` does once it knows its tasks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prover.attempt import Found, Prover, attempt
from prover.commands.output import one_line, say, write_whole
from prover.commands.results import Results
from prover.commands.verify import explain_import
from prover.errors import UserError
from prover.filling import Filled, Filler
from prover.lean.audit import Auditor
from prover.lean.pool import LeanPool
from prover.lean.runtime import find_runtime
from prover.lean.server import LeanDied, LeanError, LeanServer
from prover.lean.text import LeanText
from prover.lean.theorem import ProofState, Theorem
from prover.negation import negation

IN_TURN = 2
"""Attempts that share a Lean process, so that it is never idle while one of them thinks."""


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
    quiet: bool = False

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


async def prove_file(text: LeanText, settings: Settings, log: Results) -> tuple[dict[str, Any], bytes]:
    """(the answer's fields, the filled file's bytes). Raises LeanError where the file has an error as it is."""
    from curricula.lean_file import load_file

    began = time.monotonic()
    rows: dict[int, dict[str, Any]] = {}
    filled = Filled()
    servers = [LeanServer(constants=settings.wants_premises) for _ in range(settings.workers)]
    with _stoppable() as stop:
        try:
            await servers[0].start()
            try:
                holes, states = await load_file(servers[0], text)
            except LeanError as error:
                raise UserError(explain_import(one_line(str(error)), text.path)) from None
            except LeanDied as error:
                raise UserError(f"{text.path}: Lean did not get through it: {one_line(str(error))}") from None
            holes = holes[: settings.limit]
            keys = [f"{h.name} at {h.line}:{h.column}" for h in holes]
            todo: deque[int] = deque()
            for i, hole in enumerate(holes):
                if keys[i] in log.rows:
                    rows[i] = log.rows[keys[i]]
                elif not hole.proposition:
                    rows[i] = _row(
                        hole.name, hole.line, Found("data", message="stands for data, not for a proof"), keys[i]
                    )
                    log.add(rows[i])
                else:
                    todo.append(i)
            premises = _premises(settings, text.imports)

            async def serve(number: int, progress: Callable[[str], None]) -> None:
                if number >= len(todo):
                    return
                server, mine = servers[number], states
                if number:
                    await server.start()
                    mine = (await load_file(server, text))[1]

                async def work() -> None:
                    while todo and not stop.is_set():
                        i = todo.popleft()
                        hole = holes[i]
                        theorem = Theorem(hole.name, "", imports=text.imports)
                        found = await _hole(theorem, mine[i], server, settings, premises)
                        rows[i] = _row(hole.name, hole.line, found, keys[i])
                        log.add(rows[i])
                        _page(settings, found, hole.name, i, len(holes))
                        progress(hole.name)

                await asyncio.gather(*(work() for _ in range(IN_TURN)))

            with _progress(len(todo), "sorries", settings.quiet) as progress:
                await _until(stop, *(serve(n, progress) for n in range(len(servers))))
            scripts = {i: r["proof"] for i, r in rows.items() if r["outcome"] == "found"}
            if scripts:
                await asyncio.gather(*(s.close() for s in servers))
                filler = Filler(text, holes, [i for i, h in enumerate(holes) if h.proposition])
                async with filler:
                    filled = await filler.settle(scripts)
        finally:
            await asyncio.gather(*(s.close() for s in servers))
        interrupted = stop.is_set()
    tasks = []
    for i, hole in enumerate(holes):
        row = dict(rows.get(i) or _row(hole.name, hole.line, Found("budget", message="interrupted"), keys[i]))
        row.pop("key")
        if row["outcome"] == "found":
            row["outcome"] = "proved" if i in filled.texts else "rejected"
            row["reason"] = "" if i in filled.texts else filled.refused.get(i, "")
        tasks.append({**row, "column": hole.column, "axioms": list(filled.axioms.get(i, ()))})
    edits = [(holes[i].start, holes[i].stop, t) for i, t in filled.texts.items()]
    return _document(tasks, began, interrupted), text.to_bytes(edits)


async def _hole(
    theorem: Theorem, states: Sequence[ProofState], server: LeanServer, settings: Settings, premises: Any
) -> Found:
    """An attempt at a `sorry`: one script that proves every state that it stands for."""
    scripts: list[str] = []
    calls, seconds, last = 0, 0.0, Found("error")
    for state in states:
        last = await attempt(
            theorem,
            state,
            server,
            settings.provers,
            max(1, settings.budget - calls),
            premises,
            settings.tree is not None,
        )
        calls, seconds = calls + last.lean_calls, seconds + last.seconds
        if last.outcome != "found":
            return Found(last.outcome, "", calls, seconds, last.message, "", last.page)
        if last.script not in scripts:
            scripts.append(last.script)
    script = scripts[0]
    if len(scripts) > 1:
        flat = [s.replace("\n", "\n   ") for s in scripts]
        script = "first\n" + "\n".join(f"| ({s})" for s in flat)
    return Found("found", script, calls, seconds, "", last.prover, last.page)


async def prove_theorems(theorems: list[Theorem], settings: Settings, log: Results) -> tuple[dict[str, Any], bytes]:
    """(the answer's fields, the proofs as Lean source)."""
    began = time.monotonic()
    theorems = theorems[: settings.limit]
    keys = [f"{i} {t.name}" for i, t in enumerate(theorems)]
    rows = {i: log.rows[k] for i, k in enumerate(keys) if k in log.rows}
    todo = deque(i for i in range(len(theorems)) if i not in rows)
    with _stoppable() as stop:
        if todo:
            async with LeanPool(settings.workers, constants=settings.wants_premises) as pool, Auditor() as auditor:
                with _progress(len(todo), "theorems", settings.quiet) as progress:

                    async def work() -> None:
                        while todo and not stop.is_set():
                            i = todo.popleft()
                            theorem = theorems[i]
                            found = await _theorem(theorem, pool, auditor, settings)
                            rows[i] = _row(theorem.name, _line(theorem), found, keys[i])
                            log.add(rows[i])
                            _page(settings, found, theorem.name, i, len(theorems))
                            progress(theorem.name)

                    await _until(stop, *(work() for _ in range(min(settings.workers * IN_TURN, len(todo)))))
        interrupted = stop.is_set()
    tasks = []
    for i, theorem in enumerate(theorems):
        row = dict(rows.get(i) or _row(theorem.name, _line(theorem), Found("budget", message="interrupted"), keys[i]))
        row.pop("key")
        tasks.append(row)
    return _document(tasks, began, interrupted), _proofs_source(theorems, tasks).encode()


async def _theorem(theorem: Theorem, pool: LeanPool, auditor: Auditor, settings: Settings) -> Found:
    """An attempt at a theorem and, if asked for, at its negation; audited."""
    share = settings.disprove
    found = await _opened(theorem, pool, auditor, settings, max(1, round(settings.budget * (1 - share))))
    false = negation(theorem) if share else None
    if false is None or found.outcome not in ("exhausted", "budget"):
        return found
    other = await _opened(false, pool, auditor, settings, max(1, round(settings.budget * share)))
    calls, seconds = found.lean_calls + other.lean_calls, found.seconds + other.seconds
    if other.outcome == "proved":
        return Found("disproved", other.script, calls, seconds, "its negation is proved", other.prover, other.page)
    return Found(found.outcome, "", calls, seconds, found.message, "", found.page)


async def _opened(theorem: Theorem, pool: LeanPool, auditor: Auditor, settings: Settings, budget: int) -> Found:
    root = None
    try:
        root = await _twice(lambda: pool.open(theorem))
        premises = _premises(settings, theorem.imports)
        found = await attempt(theorem, root, pool, settings.provers, budget, premises, settings.tree is not None)
    except (LeanError, LeanDied) as error:
        return Found("error", message=one_line(str(error)))
    finally:
        if root is not None:
            await pool.free([root])
    if found.outcome != "found":
        return found
    verdict = await auditor.audit(theorem, found.script)
    if verdict.verdict == "error":
        verdict = await auditor.audit(theorem, found.script)
    outcome = {"proved": "proved", "rejected": "rejected"}.get(verdict.verdict, "error")
    return Found(outcome, found.script, found.lean_calls, found.seconds, verdict.reason, found.prover, found.page)


async def _twice(call: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await call()
    except LeanDied:
        return await call()


_sources: dict[str, Any] = {}


def _premises(settings: Settings, imports: tuple[str, ...]) -> Any:
    """Premises for searches in this environment, where a policy wants them and the index is there."""
    if not settings.wants_premises:
        return None
    from prover.premises.index import load_cached
    from prover.premises.retrieve import PremiseSource

    lean = find_runtime().name
    if lean not in _sources:
        index = load_cached(lean)
        _sources[lean] = PremiseSource(index) if index is not None else None
    return _sources[lean].for_theorem(imports) if _sources[lean] is not None else None


def _row(name: str, line: int | None, found: Found, key: str) -> dict[str, Any]:
    return {
        "key": key,
        "name": name,
        "line": line,
        "outcome": found.outcome,
        "proof": found.script,
        "reason": found.message,
        "lean_calls": found.lean_calls,
        "seconds": round(found.seconds, 3),
        "prover": found.prover,
    }


def _line(theorem: Theorem) -> int | None:
    at = re.search(r":(\d+)$", theorem.source)
    return int(at.group(1)) if at else None


def _document(tasks: list[dict[str, Any]], began: float, interrupted: bool) -> dict[str, Any]:
    return {
        "tasks": tasks,
        "proved": sum(t["outcome"] == "proved" for t in tasks),
        "total": len(tasks),
        "interrupted": interrupted,
        "lean": find_runtime().name,
        "seconds": round(time.monotonic() - began, 2),
    }


def _proofs_source(theorems: Sequence[Theorem], tasks: Sequence[dict[str, Any]]) -> str:
    """What was proved, as Lean source, grouped by nothing: each with its context. Library theorems show their script."""
    out: list[str] = []
    for theorem, task in zip(theorems, tasks, strict=True):
        if task["outcome"] not in ("proved", "disproved"):
            continue
        body = "\n".join("  " + x if x else "" for x in task["proof"].split("\n"))
        shown = (negation(theorem) if task["outcome"] == "disproved" else theorem) or theorem
        if shown.statement is None:
            out.append(f"-- {shown.library} (from below: imports {', '.join(shown.imports)})\nby\n{body}\n")
            continue
        needs = [m for m in shown.imports if m != "Init"]
        head = f"-- needs: import {', '.join(needs)}\n" if needs else ""
        declared = f"theorem {shown.name} {shown.statement} := by\n{body}\n"
        if shown.context.strip():
            declared = f"section\n{shown.context.rstrip()}\n\n{declared}\nend\n"
        out.append(head + declared)
    return "\n".join(out)


def _page(settings: Settings, found: Found, name: str, number: int, total: int) -> None:
    if settings.tree is None or not found.page:
        return
    path = settings.tree
    if total > 1:
        path.with_suffix("").mkdir(exist_ok=True)
        safe = re.sub(r"[^\w.-]+", "_", name)[:80]
        path = path.with_suffix("") / f"{number + 1:04}-{safe}.html"
    write_whole(path, found.page.encode())


@contextlib.contextmanager
def _stoppable() -> Iterator[asyncio.Event]:
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


async def _until(stop: asyncio.Event, *work: Any) -> None:
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


@contextlib.contextmanager
def _progress(total: int, what: str, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A bar on standard error, where that is a terminal."""
    import sys

    if not total or not sys.stderr.isatty():
        yield lambda name: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = [
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}"),
    ]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, name="")
        yield lambda name: bar.update(task, advance=1, name=name[:40])
