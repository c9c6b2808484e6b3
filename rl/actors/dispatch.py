"""Distributes tasks to the provers of a fleet, their proofs to the auditors, and their results to the recorder.

Tasks of an actor that died are distributed again. All queues are bounded. A prover has at most `concurrent` tasks. No search starts
while `ray.audits` proofs per auditor wait, or while as many results wait for the recorder as searches may run at once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ray.exceptions import RayError

from prover.errors import UserError
from prover.lean.theorem import Verdict
from prover.solve.job import Found
from prover.solve.ledger import Attempt
from prover.solve.ray_start import LOST
from rl.actors.queues import TaskQueues
from rl.attempt import Task

if TYPE_CHECKING:
    from rl.actors.fleet import Fleet

MAX_TRIES = 3
"""Tries of a task before its error is accepted."""
POLL_INTERVAL_S = 2.0
"""Seconds between checks of the cluster's size."""
START_LIMIT = 600.0
"""Seconds until the first prover must be ready."""


@dataclass
class Member:
    """A prover actor."""

    actor: Any
    ready: Any
    """Reference that resolves when its Lean is ready."""
    up: bool = False
    broken: bool = False
    """Its Lean could not start. The member is kept, so that no replacement starts on that machine."""
    busy: int = 0


@dataclass(frozen=True)
class Finished:
    """A finished task with its verdicts."""

    task: Task
    found: Found
    """Without its examples."""
    verdicts: dict[str, Verdict]
    """Script -> verdict, for every claimed proof."""
    recorded: Any = None
    """What the recorder answered; None without a recorder."""


Record = Callable[[Finished, Any], Any]
"""Returns a reference to the recorder's answer, for a finished task and a reference to its examples."""


@dataclass
class _Search:
    """A search and what follows it."""

    task: Task
    examples: Any
    """Reference to the examples. The driver does not read them."""
    found: Found | None = None
    outstanding: int = 0
    """Audits without a verdict."""
    verdicts: dict[str, Verdict] = field(default_factory=dict)


class Dispatch:
    """One batch of tasks on a started fleet."""

    def __init__(self, fleet: Fleet, tasks: Sequence[Task], record: Record | None = None) -> None:
        """`tasks`: sorted by imports, because consecutive tasks go to the same prover."""
        self.fleet = fleet
        self.queues = TaskQueues(tasks, fleet.members)
        self._record = record
        self._recording = 0
        self._left = len(tasks)
        """Tasks that are not finished."""
        self._done: list[Finished] = []
        self._errors: Counter[str] = Counter()
        """Theorem -> number of errors."""
        self._free: dict[int, None] = {}
        """Provers that can take a task, longest waiting first."""
        for i, m in fleet.members.items():
            m.busy = 0
            self.offer(i)

    def offer(self, i: int) -> None:
        """Let a prover take tasks, if it is ready and has room."""
        m = self.fleet.members.get(i)
        if m is not None and m.up and m.busy < self.fleet.config.prover.concurrent:
            self._free[i] = None

    def finished(self) -> Iterator[Finished]:
        """Yields each task once it is finished and recorded. Raises UserError if no prover becomes ready."""
        fleet = self.fleet
        began = time.monotonic()
        while self._left:
            fleet.scale()
            self._assign()
            if any(m.up for m in fleet.members.values()):
                began = time.monotonic()  # if all die, their replacements get the same time
            elif time.monotonic() - began > START_LIMIT:
                raise UserError(f"no prover was ready within {START_LIMIT:.0f} s; run `turnstile doctor` to check Lean")
            fleet.events.take(POLL_INTERVAL_S if fleet.members else 0.2)
            done, self._done = self._done, []
            self._left -= len(done)
            yield from done

    def _assign(self) -> None:
        c = self.fleet.config.prover
        limit = c.concurrent * max(1, len(self.fleet.members))
        while self._free and self.queues and not self.fleet.auditors.full and self._recording < limit:
            i = next(iter(self._free))
            del self._free[i]
            m = self.fleet.members.get(i)
            task = self.queues.next(i) if m is not None and m.up else None
            if m is None or task is None:
                continue
            m.busy += 1
            self.offer(i)
            found, examples = m.actor.attempt.options(num_returns=2).remote(task)
            self._watch(found, self._search_ended, i, _Search(task, examples))

    def _watch(self, ref: Any, handler: Callable[..., None], *arguments: Any) -> None:
        self.fleet.events.watch(ref, self._mine(handler, *arguments))

    def _mine(self, handler: Callable[..., None], *arguments: Any) -> Callable[[Future[Any]], None]:
        """`handler`, unless the batch was abandoned meanwhile."""

        def handle(future: Future[Any]) -> None:
            if self.fleet.dispatch is self:
                handler(*arguments, future)

        return handle

    def _search_ended(self, i: int, search: _Search, future: Future[Any]) -> None:
        """Handle the end of a search: send its proofs to the audit, or retry after an error."""
        task = search.task
        if i in self.fleet.members:
            self.fleet.members[i].busy -= 1
            self.offer(i)
        try:
            found: Found = future.result()
        except RayError as e:
            self.fleet.prover_died(i)
            found = Found("error", reason=f"crash: prover died: {type(e).__name__}")
        search.found = found
        if found.outcome == "error":
            if found.reason.startswith("crash"):
                self.fleet.check_servers()
            self._retry(search)
            return
        scripts: set[str] = {s for s in (found.script, *(r["script"] for r in found.trace.rollouts)) if s}
        search.outstanding = len(scripts)
        for script in sorted(scripts):
            self.fleet.auditors.audit(
                task.negated or task.theorem, script, self._mine(self._audit_ended, search, script)
            )
        if not scripts:
            self._judged(search)

    def _retry(self, search: _Search) -> None:
        """Queue a failed task again, or finish it after `MAX_TRIES` errors."""
        name = search.task.theorem.name
        self._errors[name] += 1
        assert search.found is not None
        if search.found.reason.startswith("open") or self._errors[name] >= MAX_TRIES:
            self._judged(search)
        else:
            self.queues.requeue(search.task)

    def _audit_ended(self, search: _Search, script: str, future: Future[Any]) -> None:
        """Note the verdict on one proof. The last one finishes the task."""
        try:
            verdict: Verdict = future.result()
        except RayError as e:
            reason = f"crash: the auditor died repeatedly: {type(e).__name__}"
            verdict = Verdict(search.task.theorem.name, "error", reason)
        search.verdicts[script] = verdict
        search.outstanding -= 1
        if not search.outstanding:
            self._judged(search)

    def _judged(self, search: _Search) -> None:
        assert search.found is not None
        finished = Finished(search.task, search.found, search.verdicts)
        if self._record is None:
            self._done.append(finished)
            return
        self._recording += 1
        self._watch(self._record(finished, search.examples), self._recorded, search, finished)

    def _recorded(self, search: _Search, finished: Finished, future: Future[Any]) -> None:
        self._recording -= 1
        try:
            self._done.append(replace(finished, recorded=future.result()))
        except LOST as e:  # the examples were lost with the prover's machine
            if self._errors[search.task.theorem.name] >= MAX_TRIES:
                raise
            search.found = replace(finished.found, outcome="error", reason=f"crash: examples lost: {type(e).__name__}")
            search.verdicts, search.examples = {}, None
            self._retry(search)


def judge(finished: Finished) -> tuple[str, str, str | None, Any]:
    """(outcome, reason, script, verdict) of a task: from the audit if it claims a proof, else from the search."""
    found = finished.found
    if not finished.verdicts:
        return found.outcome, found.reason, None, None
    accepted = [s for s, v in finished.verdicts.items() if v.verdict == "proved"]
    if accepted:
        script = min(accepted, key=len)
        return ("disproved" if finished.task.negated is not None else "proved"), "", script, finished.verdicts[script]
    # Prefer a rejected proof to one that could not be judged.
    script, verdict = min(finished.verdicts.items(), key=lambda sv: (sv[1].verdict != "rejected", len(sv[0]), sv[0]))
    return verdict.verdict, verdict.reason, script, verdict


def attempt_of(phase: str, finished: Finished, lean: str, stats: Mapping[str, Any] | None = None) -> Attempt:
    """The ledger record of a finished task. `lean`: name of the Lean version if no verdict has one. `stats`: replaces those of the search.
    For rollouts, `stats["correct"]` of the record is the number of rollouts whose proof the audit accepted, and `stats["verdicts"]` has the
    number of distinct proofs by verdict."""
    outcome, reason, script, verdict = judge(finished)
    found = finished.found
    measured = dict(found.trace.stats if stats is None else stats)
    if found.trace.rollouts:
        accepted = {s for s, v in finished.verdicts.items() if v.verdict == "proved"}
        measured["correct"] = sum(row["script"] in accepted for row in found.trace.rollouts)
        measured["verdicts"] = dict(Counter(v.verdict for v in finished.verdicts.values()))
    return Attempt(
        phase,
        finished.task.theorem,
        outcome,
        found.lean_calls,
        found.trace.calls_to_solve if outcome in ("proved", "disproved") else None,
        found.seconds,
        script,
        reason,
        verdict.axioms if verdict else (),
        verdict.premises if verdict else (),
        found.trace.model_version,
        (verdict.lean if verdict else "") or lean,
        measured,
    )
