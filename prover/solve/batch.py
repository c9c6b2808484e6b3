"""Proves a batch of tasks: attempts and audits run concurrently, and each result is on disk before the next step."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prover.concurrency import each
from prover.errors import UserError
from prover.lean.names import without_marks
from prover.lean.runtime import find_runtime
from prover.lean.theorem import Theorem
from prover.progress import Report, progress
from prover.solve import instances
from prover.solve.budgets import BudgetScheduler, Grant, estimates
from prover.solve.executor import Executor, LocalExecutor, settled
from prover.solve.job import Found, Job, Sorry
from prover.solve.negation import negation
from prover.solve.options import Settings
from prover.solve.proofs_source import proofs_source
from prover.solve.remarks import remarks_from, remarks_to
from prover.solve.resource_monitor import ResourceMonitor
from prover.solve.results import JUDGED, Earlier, Results
from prover.solve.saved_searches import SavedSearches
from prover.solve.session import document, kept_going, page_written, stoppable, until, workers_for

UNJUDGED = ("found", "refuted")
AUDITS = 8
"""Maximum number of proofs waiting for the audit. Searches pause beyond it."""
ANSWER_SHARE = 0.5
"""Share of the Lean calls spent on the negation of a statement that asks whether it is true."""
NOT_SHOWN = ("key", "outline", "used_up", "try", "lean", "goal", "unjudged", "seal")
"""Fields of the results file that are omitted from the answer."""


SEARCHED = ("budget", "exhausted")
"""Outcomes of searches without a proof."""
LEFT_OPEN = (*SEARCHED, "rejected")
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
    stated: Callable[[], Theorem | None] = lambda: None
    """Job.stated, which takes time to find."""
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
        """The key of its last row in `Results.rows`."""
        return self.task.key, self.number


def task_of(number: int, theorem: Theorem) -> Task:
    """The task for theorem `number` of a list."""
    area = theorem.source.rsplit(":", 1)[0] if theorem.library is None else theorem.source
    at = re.search(r":(\d+)$", theorem.source)
    return Task(f"{number} {theorem.name}", theorem, area, int(at.group(1)) if at else None)


async def prove_theorems(theorems: list[Theorem], settings: Settings, log: Results) -> tuple[dict[str, Any], bytes]:
    """Returns (the answer's fields, the proofs as Lean source). `failure`: the exception that ended the batch early, or None."""
    began = time.monotonic()
    names = {without_marks(name): name for name in settings.names}
    named = [(i, t) for i, t in enumerate(theorems) if not names or without_marks(t.name) in names]
    found = {without_marks(t.name) for _, t in named}
    if missing := [name for bare, name in names.items() if bare not in found]:
        known = ", ".join(t.name for t in theorems[:12]) + (" …" if len(theorems) > 12 else "")
        raise UserError(f"--only {missing[0]}: no theorem has this name; the input has {known}")
    numbered = named[: settings.limit]
    theorems = [t for _, t in numbered]
    batch = Batch([task_of(i, t) for i, t in numbered], settings, log)
    figures: dict[str, Any] = {}
    failure: Exception | None = None
    lean = next((r["lean"] for r in log.rows.values() if r.get("lean")), "")
    with stoppable() as stop:
        if batch.left():
            async with executor_for(settings, batch.left()) as executor:
                figures, failure = await batch.prove(executor, stop, "theorems")
                lean = executor.lean
        interrupted = stop.is_set()
    tasks = [{k: v for k, v in row.items() if k not in NOT_SHOWN} for row in batch.rows()]
    answer = {**document(tasks, began, interrupted, lean, failure), **figures, "open": batch.open()}
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
        # Lean has to read a `sorry` first.
        expects = estimates(settings.provers, [t.theorem.statement if t.sorry is None else None for t in tasks])
        self.schedule = BudgetScheduler([t.area for t in tasks], settings.budget, settings.total_budget, expects)
        self.last: dict[int, dict[str, Any]] = {}
        """Task -> the audited row of its last try."""
        self._calls: Counter[int] = Counter()
        self._searches = SavedSearches(log.path)
        self._refuting = False
        """Whether the rounds of the scheduler are over, and the current one tries instances."""
        self._round = self._next_round()

    def left(self) -> int:
        """Number of attempts in the current round."""
        return len(self._round)

    def rows(self) -> list[dict[str, Any]]:
        """One row per task, with the Lean calls of all its tries. A proof in the results file counts, even if a retry's total is used up
        before its turn."""
        judged = {key: r for (key, _), r in self.log.rows.items() if r["outcome"] in JUDGED and not r.get("unjudged")}
        out = []
        for i, task in enumerate(self.tasks):
            row = self.last.get(i) or judged.get(task.key)
            row = row or self._row(Grant(i, 0, 0), Found("budget", reason="interrupted"))
            calls: int = self._calls[i] if i in self._calls else row["lean_calls"]
            calls += self._earlier(task).lean_calls
            out.append({**row, "lean_calls": calls, "name": task.theorem.name})
        return out

    def open(self) -> list[Target]:
        """The tasks that were tried and have no proof, for a learner; empty if the settings do not ask for learning."""
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
        if not self._round:
            return {}, None
        async with ResourceMonitor(executor.load) as monitor:

            def load() -> str:
                return f"Lean busy {monitor.utilisation():.0%}, {monitor.samples[-1][1] / 1024:.1f} GiB"

            with progress(self.left(), noun, load) as report:
                failure = await kept_going(self.run(executor, stop, report))
        return monitor.figures(), failure

    async def run(self, executor: Executor, stop: asyncio.Event, report: Report) -> None:
        """Run rounds until the scheduler has no more or `stop` is set. Proofs found by then are still audited."""
        while self._round and not stop.is_set():
            await self._one_round(executor, stop, report)
            if not stop.is_set():
                self._round = self._next_round()

    async def _one_round(self, executor: Executor, stop: asyncio.Event, report: Report) -> None:
        # Sorted by imports, so that each process loads few environments.
        todo = sorted(self._round, key=lambda g: (self.tasks[g.task].theorem.imports, g.task))
        audits: set[asyncio.Task[None]] = set()

        async def work(grant: Grant) -> None:
            found = await self._attempt(executor, grant)
            # Started here, so that the audit outlives a cancelled worker.
            audits.add(asyncio.create_task(self._finish(executor, grant, found, report)))
            if len(waiting := [t for t in audits if not t.done()]) > AUDITS:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in [t for t in audits if t.done()]:
                audits.discard(task)
                task.result()

        failure = await kept_going(until(stop, each(todo, work, executor.places)))
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
            stated=task.stated() if s.disprove or self._refuting else None,
            saved=saved if s.total_budget is not None or s.learn or self.log.path is not None else None,
        )

    async def _attempt(self, executor: Executor, grant: Grant) -> Found:
        if (known := self._known(grant)) is not None:  # found earlier, but not audited by this Lean
            outcome: str = known["outcome"]
            same = ("lean_calls", "seconds", "reason", "prover", "goal", "statement_hash")
            return Found(
                {"proved": "found", "disproved": "refuted"}.get(outcome, outcome),
                known["proof"],
                used_up=tuple(known.get("used_up", ())),
                remarks=remarks_from(known["remarks"]),
                learned=known.get("learned", {}),
                **{name: known[name] for name in same},
            )
        job = self._job(grant)
        found = await (self._refuted(executor, job, grant) if self._refuting else executor.attempt(job))
        if job.saved is not None and not self._refuting:
            self._searches.put(self.tasks[grant.task].key, found.saved)
            found = replace(found, saved=b"")
        if found.outcome in UNJUDGED or found.remarks:
            self.log.add({**self._row(grant, found), "unjudged": True})
        task = self.tasks[grant.task]
        page_written(self.settings, found, task.page or task.theorem.name, grant.task, len(self.tasks))
        return found

    async def _refuted(self, executor: Executor, job: Job, grant: Grant) -> Found:
        """Try small instances against a task that the search left open. Without a false one, its outcome stays."""
        before = self.last[grant.task]
        provers = tuple(p.name for p in self.settings.provers)
        found = await executor.attempt(
            replace(
                job, lean_calls=instances.CALLS, disprove=1.0, skip=provers, find_remarks=False, page=False, saved=None
            )
        )
        used_up = tuple(before.get("used_up", ()))
        if found.outcome != "error":  # after a fault of Lean, a later run tries again
            used_up = (*used_up, instances.NAME)
        if found.outcome != "refuted":
            found = replace(found, outcome=before["outcome"], reason=before["reason"])
        seconds = before["seconds"] + found.seconds
        return replace(
            found, seconds=seconds, goal=before["goal"], statement_hash=before["statement_hash"], used_up=used_up
        )

    async def _finish(self, executor: Executor, grant: Grant, found: Found, report: Report) -> None:
        claimed = found.outcome
        found = await settled(executor, self._job(grant), found)
        before = self.last[grant.task] if self._refuting else {}
        if before and claimed == "refuted" and found.outcome != "disproved":  # the theorem is still open
            claimed = before["outcome"]
            used_up = before.get("used_up", ()) if found.outcome == "error" else found.used_up
            found = replace(
                found, outcome=claimed, script="", reason=before["reason"], prover="", used_up=tuple(used_up)
            )
        row = self._row(grant, found, executor.lean)
        row["remarks"] += [r for r in before.get("remarks", []) if r not in row["remarks"]]
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
        while not self._refuting and (grants := self.schedule.next_round()):
            if todo := self._without_result(grants):
                return todo
        self._refuting = True
        return self._without_result(self._to_refute())

    def _without_result(self, grants: Sequence[Grant]) -> list[Grant]:
        """Records the known results, and returns the grants that have none."""
        todo = []
        for grant in grants:
            row = self._known(grant)
            if row is None or row.get("unjudged") or self._audited_by_other_lean(grant, row):
                todo.append(grant)
            else:
                self._record(grant, row)
        return todo

    def _to_refute(self) -> list[Grant]:
        """A further try, of instances alone, for each open task whose negation can be stated. It comes after all searches, so it takes
        no Lean calls from them. With a total, only as many tries as the unspent calls allow, besides those with a known result."""
        total = self.settings.total_budget
        tries = {
            Grant(i, row.get("try", 0) + 1, 0): row
            for i, row in sorted(self.last.items())
            if row["outcome"] in SEARCHED
        }
        known = [grant for grant in tries if self._known(grant) is not None]
        new = [grant for grant, row in tries.items() if grant not in known and self._may_be_false(grant, row)]
        spare = None if total is None else max(0, total - self.schedule.spent) // instances.MOST_CALLS
        return known + new[:spare]

    def _may_be_false(self, grant: Grant, row: dict[str, Any]) -> bool:
        """Whether to try instances on a task with this last row: time is left, and its negation can be stated."""
        s, task = self.settings, self.tasks[grant.task]
        if not s.look or instances.NAME in row.get("used_up", ()) or s.within.exhausted(0, 0, row["seconds"]):
            return False
        stated = task.theorem if task.sorry is None else task.stated()
        return stated is not None and negation(stated) is not None

    def _earlier(self, task: Task) -> Earlier:
        return self.log.earlier.get(task.key) or self.log.earlier.get(task.earlier_key) or Earlier()

    def _known(self, grant: Grant) -> dict[str, Any] | None:
        """The row of a try in the results file."""
        task = self.tasks[grant.task]
        found = self.log.rows.get((task.key, grant.number)) or self.log.rows.get((task.earlier_key, grant.number))
        return None if found is None else {**found, "key": task.key}

    def _audited_by_other_lean(self, grant: Grant, row: dict[str, Any]) -> bool:
        """Whether another Lean accepted the proof. It is then audited again by this machine's Lean."""
        if self.settings.ray is not None or self.tasks[grant.task].sorry is not None or row["outcome"] not in JUDGED:
            return False
        return row.get("lean", "") not in ("", find_runtime().name)

    def _record(self, grant: Grant, row: dict[str, Any]) -> None:
        task, calls = self.tasks[grant.task], row["lean_calls"]
        self.last[grant.task] = row
        self._calls[grant.task] += calls
        over = row["outcome"] != "budget"
        # A kept result is of an earlier run, which had a total of its own.
        kept = not self.log.kept.isdisjoint((task.key, task.earlier_key))
        self.schedule.report(grant, 0 if kept else calls, over, row["outcome"] in ("proved", "found"))

    def _row(self, grant: Grant, found: Found, lean: str = "") -> dict[str, Any]:
        row = row_of(self.tasks[grant.task], found, grant.number, lean)
        if self._refuting:
            del row["outline"]  # the search is in an earlier row
        return row


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
