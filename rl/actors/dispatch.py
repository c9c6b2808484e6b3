"""Distributes tasks to the provers of a fleet, and their proofs to the auditor.

Tasks of an actor that died are distributed again. Queues are bounded: a prover has at most `concurrent` tasks, and no search
starts while `ray.audits` proofs wait for the audit.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError

from prover.errors import UserError
from prover.lean.theorem import Verdict
from prover.solve.ledger import Attempt
from prover.solve.ray_start import LOST
from rl.attempt import Found, Task

if TYPE_CHECKING:
    from rl.actors.fleet import Fleet

CHANCES = 3
"""Tries of a task before its error is accepted."""
LOOK_EVERY = 2.0
"""Seconds between checks of the cluster's size."""
START_LIMIT = 600.0
"""Seconds until the first prover must be ready."""


@dataclass
class Member:
    """A prover actor and its queue of tasks."""

    actor: Any
    ready: Any
    """Reference that resolves when its Lean is ready."""
    up: bool = False
    broken: bool = False
    """Its Lean could not start. The member is kept, so that no replacement starts on that machine."""
    busy: int = 0
    queue: deque[Task] = field(default_factory=deque)


@dataclass(frozen=True)
class Finished:
    """A finished task with its verdicts."""

    task: Task
    found: Found
    verdicts: dict[str, Verdict]
    """Script -> verdict, for every claimed proof."""


@dataclass
class _Claim:
    """The result of a search while its proofs are audited."""

    task: Task
    found: Found
    outstanding: int
    verdicts: dict[str, Verdict] = field(default_factory=dict)


class Dispatch:
    """One batch of tasks on a started fleet."""

    def __init__(self, fleet: Fleet, tasks: Sequence[Task]) -> None:
        """`tasks`: sorted by imports, because consecutive tasks go to the same prover."""
        self.fleet = fleet
        self.longest_audit_queue = 0
        self._searches: dict[Any, tuple[int, Task]] = {}
        """Reference -> (member, task)."""
        self._audits: dict[Any, tuple[_Claim, str]] = {}
        """Reference -> (claim, audited script)."""
        self._errors: Counter[str] = Counter()
        """Theorem -> number of errors."""
        members = fleet.members.values()
        share = -(-len(tasks) // max(1, len(members)))
        for k, m in enumerate(members):
            m.queue = deque(tasks[k * share : (k + 1) * share])
            m.busy = 0
        fleet.unassigned.clear()
        if not members:  # an elastic run before its machines join
            fleet.unassigned.extend(tasks)

    def finished(self) -> Iterator[Finished]:
        """Yields each task once it is finished. Raises UserError if no prover becomes ready."""
        fleet = self.fleet
        began = time.monotonic()
        while True:
            fleet.look()
            self._assign()
            starting = {m.ready: i for i, m in fleet.members.items() if not m.up and not m.broken}
            if not self._searches and not self._audits and not self._tasks_left():
                return
            if any(m.up for m in fleet.members.values()):
                began = time.monotonic()  # if all die, their replacements get the same time
            elif time.monotonic() - began > START_LIMIT:
                raise UserError(f"no prover was ready within {START_LIMIT:.0f} s; run `turnstile doctor` to check Lean")
            refs = [*self._searches, *self._audits, *starting]
            if not refs:
                time.sleep(0.2)
                continue
            ready, _ = ray.wait(refs, num_returns=1, timeout=LOOK_EVERY)
            for ref in ready:
                if ref in starting:
                    self._prover_started(starting[ref], ref)
                else:
                    done = self._search_ended(ref) if ref in self._searches else self._audit_ended(ref)
                    if done is not None:
                        yield done

    def _assign(self) -> None:
        config = self.fleet.config
        for i, m in self.fleet.members.items():
            while m.up and m.busy < config.prover.concurrent and len(self._audits) < config.ray.audits:
                task = self._next_task(m)
                if task is None:
                    break
                m.busy += 1
                self._searches[m.actor.attempt.remote(task)] = (i, task)

    def _next_task(self, member: Member) -> Task | None:
        """The next task of a prover. An idle prover takes the last task of the longest queue."""
        if self.fleet.unassigned:
            return self.fleet.unassigned.popleft()
        if member.queue:
            return member.queue.popleft()
        longest = max((m.queue for m in self.fleet.members.values()), key=len)
        return longest.pop() if longest else None

    def _tasks_left(self) -> bool:
        return bool(self.fleet.unassigned) or any(m.queue for m in self.fleet.members.values())

    def _prover_started(self, i: int, ref: Any) -> None:
        try:
            ray.get(ref)
            self.fleet.members[i].up = True
        except LOST:
            self.fleet.lose(i)
        except UserError as e:  # that machine has no Lean, which is fatal only if no other has one
            self.fleet.members[i].broken = True
            if not self.fleet.config.ray.elastic or all(m.broken for m in self.fleet.members.values()):
                raise
            self.fleet.say(f"a prover could not start; the others continue without it: {e}")
            self.fleet.pass_on(self.fleet.members[i])

    def _search_ended(self, ref: Any) -> Finished | None:
        """Handle the end of a search: finish the task, send its proofs to the audit, or retry after an error."""
        i, task = self._searches.pop(ref)
        if i in self.fleet.members:
            self.fleet.members[i].busy -= 1
        try:
            found: Found = ray.get(ref)
        except RayError as e:
            self.fleet.lose(i)
            found = Found(task.theorem, "error", 0, None, 0.0, reason=f"crash: prover died: {type(e).__name__}")
        if found.outcome == "error":
            if found.reason.startswith("crash"):
                self.fleet.check_servers()
            return self._retry(task, found)
        scripts: set[str] = {r["script"] for r in found.rollouts if r["script"]}
        if found.script is not None:
            scripts.add(found.script)
        if not scripts:
            return Finished(task, found, {})
        claim = _Claim(task, found, len(scripts))
        for script in sorted(scripts):
            self._audits[self._audit(task, script)] = (claim, script)
        self.longest_audit_queue = max(self.longest_audit_queue, len(self._audits))
        return None

    def _retry(self, task: Task, found: Found) -> Finished | None:
        """Queue a failed task again, or finish it after `CHANCES` errors."""
        self._errors[task.theorem.name] += 1
        if found.reason.startswith("open") or self._errors[task.theorem.name] >= CHANCES:
            return Finished(task, found, {})
        self.fleet.unassigned.append(task)
        return None

    def _audit_ended(self, ref: Any) -> Finished | None:
        """Record the verdict on one proof. The last one finishes the task."""
        claim, script = self._audits.pop(ref)
        try:
            verdict: Verdict = ray.get(ref)
        except RayError as e:
            verdict = self._audit_again(claim.task, script, e)
        claim.verdicts[script] = verdict
        claim.outstanding -= 1
        return None if claim.outstanding else Finished(claim.task, claim.found, claim.verdicts)

    def _audit(self, task: Task, script: str) -> Any:
        return self.fleet.auditor.audit.remote(task.negated or task.theorem, script)

    def _audit_again(self, task: Task, script: str, error: Exception) -> Verdict:
        """Audit a proof again after the auditor died. The verdict is `error` if the second one dies too."""
        for chance in (1, 2):
            try:
                return ray.get(self._audit(task, script))
            except RayError as e:
                error = e
                if chance == 1:  # the dead auditor may not be replaced yet
                    self.fleet.replace_auditor()
        return Verdict(task.theorem.name, "error", f"crash: the audit died twice: {type(error).__name__}")


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
    """The ledger record of a finished task. `lean`: used if no verdict names one. `stats`: replaces those of the search."""
    outcome, reason, script, verdict = judge(finished)
    found = finished.found
    return Attempt(
        phase,
        finished.task.theorem,
        outcome,
        found.lean_calls,
        found.calls_to_solve if outcome in ("proved", "disproved") else None,
        found.seconds,
        script,
        reason,
        verdict.axioms if verdict else (),
        verdict.premises if verdict else (),
        found.model_version,
        (verdict.lean if verdict else "") or lean,
        dict(found.stats if stats is None else stats),
    )
