"""`turnstile prove` on many theorems: attempts and audits side by side, every step on the disk before the next."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from prover.lean.runtime import find_runtime
from prover.lean.server import statement_source
from prover.lean.theorem import Theorem
from prover.progress import Report, progress
from prover.solve.attempt import Found
from prover.solve.budgets import Grant, Schedule
from prover.solve.executor import Crew, Done, Job, settled
from prover.solve.negation import negation
from prover.solve.remarks import duplicates, remarks_from, remarks_to
from prover.solve.resource_monitor import Gauge
from prover.solve.results import Results
from prover.solve.session import Settings, document, kept_going, line_of, page_written, stoppable, until

UNJUDGED = ("found", "refuted")
AUDITS = 8
"""Proofs that may wait for the audit before searches wait for them."""


async def prove_theorems(theorems: list[Theorem], settings: Settings, log: Results) -> tuple[dict[str, Any], bytes]:
    """(the answer's fields, the proofs as Lean source). `failure`: what ended the work early, if something did."""
    began = time.monotonic()
    batch = Batch(theorems[: settings.limit], settings, log)
    figures: dict[str, Any] = {}
    failure: Exception | None = None
    with stoppable() as stop:
        if not batch.finished():
            crew = crew_for(settings, batch.left())
            async with crew, Gauge(crew.load) as gauge:

                def load() -> str:
                    return f"Lean busy {gauge.utilisation():.0%}, {gauge.samples[-1][1] / 1024:.1f} GiB"

                with progress(batch.left(), "theorems", load) as report:
                    failure = await kept_going(batch.run(crew, stop, report))
                figures = gauge.figures()
                lean = crew.lean
        else:
            lean = next((r["lean"] for r in log.rows.values() if r.get("lean")), "")
        interrupted = stop.is_set()
    tasks = batch.tasks()
    answer = {**document(tasks, began, interrupted or failure is not None, lean), **figures, "failure": failure}
    return answer, proofs_source(batch.theorems, tasks).encode()


def crew_for(settings: Settings, tasks: int) -> Crew:
    """Lean processes here, or on a Ray cluster where one is asked for."""
    if settings.ray is not None:
        from prover.solve.ray_executor import RayCrew

        return RayCrew(settings.ray, settings.policy, settings.seed, settings.workers)
    from prover.solve.executor import LocalCrew
    from prover.solve.session import workers_for

    return LocalCrew(settings.provers, workers_for(settings.workers, tasks))


class Batch:
    """Theorems, what is known of each, and what to try next."""

    def __init__(self, theorems: list[Theorem], settings: Settings, log: Results) -> None:
        self.theorems = theorems
        self.settings = settings
        self.log = log
        self.keys = [f"{i} {t.name}" for i, t in enumerate(theorems)]
        areas = [t.source.rsplit(":", 1)[0] if t.library is None else t.source for t in theorems]
        self.schedule = Schedule(areas, settings.budget, settings.total)
        self.rows: dict[int, dict[str, Any]] = {}
        """Task -> the line of its last try, audited."""
        self._calls: dict[int, int] = {}
        self._round = self._next_round()

    def finished(self) -> bool:
        return not self._round

    def left(self) -> int:
        """How many attempts are planned, as far as is known now."""
        return len(self._round)

    def tasks(self) -> list[dict[str, Any]]:
        """A row for each theorem, for the answer."""
        out = []
        for i, theorem in enumerate(self.theorems):
            row = dict(self.rows.get(i) or self._row(i, Grant(i, 0, 0), Done(Found("budget", message="interrupted"))))
            for name in ("key", "outline", "used_up", "try", "lean", "goal"):
                row.pop(name, None)
            row["lean_calls"] = self._calls.get(i, 0)
            out.append({**row, "name": theorem.name})
        duplicates(out)
        for row in out:
            row.pop("statement_hash", None)
        return out

    async def run(self, crew: Crew, stop: asyncio.Event, report: Report) -> None:
        """Round after round, until the schedule is done or `stop` is set. What is found when it is set is still audited."""
        while self._round and not stop.is_set():
            await self._one_round(crew, stop, report)
            if not stop.is_set():
                self._round = self._next_round()

    async def _one_round(self, crew: Crew, stop: asyncio.Event, report: Report) -> None:
        # Neighbours share imports, so that a process needs few environments at a time.
        todo = deque(sorted(self._round, key=lambda g: (self.theorems[g.task].imports, g.task)))
        gate = asyncio.Semaphore(AUDITS)
        audits: set[asyncio.Task[None]] = set()

        async def work() -> None:
            while todo and not stop.is_set():
                grant = todo.popleft()
                done = await self._attempt(crew, grant)
                # From here on what was found is in the audit's hands, whatever becomes of this worker.
                audits.add(asyncio.create_task(self._finish(crew, grant, done, gate, report)))
                if len(waiting := [t for t in audits if not t.done()]) > AUDITS:
                    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in [t for t in audits if t.done()]:
                    audits.discard(task)
                    task.result()

        failure = await kept_going(until(stop, *(work() for _ in range(min(crew.places, len(todo))))))
        await asyncio.gather(*audits)
        if failure is not None:
            raise failure

    async def _attempt(self, crew: Crew, grant: Grant) -> Done:
        known = self.log.rows.get((self.keys[grant.task], grant.number))
        if known is not None:  # found before a kill, and not audited yet, or not by this Lean
            outcome: str = known["outcome"]
            outcome = {"proved": "found", "disproved": "refuted"}.get(outcome, outcome)
            found = Found(
                outcome,
                known["proof"],
                known["lean_calls"],
                known["seconds"],
                known["reason"],
                known["prover"],
                used_up=tuple(known["used_up"]),
            )
            return Done(found, known["goal"], known["statement_hash"], remarks_from(known["remarks"]))
        s, theorem = self.settings, self.theorems[grant.task]
        skip = tuple(self.rows.get(grant.task, {}).get("used_up", ()))
        done = await crew.attempt(Job(theorem, grant.calls, s.disprove, skip, s.look, s.tree is not None, s.within))
        if done.found.outcome in UNJUDGED or done.remarks:
            self.log.add({**self._row(grant.task, grant, done), "unjudged": True})
        page_written(s, done.found, theorem.name, grant.task, len(self.theorems))
        return done

    async def _finish(self, crew: Crew, grant: Grant, done: Done, gate: asyncio.Semaphore, report: Report) -> None:
        async with gate:
            found = done.found.outcome
            done = await settled(crew, Job(self.theorems[grant.task], grant.calls), done)
            row = self._row(grant.task, grant, done, crew.lean)
            if found in UNJUDGED or done.remarks:
                row.pop("outline", None)  # in the line before
            if found in UNJUDGED and row["outcome"] == "error":  # the audit's, not the proof's: a resume asks it again
                self.log.add({**row, "outcome": found, "unjudged": True})
            else:
                self.log.add(row)
            self._take(grant, row)
            report(row["name"], row["outcome"], row["lean_calls"])

    def _next_round(self) -> list[Grant]:
        """The next grants that are not in the results already."""
        while grants := self.schedule.next_round():
            todo = []
            for grant in grants:
                row = self.log.rows.get((self.keys[grant.task], grant.number))
                if row is None or row.get("unjudged") or self._judged_elsewhere(row):
                    todo.append(grant)
                else:
                    self._take(grant, row)
            if todo:
                return todo
        return []

    def _judged_elsewhere(self, row: dict[str, Any]) -> bool:
        """Whether another Lean than this machine's accepted the proof: then this one judges it before the answer says so."""
        if self.settings.ray is not None or row["outcome"] not in ("proved", "disproved"):
            return False
        return row.get("lean", "") not in ("", find_runtime().name)

    def _take(self, grant: Grant, row: dict[str, Any]) -> None:
        self.rows[grant.task] = row
        self._calls[grant.task] = self._calls.get(grant.task, 0) + row["lean_calls"]
        over = row["outcome"] != "budget"
        self.schedule.report(grant, row["lean_calls"], over, row["outcome"] == "proved")

    def _row(self, task: int, grant: Grant, done: Done, lean: str = "") -> dict[str, Any]:
        found = done.found
        return {
            "key": self.keys[task],
            "try": grant.number,
            "name": self.theorems[task].name,
            "line": line_of(self.theorems[task]),
            "outcome": found.outcome,
            "proof": found.script,
            "reason": found.message,
            "lean_calls": found.lean_calls,
            "seconds": round(found.seconds, 3),
            "prover": found.prover,
            "remarks": remarks_to(done.remarks),
            "goal": done.goal,
            "area": self.schedule.areas[task],
            "statement_hash": done.statement_hash,
            "used_up": list(found.used_up),
            "lean": lean,
            "outline": found.outline,
        }


def proofs_source(theorems: Sequence[Theorem], tasks: Sequence[dict[str, Any]]) -> str:
    """What was proved, as Lean source, each with its context. Library theorems show their script."""
    out: list[str] = []
    for theorem, task in zip(theorems, tasks, strict=True):
        if task["outcome"] not in ("proved", "disproved"):
            continue
        shown = (negation(theorem) if task["outcome"] == "disproved" else theorem) or theorem
        if shown.statement is None:
            body = "\n".join("  " + x if x else "" for x in task["proof"].split("\n"))
            out.append(f"-- {shown.library} (from below: imports {', '.join(shown.imports)})\nby\n{body}\n")
            continue
        needs = [m for m in shown.imports if m != "Init"]
        head = f"-- needs: import {', '.join(needs)}\n" if needs else ""
        declared = statement_source(replace(shown, context=""), task["proof"])
        if shown.context.strip():
            declared = f"section\n{shown.context.rstrip()}\n\n{declared}\nend\n"
        out.append(head + declared)
    return "\n".join(out)
