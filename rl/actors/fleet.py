"""Manages the actors of a run: start, scaling, and replacement after failures. dispatch.py distributes the tasks."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from prover import logs
from prover.console import one_line
from prover.errors import UserError
from prover.models.ranker import TacticRanker
from prover.premises.dense import DenseWeights
from prover.solve.ray_start import LOST, start_ray
from rl.actors.dispatch import CHANCES, LOOK_EVERY, Dispatch, Finished, Member
from rl.actors.learner import LearnerActor
from rl.actors.model_server import ModelServer
from rl.actors.prover import AuditActor, Prover
from rl.attempt import Task
from rl.config import RunConfig
from rl.metrics.actor_counters import Counters, answered, counted

T = TypeVar("T")

LOAD_SECONDS = 120.0
"""Seconds after which a slow model load is reported."""


class Fleet:
    """Provers, auditor, model servers and learners. Call `start` first and `close` at the end."""

    def __init__(
        self, config: RunConfig, folder: Path, say: Callable[[str], None], prover: Any = Prover, learns: bool = True
    ) -> None:
        """`prover`: the actor class; benchmarks pass one without Lean. `learns`: start learners; without them all provers use
        the same seed, as evaluation requires."""
        self.config = config
        self.prover = prover
        self.learns = learns
        self.folder = folder
        self.say = say
        self.members: dict[int, Member] = {}
        self.ranker: TacticRanker | None = None
        self.retriever: DenseWeights | None = None
        self.replaced: dict[str, int] = {"prover": 0, "auditor": 0, "model server": 0, "learner": 0}
        """Number of replaced actors by kind."""
        self._dispatch: Dispatch | None = None
        self._next = 0
        self._looked = 0.0
        self._own_ray = False
        self.servers: list[Any] = []
        self.groups: dict[int, Any] = {}
        """Placement groups of the model servers that span machines."""
        self.learners: list[Any] = []
        self.auditor: Any = None
        self.unassigned: deque[Task] = deque()
        """Tasks without a prover."""

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start Ray if it is not running, and the actors. Does not wait for them. Raises UserError."""
        c = self.config
        if not ray.is_initialized():
            local = {"num_cpus": max(4, os.cpu_count() or 1), "resources": {"prover": float(c.prover.provers)}}
            try:
                start_ray(c.ray.address or "local", **local)
            except Exception as e:
                if not c.ray.address:
                    raise
                raise UserError(
                    f"ray.address {c.ray.address}: cannot join the cluster: {one_line(str(e), 300)}"
                ) from None
            self._own_ray = True
        self.servers = [self.server(k) for k in range(c.ray.model_servers)]
        self.learners = self._learners() if self.learns else []
        self.auditor = self._auditor()
        self.look(force=True)

    def resume(self) -> int:
        """Load and publish the newest checkpoint, the ranker and the retriever. Returns its version, 0 if there is none."""
        versions = ray.get([learner.resume.remote() for learner in self.learners])
        if versions[0] or self.config.serve.start:
            self.publish()
        return versions[0]

    def close(self) -> None:
        """Stop the actors, and Ray if `start` started it."""
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

    def server(self, k: int) -> Any:
        """Start replica `k` of the model. On one machine, the actor owns all GPUs of the replica. Across machines, a placement
        group has one bundle per GPU for vLLM's workers, and the actor owns none."""
        c = self.config
        if not c.serve.across:
            return ModelServer.options(num_cpus=0, num_gpus=c.ray.server_gpus).remote(
                1, c.serve, logs.for_actor(self.folder, f"model-server-{k}")
            )
        if k in self.groups:  # of a replica that died
            ray.util.remove_placement_group(self.groups[k])
        bundles = [{"GPU": 1.0}] * (c.serve.pipeline_parallel * c.serve.tensor_parallel)
        self.groups[k] = group = ray.util.placement_group(bundles, strategy="PACK")
        where = PlacementGroupSchedulingStrategy(group, 0, placement_group_capture_child_tasks=True)
        return ModelServer.options(num_cpus=0, num_gpus=0, scheduling_strategy=where).remote(
            1, c.serve, logs.for_actor(self.folder, f"model-server-{k}")
        )

    def _auditor(self) -> Any:
        return AuditActor.options(num_cpus=0, max_concurrency=self.config.ray.audits + 4).remote(
            logs.for_actor(self.folder, "auditor")
        )

    def _learners(self) -> list[Any]:
        c = self.config
        learners = [
            LearnerActor.options(num_cpus=0, num_gpus=c.ray.learner_gpus).remote(
                c, str(self.folder.absolute() / "checkpoints"), rank, logs.for_actor(self.folder, f"learner-{rank}")
            )
            for rank in range(c.learn.ranks)
        ]
        if c.learn.ranks > 1:
            address = ray.get(learners[0].address.remote())
            ray.get([learner.join.remote(address) for learner in learners])
        return learners

    def replace_auditor(self) -> None:
        """Start a new auditor after the old one died."""
        self.replaced["auditor"] += 1
        self.auditor = self._auditor()

    def _add_prover(self) -> None:
        c = self.config
        i = self._next
        self._next += 1
        actor = self.prover.options(
            num_cpus=0, resources={"prover": 1}, max_concurrency=4 * c.prover.concurrent + 4
        ).remote(
            c.prover,
            c.seed + i * self.learns,
            self.servers[i % len(self.servers)],
            self.ranker,
            self.retriever,
            logs.for_actor(self.folder, f"prover-{i}"),
        )
        self.members[i] = Member(actor, actor.ready.remote())

    def look(self, force: bool = False) -> None:
        """Adjust the number of provers to the configuration, or to the cluster's capacity if elastic."""
        if not force and time.monotonic() - self._looked < LOOK_EVERY:
            return
        self._looked = time.monotonic()
        c = self.config
        wanted = int(ray.cluster_resources().get("prover", 0)) if c.ray.elastic else c.prover.provers
        for _ in range(wanted - len(self.members)):
            self._add_prover()
            if c.ray.elastic and not force:
                self.say(f"a prover joined; there are {len(self.members)} now")
        if len(self.members) > max(wanted, 1):  # the cluster shrank: drop provers that wait for resources
            for i in [i for i, m in self.members.items() if not m.up and not m.busy][
                : len(self.members) - max(wanted, 1)
            ]:
                ray.kill(self.members[i].actor)
                self.pass_on(self.members.pop(i))

    def lose(self, i: int) -> None:
        """Handle the death of a prover: reassign its queue and start a replacement if there is room."""
        member = self.members.pop(i, None)
        if member is not None:
            self.replaced["prover"] += 1
            self.say("a prover died; its theorems are reassigned")
            self.pass_on(member)
            self.look(force=True)

    def pass_on(self, member: Member) -> None:
        """Move the queue of a prover to another one."""
        heirs = [m for m in self.members.values() if m is not member and not m.broken]
        queue = min((m.queue for m in heirs), key=len, default=self.unassigned)
        queue.extend(member.queue)
        member.queue.clear()

    def check_servers(self) -> None:
        """Replace model servers that died, and publish the current model to them."""
        dead = False
        for k, server in enumerate(self.servers):
            try:
                ray.get(server.counters.remote(), timeout=30)
            except LOST:
                dead = True
                self._replace_server(k)
            except GetTimeoutError:
                pass  # busy
        if dead:
            self.publish()

    def _replace_server(self, k: int) -> None:
        self.replaced["model server"] += 1
        self.say("a model server died and was replaced")
        self.servers[k] = self.server(k)

    # -- tasks -------------------------------------------------------------------------------------------------------

    def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        """Yields each task once it is finished. `tasks`: sorted by imports, because consecutive ones go to the same prover."""
        self._dispatch = Dispatch(self, tasks)
        yield from self._dispatch.finished()

    @property
    def longest_audit_queue(self) -> int:
        """Maximum number of proofs that waited for the audit in the last `run`."""
        return self._dispatch.longest_audit_queue if self._dispatch is not None else 0

    # -- learning ----------------------------------------------------------------------------------------------------

    def learn(self, policy: list[Any], value: list[Any], seconds: float, version: int) -> dict[str, float]:
        """Train until checkpoint `version` is written, restarting dead learners, then serve it. Returns metrics."""

        def train() -> dict[str, float]:
            shared = ray.put(policy), ray.put(value)
            waiting = refs = [learner.learn.remote(*shared, seconds, version) for learner in self.learners]
            while waiting:  # all at once: if a rank dies, the others may wait for it forever
                ready, waiting = ray.wait(waiting)
                ray.get(ready)
            return ray.get(refs[0])

        found = self._with_learners(train)
        self.publish()
        return found

    def _with_learners(self, work: Callable[[], T]) -> T:
        """Returns `work()`. If a learner dies, restarts all from the last checkpoint and repeats it."""
        for chance in range(CHANCES):
            try:
                return work()
            except RayError as e:
                if isinstance(getattr(e, "cause", None), UserError):
                    raise e.cause from None  # pyright: ignore[reportAttributeAccessIssue]
                # Another rank or the object store may report the death as another error.
                if chance == CHANCES - 1 or not (isinstance(e, LOST) or self._a_learner_died()):
                    raise
            self.replaced["learner"] += 1
            self.say("the learner died; a new one continues from the last checkpoint")
            for learner in self.learners:
                ray.kill(learner)
            self.learners = self._learners()
            ray.get([learner.resume.remote() for learner in self.learners])
        raise AssertionError("unreachable")

    def _a_learner_died(self) -> bool:
        asked = [learner.alive.remote() for learner in self.learners]
        ready, _ = ray.wait(asked, num_returns=len(asked), timeout=10)  # a hanging learner does not answer
        return len(answered(dict(enumerate(ready)))) < len(ready)

    def publish(self) -> None:
        """Send the newest weights to every model server, and the ranker and retriever to every prover."""
        self._with_learners(self._serve_newest)
        self._send_models()

    def serve(self, checkpoint: Path) -> None:
        """Open a checkpoint on every model server. Their machines must be able to read the folder."""
        for ref in [server.open.remote(str(checkpoint.absolute())) for server in self.servers]:
            self._loaded(ref)
        self._send_models()

    def _send_models(self) -> None:
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
                versions.append(self._loaded(ref))
            except LOST:  # perhaps on the machine of a dead learner
                self._replace_server(k)
                versions.append(self._loaded(self.servers[k].load.remote(published[0])))
        assert len(set(versions)) == 1, f"model servers serve different versions: {versions}"

    def _loaded(self, ref: Any) -> int:
        """The version that a server loaded. Reports slow loads, because the server may wait for a missing GPU."""
        while not ray.wait([ref], timeout=LOAD_SECONDS)[0]:
            self.say(
                f"a model server has not loaded the model for {LOAD_SECONDS:.0f} s; check with `ray status` that it has its GPUs"
            )
        return ray.get(ref)

    def counters(self) -> Counters:
        """Counters of all actors that answer within seconds."""
        return counted({i: m.actor for i, m in self.members.items() if m.up}, self.servers)
