"""Distribution of tasks, audits and records among actors that are fakes, so that a test decides what ends when."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from ray.exceptions import ObjectLostError, RayActorError

from prover.lean.theorem import Theorem, Verdict
from prover.solve.job import Found
from rl.actors.auditors import Auditors
from rl.actors.dispatch import Dispatch, Finished, Member
from rl.actors.events import Events
from rl.attempt import Task
from rl.config import ProverConfig, RunConfig

TASKS = [Task(Theorem(f"t{i}", ": True"), "explorer", 8) for i in range(60)]


class Ref(Future[Any]):
    """A reference of Ray that the test resolves."""

    def future(self) -> Future[Any]:
        return self


class Method:
    """Method of an actor: every call is kept until the test answers it."""

    def __init__(self, calls: list[tuple[Ref, tuple[Any, ...]]], returns: int = 1) -> None:
        self.calls, self.returns = calls, returns

    def options(self, num_returns: int) -> Method:
        return Method(self.calls, num_returns)

    def remote(self, *arguments: Any) -> Any:
        self.calls.append((ref := Ref(), arguments))
        return ref if self.returns == 1 else (ref, f"examples of {arguments[0].theorem.name}")


class Fleet:
    """Provers that are ready, and auditors."""

    def __init__(self, provers: int, audits: int = 4) -> None:
        self.config = RunConfig(prover=ProverConfig(provers=provers, concurrent=2))
        self.events = Events()
        self.searches: list[tuple[Ref, tuple[Any, ...]]] = []
        self.audits: list[list[tuple[Ref, tuple[Any, ...]]]] = []
        self.members = {
            i: Member(SimpleNamespace(attempt=Method(self.searches)), None, up=True) for i in range(provers)
        }
        self.auditors = Auditors(self.auditor, self.events, audits)
        self.auditors.grow(provers)
        self.dispatch: Dispatch | None = None

    def auditor(self, k: int) -> Any:
        self.audits.append([])
        return SimpleNamespace(audit=Method(self.audits[k]))

    def scale(self) -> None:
        """Called in every turn: end what is under way, oldest first, half of it."""
        for ref, _ in self.take(self.searches):
            ref.set_result(Found("found", "trivial", 3))
        for queue in self.audits:
            for ref, (theorem, _) in self.take(queue):
                ref.set_result(Verdict(theorem.name, "proved"))

    def take(self, calls: list[Any]) -> list[Any]:
        taken = calls[: -(-len(calls) // 2)]
        del calls[: len(taken)]
        return taken

    def prover_died(self, i: int) -> None:
        self.members.pop(i, None)

    def check_servers(self) -> None:
        pass

    def run(self, tasks: list[Task], record: Any = None) -> list[Finished]:
        fleet: Any = self
        self.dispatch = Dispatch(fleet, tasks, record)
        return list(self.dispatch.finished())


def once(finished: list[Finished]) -> None:
    assert Counter(f.task.theorem.name for f in finished) == Counter(t.theorem.name for t in TASKS)
    assert all(f.verdicts["trivial"].verdict == "proved" for f in finished)


def test_every_task_is_searched_audited_and_recorded_once():
    fleet, recorded = Fleet(3), []

    def record(finished: Finished, examples: Any) -> Ref:
        recorded.append((finished.task.theorem.name, examples))
        (ref := Ref()).set_result(f"row {len(recorded)}")
        return ref

    finished = fleet.run(TASKS, record)
    once(finished)
    assert sorted(recorded) == sorted((t.theorem.name, f"examples of {t.theorem.name}") for t in TASKS)
    assert {f.recorded for f in finished} == {f"row {k + 1}" for k in range(len(TASKS))}
    assert all(m.busy == 0 for m in fleet.members.values())


def test_no_search_starts_while_too_many_proofs_wait():
    class Slow(Fleet):
        most = 0

        def scale(self) -> None:
            """Ends all searches, and one audit only if nothing else can happen."""
            for ref, _ in self.searches:
                ref.set_result(Found("found", "trivial", 3))
            if not self.searches:
                for queue in self.audits:
                    for ref, (theorem, _) in queue[:1]:
                        ref.set_result(Verdict(theorem.name, "proved"))
                    del queue[:1]
            self.searches.clear()
            self.most = max(self.most, self.auditors.waiting)

    fleet = Slow(3, audits=4)
    once(fleet.run(TASKS))
    assert 4 <= fleet.most <= 4 + 3 * 2, "the searches that were under way when the queue became full"
    assert fleet.auditors.waiting == 0 and fleet.auditors.longest == fleet.most


def test_auditors_share_the_proofs():
    fleet = Fleet(20)
    assert len(fleet.audits) == 3
    for k in range(9):
        fleet.auditors.audit(Theorem(f"t{k}", ": True"), "trivial", lambda future: None)
    assert [len(queue) for queue in fleet.audits] == [3, 3, 3]


def test_what_is_lost_is_done_again():
    """A prover dies in a search, and later examples are lost before they are recorded."""

    class Dying(Fleet):
        dead = False

        def scale(self) -> None:
            if self.searches and not self.dead:
                self.dead = True
                self.searches.pop(0)[0].set_exception(RayActorError())
            super().scale()

    fleet, lost = Dying(3), []

    def record(finished: Finished, examples: Any) -> Ref:
        ref, name = Ref(), finished.task.theorem.name
        if len(lost) < 2 and name not in lost:
            lost.append(name)
            ref.set_exception(ObjectLostError("f" * 56, None, "here"))
        else:
            ref.set_result(name)
        return ref

    finished = fleet.run(TASKS, record)
    once(finished)
    assert [f.recorded for f in finished] == [f.task.theorem.name for f in finished] and len(fleet.members) == 2


def test_an_error_is_accepted_after_some_tries():
    class Failing(Fleet):
        tried: Counter[str] = Counter()

        def scale(self) -> None:
            for ref, (task,) in self.take(self.searches):
                self.tried[task.theorem.name] += 1
                reason = "open: no such name" if task.theorem.name == "t1" else "RuntimeError: broken"
                ref.set_result(Found("error", reason=reason))

    fleet = Failing(2)
    finished = fleet.run([replace(t, lean_calls=4) for t in TASKS[:3]])
    assert [f.found.outcome for f in finished] == ["error"] * 3
    assert fleet.tried == {"t0": 3, "t1": 1, "t2": 3}
