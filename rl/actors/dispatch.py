"""Tasks on their way through a fleet: handed out, searched, their proofs audited, finished.

A task that was with an actor that died is handed out again. Everything waits in bounded queues: a prover has `concurrent` tasks,
and no search starts while `ray.audits` proofs wait for the audit.
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
from prover.solve.ray_start import ACTOR_LOST
from rl.attempt import Found, Task

if TYPE_CHECKING:
    from rl.actors.fleet import Fleet

CHANCES = 3
"""So often a task is handed out before its error is believed."""
LOOK_EVERY = 2.0
"""Seconds between looks at who joined or left the cluster."""
START_LIMIT = 600.0
"""Seconds for the first prover to be ready."""


@dataclass
class Member:
    """A prover actor and the tasks that are meant for it."""

    actor: Any
    ready: Any
    """Reference that resolves once its Lean runs."""
    up: bool = False
    broken: bool = False
    """Its Lean could not start. It stays where it is, so that no other is started in its place."""
    busy: int = 0
    queue: deque[Task] = field(default_factory=deque)


@dataclass(frozen=True)
class Finished:
    """A task that is done with."""

    task: Task
    found: Found
    verdicts: dict[str, Verdict]
    """By script, for every script that claims a proof."""


@dataclass
class _Claim:
    """What a search found, while its proofs are judged."""

    task: Task
    found: Found
    outstanding: int
    verdicts: dict[str, Verdict] = field(default_factory=dict)


class Dispatch:
    """One lot of tasks on a fleet that is started."""

    def __init__(self, fleet: Fleet, tasks: Sequence[Task]) -> None:
        """Neighbours in `tasks` go to the same prover: order them by imports."""
        self.fleet = fleet
        self.longest_audit_queue = 0
        self._searching: dict[Any, tuple[int, Task]] = {}
        """By reference: (member, task)."""
        self._judging: dict[Any, tuple[_Claim, str]] = {}
        """By reference: a claim and the script that is audited."""
        self._errors: Counter[str] = Counter()
        """By theorem."""
        members = fleet.members.values()
        share = -(-len(tasks) // max(1, len(members)))
        for k, m in enumerate(members):
            m.queue = deque(tasks[k * share : (k + 1) * share])
            m.busy = 0
        fleet.unassigned.clear()
        if not members:  # an elastic run whose machines are still to come
            fleet.unassigned.extend(tasks)

    def finished(self) -> Iterator[Finished]:
        """Every task once, as it is finished. Raises UserError where no prover gets ready."""
        fleet = self.fleet
        began = time.monotonic()
        while True:
            fleet.look()
            self._feed()
            starting = {m.ready: i for i, m in fleet.members.items() if not m.up and not m.broken}
            if not self._searching and not self._judging and not self._left():
                return
            if any(m.up for m in fleet.members.values()):
                began = time.monotonic()  # if all of them die, their replacements have as long as the first ones
            elif time.monotonic() - began > START_LIMIT:
                raise UserError(
                    f"no prover was ready within {START_LIMIT:.0f} s; `turnstile doctor` says what Lean lacks"
                )
            refs = [*self._searching, *self._judging, *starting]
            if not refs:
                time.sleep(0.2)
                continue
            ready, _ = ray.wait(refs, num_returns=1, timeout=LOOK_EVERY)
            for ref in ready:
                if ref in starting:
                    self._started(starting[ref], ref)
                else:
                    done = self._searched(ref) if ref in self._searching else self._judged(ref)
                    if done is not None:
                        yield done

    def _feed(self) -> None:
        config = self.fleet.config
        for i, m in self.fleet.members.items():
            while m.up and m.busy < config.prover.concurrent and len(self._judging) < config.ray.audits:
                task = self._take(m)
                if task is None:
                    break
                m.busy += 1
                self._searching[m.actor.attempt.remote(task)] = (i, task)

    def _take(self, member: Member) -> Task | None:
        """The prover's next task; an idle prover helps the busiest, from the far end of its queue."""
        if self.fleet.unassigned:
            return self.fleet.unassigned.popleft()
        if member.queue:
            return member.queue.popleft()
        longest = max((m.queue for m in self.fleet.members.values()), key=len)
        return longest.pop() if longest else None

    def _left(self) -> bool:
        return bool(self.fleet.unassigned) or any(m.queue for m in self.fleet.members.values())

    def _started(self, i: int, ref: Any) -> None:
        try:
            ray.get(ref)
            self.fleet.members[i].up = True
        except ACTOR_LOST:
            self.fleet.lose(i)
        except UserError as e:  # that machine has no Lean: the run needs it only where it has no other
            self.fleet.members[i].broken = True
            if not self.fleet.config.ray.elastic or all(m.broken for m in self.fleet.members.values()):
                raise
            self.fleet.say(f"a prover cannot start, and the others go on without it: {e}")
            self.fleet.pass_on(self.fleet.members[i])

    def _searched(self, ref: Any) -> Finished | None:
        """A search ended: what it found is finished, goes to the audit, or, after an error, to another prover."""
        i, task = self._searching.pop(ref)
        if i in self.fleet.members:
            self.fleet.members[i].busy -= 1
        try:
            found: Found = ray.get(ref)
        except RayError as e:
            self.fleet.lose(i)
            found = Found(task.theorem, "error", 0, None, 0.0, reason=f"prover died: {type(e).__name__}")
        if found.outcome == "error":
            if "Actor" in found.reason:
                self.fleet.check_servers()
            return self._again(task, found)
        scripts: set[str] = {r["script"] for r in found.rollouts if r["script"]}
        if found.script is not None:
            scripts.add(found.script)
        if not scripts:
            return Finished(task, found, {})
        claim = _Claim(task, found, len(scripts))
        for script in sorted(scripts):
            self._judging[self._audit(task, script)] = (claim, script)
        self.longest_audit_queue = max(self.longest_audit_queue, len(self._judging))
        return None

    def _again(self, task: Task, found: Found) -> Finished | None:
        """Hand an errored task out once more, or give it up."""
        self._errors[task.theorem.name] += 1
        if found.reason.startswith("open") or self._errors[task.theorem.name] >= CHANCES:
            return Finished(task, found, {})
        self.fleet.unassigned.append(task)
        return None

    def _judged(self, ref: Any) -> Finished | None:
        """The audit's word on one proof; the last one finishes the task."""
        claim, script = self._judging.pop(ref)
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
        """The auditor died under this proof: another one judges it; if that dies too, it is the proof's fault."""
        for chance in (1, 2):
            try:
                return ray.get(self._audit(task, script))
            except RayError as e:
                error = e
                if chance == 1:  # nobody has replaced the dead one yet
                    self.fleet.replace_auditor()
        return Verdict(task.theorem.name, "error", f"the audit died twice: {type(error).__name__}")


def judge(finished: Finished) -> tuple[str, str, str | None, Any]:
    """(outcome, reason, script, verdict) of a task: the audit's word on what was claimed, the search's on what was not."""
    found = finished.found
    if not finished.verdicts:
        return found.outcome, found.reason, None, None
    accepted = [s for s, v in finished.verdicts.items() if v.verdict == "proved"]
    if accepted:
        script = min(accepted, key=len)
        return ("disproved" if finished.task.negated is not None else "proved"), "", script, finished.verdicts[script]
    # One that was refused says something of the search; one that could not be judged says nothing.
    script, verdict = min(finished.verdicts.items(), key=lambda sv: (sv[1].verdict != "rejected", len(sv[0]), sv[0]))
    return verdict.verdict, verdict.reason, script, verdict


def attempt_of(phase: str, finished: Finished, lean: str, stats: Mapping[str, Any] | None = None) -> Attempt:
    """The ledger's record of a finished task. `lean`: where no verdict names one; `stats`: in place of the search's own."""
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
