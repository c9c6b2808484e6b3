"""The actors of a run as one: they start, come and go, die and are replaced, and tasks get through all the same.

Nothing here knows what is learned or why. A task is handed out, searched, its proofs audited, and yielded when it is finished; one
that was with an actor that died is handed out again. Everything waits in bounded queues: a prover has `concurrent` tasks, and no
search starts while `ray.audits` proofs wait for the audit.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from prover.errors import UserError
from prover.lean.ray_pool import ACTOR_LOST
from prover.lean.theorem import Verdict
from prover.models.ranker import TacticRanker
from prover.premises.dense import DenseWeights
from prover.ray_start import start_ray
from rl.actors.learner import LearnerActor
from rl.actors.model_server import ModelServer
from rl.actors.prover import AuditActor, Prover
from rl.attempt import Found, Task
from rl.config import RunConfig
from rl.counters import Counters, answers, counted

T = TypeVar("T")

CHANCES = 3
"""So often a task is handed out before its error is believed."""
LOOK_EVERY = 2.0
"""Seconds between looks at who joined or left the cluster."""
START_LIMIT = 600.0
"""Seconds for the first prover to be ready."""


@dataclass
class _Member:
    """A prover actor."""

    actor: Any
    ready: Any
    """Reference that resolves once its Lean runs."""
    up: bool = False
    busy: int = 0
    queue: deque[Task] = field(default_factory=deque)


@dataclass(frozen=True)
class Finished:
    """A task that is done with."""

    task: Task
    found: Found
    verdicts: dict[str, Verdict]
    """By script, for every script that claims a proof."""


class Fleet:
    """Provers, auditor, model servers and learner. `start` before anything else, `close` at the end."""

    def __init__(self, config: RunConfig, folder: Path, say: Callable[[str], None], prover: Any = Prover) -> None:
        """`prover`: the actor class, for measurements without Lean."""
        self.config = config
        self.prover = prover
        self.folder = folder
        self.say = say
        self.members: dict[int, _Member] = {}
        self.ranker: TacticRanker | None = None
        self.retriever: DenseWeights | None = None
        self.replaced: dict[str, int] = {"prover": 0, "auditor": 0, "model server": 0, "learner": 0}
        """Actors that died and were replaced."""
        self.longest_audit_queue = 0
        """Since the last `run` began."""
        self._next = 0
        self._looked = 0.0
        self._own_ray = False
        self.servers: list[Any] = []
        self.groups: dict[int, Any] = {}
        """Placement groups of the model servers that span machines."""
        self.learners: list[Any] = []
        self.auditor: Any = None
        self._unassigned: deque[Task] = deque()

    # -- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start Ray where none runs, and the actors; they get ready while tasks already wait. Raises UserError."""
        c = self.config
        if not ray.is_initialized():
            local = {"num_cpus": max(4, os.cpu_count() or 1), "resources": {"prover": float(c.prover.provers)}}
            try:
                start_ray(c.ray.address or "local", **local)
            except Exception as e:
                if not c.ray.address:
                    raise
                raise UserError(f"ray.address={c.ray.address}: no Ray cluster there ({type(e).__name__}); start one "
                                "with `ray start --head`, or leave the address out") from None  # fmt: skip
            self._own_ray = True
        self.servers = [self._server(k) for k in range(c.ray.model_servers)]
        self.learners = self._learners()
        self.auditor = self._auditor()
        self._look(force=True)

    def resume(self) -> int:
        """Have the newest checkpoint loaded, published and used with the ranker and retriever; its version, 0 if none."""
        versions = ray.get([learner.resume.remote() for learner in self.learners])
        if versions[0] or self.config.serve.start:
            self.publish()
        return versions[0]

    def close(self) -> None:
        """Stop everything that was started here."""
        if not ray.is_initialized():
            return
        lean = [m.actor for m in self.members.values()] + ([self.auditor] if self.auditor is not None else [])
        closing = [actor.close.remote() for actor in lean]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=10)
        for actor in [*lean, *self.servers, *self.learners]:
            ray.kill(actor)
        for group in self.groups.values():
            ray.util.remove_placement_group(group)
        if self._own_ray:
            ray.shutdown()

    # -- actors ------------------------------------------------------------------------------------------------------

    def _server(self, k: int) -> Any:
        """Copy k of the model. One on a single machine is one actor that gets all of its GPUs there at once. One across machines
        is a placement group of a GPU a bundle, which vLLM's own workers take; its actor takes none of them."""
        c = self.config
        if not c.serve.across:
            return ModelServer.options(num_cpus=0, num_gpus=c.ray.server_gpus).remote(1, c.serve)
        if k in self.groups:  # of a copy that died
            ray.util.remove_placement_group(self.groups[k])
        bundles = [{"GPU": 1.0}] * (c.serve.pipeline_parallel * c.serve.tensor_parallel)
        self.groups[k] = group = ray.util.placement_group(bundles, strategy="PACK")
        where = PlacementGroupSchedulingStrategy(group, 0, placement_group_capture_child_tasks=True)
        return ModelServer.options(num_cpus=0, num_gpus=0, scheduling_strategy=where).remote(1, c.serve)

    def _auditor(self) -> Any:
        return AuditActor.options(num_cpus=0, max_concurrency=self.config.ray.audits + 4).remote()

    def _learners(self) -> list[Any]:
        c = self.config
        learners = [
            LearnerActor.options(num_cpus=0, num_gpus=c.ray.learner_gpus).remote(c, str(self.folder / "checkpoints"), rank)
            for rank in range(c.learn.ranks)
        ]
        if c.learn.ranks > 1:
            address = ray.get(learners[0].address.remote())
            ray.get([learner.join.remote(address) for learner in learners])
        return learners

    def _add_prover(self) -> None:
        c = self.config
        i = self._next
        self._next += 1
        actor = self.prover.options(
            num_cpus=0, resources={"prover": 1}, max_concurrency=4 * c.prover.concurrent + 4,
        ).remote(c.prover, c.seed + i, self.servers[i % len(self.servers)], self.ranker, self.retriever)  # fmt: skip
        self.members[i] = _Member(actor, actor.ready.remote())

    def _look(self, force: bool = False) -> None:
        """As many provers as there should be: the configured number, or as many as the cluster has room for."""
        if not force and time.monotonic() - self._looked < LOOK_EVERY:
            return
        self._looked = time.monotonic()
        c = self.config
        wanted = int(ray.cluster_resources().get("prover", 0)) if c.ray.elastic else c.prover.provers
        for _ in range(wanted - len(self.members)):
            self._add_prover()
            if c.ray.elastic and not force:
                self.say(f"a prover joins: {len(self.members)} now")
        if len(self.members) > max(wanted, 1):  # room has gone: let go of one that waits for a place
            for i in [i for i, m in self.members.items() if not m.up and not m.busy][: len(self.members) - max(wanted, 1)]:
                ray.kill(self.members[i].actor)
                self._orphans(self.members.pop(i))

    def _lose(self, i: int) -> None:
        """A prover died: its queue goes to others, and another is started where there is room."""
        member = self.members.pop(i, None)
        if member is not None:
            self.replaced["prover"] += 1
            self.say("a prover died; its theorems go to others")
            self._orphans(member)
            self._look(force=True)

    def _orphans(self, member: _Member) -> None:
        if self.members:
            heir = min(self.members.values(), key=lambda m: len(m.queue))
            heir.queue.extend(member.queue)
        else:
            self._unassigned.extend(member.queue)

    def _check_servers(self) -> None:
        """Replace model servers that died, and have them serve what the others do."""
        dead = False
        for k, server in enumerate(self.servers):
            try:
                ray.get(server.counters.remote(), timeout=30)
            except ACTOR_LOST:
                dead = True
                self._replace_server(k)
            except GetTimeoutError:
                pass  # busy
        if dead:
            self.publish()

    def _replace_server(self, k: int) -> None:
        self.replaced["model server"] += 1
        self.say("a model server died and is replaced")
        self.servers[k] = self._server(k)

    # -- tasks -------------------------------------------------------------------------------------------------------

    def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        """Every task once, as it is finished. Neighbours in `tasks` go to the same prover: order them by imports."""
        self._unassigned.clear()
        self.longest_audit_queue = 0
        self._chances: dict[str, int] = {}
        searching: dict[Any, tuple[int, Task]] = {}
        waiting: dict[Any, tuple[Task, str]] = {}
        """Audits under way."""
        claims: dict[str, tuple[Task, Found, dict[str, Verdict], int]] = {}
        """By theorem: (task, found, verdicts so far, audits outstanding)."""
        share = -(-len(tasks) // max(1, len(self.members)))
        for k, m in enumerate(self.members.values()):
            m.queue = deque(tasks[k * share : (k + 1) * share])
            m.busy = 0
        if not self.members:  # an elastic run whose machines are still to come
            self._unassigned.extend(tasks)
        began = time.monotonic()

        def feed() -> None:
            for i, m in self.members.items():
                while m.up and m.busy < self.config.prover.concurrent and len(waiting) < self.config.ray.audits:
                    task = self._take(m)
                    if task is None:
                        break
                    m.busy += 1
                    searching[m.actor.attempt.remote(task)] = (i, task)

        def again(task: Task, found: Found) -> Finished | None:
            """Hand an errored task out once more, or give it up."""
            self._chances[task.theorem.name] = self._chances.get(task.theorem.name, 0) + 1
            if found.reason.startswith("open") or self._chances[task.theorem.name] >= CHANCES:
                return Finished(task, found, {})
            self._unassigned.append(task)
            return None

        while True:
            self._look()
            feed()
            starting = {m.ready: i for i, m in self.members.items() if not m.up}
            if not searching and not waiting and not self._left():
                return
            if not any(m.up for m in self.members.values()) and time.monotonic() - began > START_LIMIT:
                raise UserError(f"no prover was ready within {START_LIMIT:.0f} s; `turnstile doctor` says what Lean lacks")
            refs = [*searching, *waiting, *starting]
            if not refs:
                time.sleep(0.2)
                continue
            ready, _ = ray.wait(refs, num_returns=1, timeout=LOOK_EVERY)
            for ref in ready:
                if ref in starting:
                    i = starting[ref]
                    try:
                        ray.get(ref)
                        self.members[i].up = True
                    except ACTOR_LOST:
                        self._lose(i)
                elif ref in searching:
                    i, task = searching.pop(ref)
                    if i in self.members:
                        self.members[i].busy -= 1
                    try:
                        found = ray.get(ref)
                    except RayError as e:
                        self._lose(i)
                        found = Found(task.theorem, "error", 0, None, 0.0, reason=f"prover died: {type(e).__name__}")
                    if found.outcome == "error":
                        if "Actor" in found.reason:
                            self._check_servers()
                        done = again(task, found)
                        if done is not None:
                            yield done
                        continue
                    scripts: set[str] = {r["script"] for r in found.rollouts if r["script"]}
                    if found.script is not None:
                        scripts.add(found.script)
                    if not scripts:
                        yield Finished(task, found, {})
                        continue
                    claims[task.theorem.name] = (task, found, {}, len(scripts))
                    for script in sorted(scripts):
                        waiting[self.auditor.audit.remote(task.negated or task.theorem, script)] = (task, script)
                    self.longest_audit_queue = max(self.longest_audit_queue, len(waiting))
                else:
                    task, script = waiting.pop(ref)
                    try:
                        verdict = ray.get(ref)
                    except RayError as e:
                        verdict = self._audit_again(task, script, e)
                    _, found, verdicts, left = claims[task.theorem.name]
                    verdicts[script] = verdict
                    claims[task.theorem.name] = (task, found, verdicts, left - 1)
                    if left == 1:
                        del claims[task.theorem.name]
                        yield Finished(task, found, verdicts)

    def _take(self, member: _Member) -> Task | None:
        """The prover's next task; an idle prover helps the busiest, from the far end of its queue."""
        if self._unassigned:
            return self._unassigned.popleft()
        if member.queue:
            return member.queue.popleft()
        longest = max((m.queue for m in self.members.values()), key=len)
        return longest.pop() if longest else None

    def _left(self) -> bool:
        return bool(self._unassigned) or any(m.queue for m in self.members.values())

    def _audit_again(self, task: Task, script: str, error: Exception) -> Verdict:
        """The auditor died under this proof: another one judges it; if that dies too, it is the proof's fault."""
        for chance in (1, 2):
            try:
                return ray.get(self.auditor.audit.remote(task.negated or task.theorem, script))
            except RayError as e:
                error = e
                if chance == 1:  # nobody has replaced the dead one yet
                    self.replaced["auditor"] += 1
                    self.auditor = self._auditor()
        return Verdict(task.theorem.name, "error", f"the audit died twice: {type(error).__name__}")

    # -- learning ----------------------------------------------------------------------------------------------------

    def learn(self, policy: list[Any], value: list[Any], seconds: float, version: int) -> dict[str, float]:
        """Train until checkpoint `version` is written, whatever dies on the way; then serve it. Metrics."""

        def train() -> dict[str, float]:
            shared = ray.put(policy), ray.put(value)
            waiting = refs = [learner.learn.remote(*shared, seconds, version) for learner in self.learners]
            while waiting:  # not for one after another: where a rank dies, the others may wait for it forever
                ready, waiting = ray.wait(waiting)
                ray.get(ready)
            return ray.get(refs[0])

        found = self._by_learners(train)
        self.publish()
        return found

    def _by_learners(self, work: Callable[[], T]) -> T:
        """What `work` gives. Where a learner dies, new ones go on from the last checkpoint, and it is done again."""
        for chance in range(CHANCES):
            try:
                return work()
            except RayError as e:
                # What another rank, or the store, says of a death is not among ACTOR_LOST.
                if chance == CHANCES - 1 or not (isinstance(e, ACTOR_LOST) or self._a_learner_died()):
                    raise
            self.replaced["learner"] += 1
            self.say("the learner died; another goes on from the last checkpoint")
            for learner in self.learners:
                ray.kill(learner)
            self.learners = self._learners()
            ray.get([learner.resume.remote() for learner in self.learners])
        raise AssertionError("unreachable")

    def _a_learner_died(self) -> bool:
        asked = [learner.alive.remote() for learner in self.learners]
        ready, _ = ray.wait(asked, num_returns=len(asked), timeout=10)  # one that hangs does not answer
        return len(answers(ready)) < len(ready)

    def publish(self) -> None:
        """The learner's newest weights to every model server, and the ranker and retriever to every prover."""
        self._by_learners(self._serve_newest)
        ranker, retriever = ray.put(self.ranker), ray.put(self.retriever)
        for i, m in self.members.items():
            m.actor.use.remote(self.servers[i % len(self.servers)], ranker, retriever)

    def _serve_newest(self) -> None:
        published = ray.get(self.learners[0].publish.remote())
        if not published:
            return
        loading = [server.load.remote(published[0]) for server in self.servers]
        versions: list[int] = []
        for k, ref in enumerate(loading):
            try:
                versions.append(ray.get(ref))
            except ACTOR_LOST:  # its machine may have had the learner too
                self._replace_server(k)
                versions.append(ray.get(self.servers[k].load.remote(published[0])))
        assert len(set(versions)) == 1, f"model servers serve different versions: {versions}"

    def counters(self) -> Counters:
        """What the actors counted so far, of those that answer within seconds."""
        return counted([m.actor for m in self.members.values() if m.up], self.servers)
