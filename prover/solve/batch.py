"""Proves a batch of tasks: attempts and audits run concurrently, and each result is on disk before the next step."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from prover.errors import UserError
from prover.lean.runtime import find_runtime
from prover.lean.server import statement_source
from prover.lean.theorem import Theorem
from prover.progress import Report, progress
from prover.solve.budgets import BudgetScheduler, Grant
from prover.solve.declarations import declared_names, scope_ends
from prover.solve.executor import Executor, LocalExecutor, settled
from prover.solve.job import Found, Job, Sorry
from prover.solve.negation import negation
from prover.solve.remarks import duplicates, remarks_from, remarks_to
from prover.solve.resource_monitor import ResourceMonitor
from prover.solve.results import Earlier, Results
from prover.solve.saved_searches import SavedSearches
from prover.solve.session import Settings, document, kept_going, page_written, stoppable, until, workers_for

UNJUDGED = ("found", "refuted")
AUDITS = 8
"""Maximum number of proofs waiting for the audit. Searches pause beyond it."""
ANSWER_SHARE = 0.5
"""Share of the Lean calls spent on the negation of a statement that asks whether it is true."""
NOT_SHOWN = ("key", "outline", "used_up", "try", "lean", "goal", "unjudged")
"""Fields of the results file that are omitted from the answer."""


LEFT_OPEN = ("budget", "exhausted", "rejected")
"""Outcomes of tasks that a learner may still prove."""


@dataclass(frozen=True)
class Task:
    """A theorem, or a `sorry` of a file, to prove."""

    key: str
    """Identifies the task in the results file."""
    theorem: Theorem
    area: str
    """Module or file. Tasks of one area share a success rate (prover.solve.budgets)."""
    line: int | None = None
    sorry: Sorry | None = None
    stated: Theorem | None = None
    """See Job."""
    page: str = ""
    """Name of the search page. Empty: the theorem's name."""
    earlier_key: str = ""
    """The key in results files of earlier versions."""


@dataclass(frozen=True)
class Target:
    """A task that the search left open."""

    task: Task
    number: int
    """Index of its last try."""
    searched: bytes = b""
    """Its last search, packed; empty if it was not kept."""

    @property
    def place(self) -> tuple[str, int]:
        """Where its last row is in the results."""
        return self.task.key, self.number


def task_of(number: int, theorem: Theorem) -> Task:
    """The task for theorem `number` of a list."""
    area = theorem.source.rsplit(":", 1)[0] if theorem.library is None else theorem.source
    at = re.search(r":(\d+)$", theorem.source)
    return Task(f"{number} {theorem.name}", theorem, area, int(at.group(1)) if at else None)


async def prove_theorems(theorems: list[Theorem], settings: Settings, log: Results) -> tuple[dict[str, Any], bytes]:
    """Returns (the answer's fields, the proofs as Lean source). `failure`: the exception that ended the batch early, or None."""
    began = time.monotonic()
    named = [(i, t) for i, t in enumerate(theorems) if not settings.only or t.name in settings.only]
    if missing := [name for name in settings.only if all(t.name != name for _, t in named)]:
        known = ", ".join(t.name for t in theorems[:12]) + (" …" if len(theorems) > 12 else "")
        raise UserError(f"--only {missing[0]}: no theorem has this name; the input has {known}")
    numbered = named[: settings.limit]
    theorems = [t for _, t in numbered]
    batch = Batch([task_of(i, t) for i, t in numbered], settings, log)
    figures: dict[str, Any] = {}
    failure: Exception | None = None
    lean = next((r["lean"] for r in log.rows.values() if r.get("lean")), "")
    with stoppable() as stop:
        if not batch.finished():
            async with executor_for(settings, batch.left()) as executor:
                figures, failure = await batch.prove(executor, stop, "theorems")
                lean = executor.lean
        interrupted = stop.is_set() or failure is not None
    tasks = [{k: v for k, v in row.items() if k not in NOT_SHOWN} for row in batch.rows()]
    duplicates(tasks)
    for task in tasks:
        task.pop("statement_hash", None)
    answer = {**document(tasks, began, interrupted, lean), **figures, "failure": failure, "open": batch.open()}
    return answer, proofs_source(theorems, tasks).encode()


def executor_for(settings: Settings, tasks: int) -> Executor:
    """A Ray executor if the settings name a cluster, else a local one."""
    if settings.ray is not None:
        from prover.solve.ray_executor import RayExecutor

        return RayExecutor(settings.ray, settings.policy, settings.seed, settings.workers, settings.rule)
    return LocalExecutor(settings.provers, workers_for(settings.workers, tasks))


class Batch:
    """Tasks, their results so far, and the attempts to make next."""

    def __init__(self, tasks: Sequence[Task], settings: Settings, log: Results) -> None:
        self.tasks = tasks
        self.settings = settings
        self.log = log
        self.schedule = BudgetScheduler([t.area for t in tasks], settings.budget, settings.total)
        self.last: dict[int, dict[str, Any]] = {}
        """Task -> the audited row of its last try."""
        self._calls: dict[int, int] = {}
        self._searches = SavedSearches(log.path)
        self._round = self._next_round()

    def finished(self) -> bool:
        return not self._round

    def left(self) -> int:
        """Number of attempts in the current round."""
        return len(self._round)

    def rows(self) -> list[dict[str, Any]]:
        """One row per task, with the Lean calls of all its tries."""
        out = []
        for i, task in enumerate(self.tasks):
            row = self.last.get(i) or self._row(i, Grant(i, 0, 0), Found("budget", reason="interrupted"))
            calls = self._calls.get(i, 0) + self._earlier(task).lean_calls
            out.append({**row, "lean_calls": calls, "name": task.theorem.name})
        return out

    def open(self) -> list[Target]:
        """The tasks that were tried and have no proof, if a learner is to have them."""
        if not self.settings.learn:
            return []
        tried = {i: row for i, row in self.last.items() if row["outcome"] in LEFT_OPEN}
        return [
            Target(self.tasks[i], row.get("try", 0), self._searches.get(self.tasks[i].key))
            for i, row in sorted(tried.items())
        ]

    async def prove(
        self, executor: Executor, stop: asyncio.Event, noun: str
    ) -> tuple[dict[str, Any], Exception | None]:
        """Run with progress on standard error. Returns (resource figures, the exception that ended it early or None)."""
        async with ResourceMonitor(executor.load) as monitor:

            def load() -> str:
                return f"Lean busy {monitor.utilisation():.0%}, {monitor.samples[-1][1] / 1024:.1f} GiB"

            with progress(self.left(), noun, load) as report:
                failure = await kept_going(self.run(executor, stop, report))
        return monitor.figures(), failure

    async def run(self, executor: Executor, stop: asyncio.Event, report: Report) -> None:
        """Run rounds until the scheduler has no more or `stop` is set. Scripts found by then are still audited."""
        while self._round and not stop.is_set():
            await self._one_round(executor, stop, report)
            if not stop.is_set():
                self._round = self._next_round()

    async def _one_round(self, executor: Executor, stop: asyncio.Event, report: Report) -> None:
        # Sorted by imports, so that each process loads few environments.
        todo = deque(sorted(self._round, key=lambda g: (self.tasks[g.task].theorem.imports, g.task)))
        gate = asyncio.Semaphore(AUDITS)
        audits: set[asyncio.Task[None]] = set()

        async def work() -> None:
            while todo and not stop.is_set():
                grant = todo.popleft()
                found = await self._attempt(executor, grant)
                # Started here, so that the audit outlives a cancelled worker.
                audits.add(asyncio.create_task(self._finish(executor, grant, found, gate, report)))
                if len(waiting := [t for t in audits if not t.done()]) > AUDITS:
                    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in [t for t in audits if t.done()]:
                    audits.discard(task)
                    task.result()

        failure = await kept_going(until(stop, *(work() for _ in range(min(executor.places, len(todo))))))
        await asyncio.gather(*audits)
        if failure is not None:
            raise failure

    def _job(self, grant: Grant) -> Job:
        s, task = self.settings, self.tasks[grant.task]
        continued = grant.number > 0 or task.key in self.log.earlier
        saved = self._searches.get(task.key) if continued else b""
        skip = tuple(self.last.get(grant.task, {}).get("used_up", self._earlier(task).used_up))
        return Job(
            task.theorem,
            grant.calls,
            max(s.disprove, ANSWER_SHARE) if task.theorem.answer == "proposition" else s.disprove,
            skip,
            s.look,
            s.tree is not None,
            s.within,
            sorry=task.sorry,
            stated=task.stated,
            saved=saved if s.total is not None or s.learn or self.log.path is not None else None,
        )

    async def _attempt(self, executor: Executor, grant: Grant) -> Found:
        if (known := self._known(grant)) is not None:  # found earlier, but not audited by this Lean
            outcome: str = known["outcome"]
            outcome = {"proved": "found", "disproved": "refuted"}.get(outcome, outcome)
            return Found(
                outcome,
                known["proof"],
                known["lean_calls"],
                known["seconds"],
                known["reason"],
                known["prover"],
                used_up=tuple(known.get("used_up", ())),
                goal=known["goal"],
                statement_hash=known["statement_hash"],
                remarks=remarks_from(known["remarks"]),
                learned=known.get("learned", {}),
            )
        job = self._job(grant)
        found = await executor.attempt(job)
        if job.saved is not None:
            self._searches.put(self.tasks[grant.task].key, found.saved)
            found = replace(found, saved=b"")
        if found.outcome in UNJUDGED or found.remarks:
            self.log.add({**self._row(grant.task, grant, found), "unjudged": True})
        task = self.tasks[grant.task]
        page_written(self.settings, found, task.page or task.theorem.name, grant.task, len(self.tasks))
        return found

    async def _finish(
        self, executor: Executor, grant: Grant, found: Found, gate: asyncio.Semaphore, report: Report
    ) -> None:
        async with gate:
            claimed = found.outcome
            found = await settled(executor, self._job(grant), found)
            row = self._row(grant.task, grant, found, executor.lean)
            if claimed in UNJUDGED or found.remarks:
                row.pop("outline", None)  # already in the previous row
            if claimed in UNJUDGED and row["outcome"] == "error":
                # The audit failed, not the proof: a resumed batch audits it again.
                self.log.add({**row, "outcome": claimed, "unjudged": True})
            else:
                self.log.add(row)
            self._record(grant, row)
            report(row["name"], row["outcome"], row["lean_calls"])

    def _next_round(self) -> list[Grant]:
        """The next grants without a final result."""
        while grants := self.schedule.next_round():
            todo = []
            for grant in grants:
                row = self._known(grant)
                if row is None or row.get("unjudged") or self._audited_by_other_lean(grant, row):
                    todo.append(grant)
                else:
                    self._record(grant, row)
            if todo:
                return todo
        return []

    def _earlier(self, task: Task) -> Earlier:
        return self.log.earlier.get(task.key) or self.log.earlier.get(task.earlier_key) or Earlier()

    def _known(self, grant: Grant) -> dict[str, Any] | None:
        """The row of a try in the results file."""
        task = self.tasks[grant.task]
        found = self.log.rows.get((task.key, grant.number)) or self.log.rows.get((task.earlier_key, grant.number))
        return None if found is None else {**found, "key": task.key}

    def _audited_by_other_lean(self, grant: Grant, row: dict[str, Any]) -> bool:
        """Whether another Lean accepted the proof. It is then audited again by this machine's Lean."""
        if self.settings.ray is not None or self.tasks[grant.task].sorry is not None:
            return False
        if row["outcome"] not in ("proved", "disproved"):
            return False
        return row.get("lean", "") not in ("", find_runtime().name)

    def _record(self, grant: Grant, row: dict[str, Any]) -> None:
        self.last[grant.task] = row
        self._calls[grant.task] = self._calls.get(grant.task, 0) + row["lean_calls"]
        over = row["outcome"] != "budget"
        self.schedule.report(grant, row["lean_calls"], over, row["outcome"] in ("proved", "found"))

    def _row(self, number: int, grant: Grant, found: Found, lean: str = "") -> dict[str, Any]:
        return row_of(self.tasks[number], found, grant.number, lean)


def row_of(task: Task, found: Found, number: int = 0, lean: str = "") -> dict[str, Any]:
    """The row of a results file. `number`: index of the try. `lean`: the Lean that audited it."""
    return {
        "key": task.key,
        "try": number,
        "name": task.theorem.name,
        "line": task.line,
        "outcome": found.outcome,
        "proof": found.script,
        "reason": found.reason,
        "lean_calls": found.lean_calls,
        "seconds": round(found.seconds, 3),
        "prover": found.prover,
        "remarks": remarks_to(found.remarks),
        "goal": found.goal,
        "area": task.area,
        "statement_hash": found.statement_hash,
        "used_up": list(found.used_up),
        "lean": lean,
        "outline": found.outline,
        **({"learned": found.learned} if found.learned else {}),
    }


def proofs_source(theorems: Sequence[Theorem], tasks: Sequence[dict[str, Any]]) -> str:
    """The proved theorems as Lean source, each with its context. Library theorems show only the script.

    A context that declares a name again stands in a namespace of its own.
    """
    out: list[str] = []
    declared: set[str] = set()
    for number, (theorem, task) in enumerate(zip(theorems, tasks, strict=True), 1):
        if task["outcome"] not in ("proved", "disproved"):
            continue
        shown = (negation(theorem) if task["outcome"] == "disproved" else theorem) or theorem
        if shown.statement is None:
            body = "\n".join("  " + x if x else "" for x in task["proof"].split("\n"))
            out.append(f"-- {shown.library} (from below: imports {', '.join(shown.imports)})\nby\n{body}\n")
            continue
        needs = [m for m in shown.imports if m != "Init"]
        head = f"-- needs: import {', '.join(needs)}\n" if needs else ""
        names = declared_names(f"{shown.context}\ntheorem {shown.name} :")
        again = bool(names & declared)
        declared |= names
        if again and shown.name.startswith("_root_."):
            shown = replace(shown, name=f"_root_.Proof{number}.{shown.name.removeprefix('_root_.')}")
        source = statement_source(replace(shown, context=""), task["proof"])
        if shown.context.strip() or again:
            begin, end = (f"namespace Proof{number}", f"end Proof{number}") if again else ("section", "end")
            ends = "".join(f"{line}\n" for line in [*scope_ends(shown.context), end])
            source = f"{begin}\n{shown.context.rstrip()}\n\n{source}\n{ends}"
        out.append(head + source)
    return "\n".join(out)
