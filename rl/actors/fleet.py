"""Manages the actors of a run: start, scaling, and replacement after failures. dispatch.py distributes the tasks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from prover import logs
from prover.console import one_line
from prover.errors import UserError
from prover.solve.ray_start import LOST, start_ray
from rl.actors.auditors import Auditors
from rl.actors.dispatch import MAX_TRIES, POLL_INTERVAL_S, Dispatch, Finished, Member, Record
from rl.actors.events import Events
from rl.actors.learner import LearnerActor
from rl.actors.model_server import ModelServer
from rl.actors.prover import AuditActor, Prover
from rl.attempt import Task
from rl.config import RunConfig
from rl.learned import Learned
from rl.start import with_absolute_paths

LOAD_SECONDS = 120.0
"""Seconds after which a slow model load is reported."""


class Fleet:
    """Provers, auditors, model servers and learners. Call `start` first and `close` at the end."""

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        say: Callable[[str], None],
        prover: Any = Prover,
        auditor: Any = AuditActor,
        learns: bool = True,
    ) -> None:
        """`prover`, `auditor`: the actor classes; benchmarks pass some without Lean. `learns`: start learners; without them all provers use
        the same seed, as evaluation requires."""
        self.config = with_absolute_paths(config)
        self.prover = prover
        self.learns = learns
        self.folder = folder
        self.say = say
        self.members: dict[int, Member] = {}
        self.models = Learned()
        self.replaced: dict[str, int] = {"prover": 0, "model server": 0, "learner": 0}
        """Number of replaced actors by kind."""
        self.events = Events()
        self.dispatch: Dispatch | None = None
        """The current batch."""
        self.auditors = Auditors(lambda k: self._auditor(auditor, k), self.events, config.ray.audits)
        self._next = 0
        self._scaled = 0.0
        self._own_ray = False
        self.servers: list[Any] = []
        self.groups: dict[int, Any] = {}
        """Placement groups of the model servers that span machines."""
        self.learners: list[Any] = []
        self._served: Path | None = None
        """The checkpoint that all model servers serve, if there are no learners."""
        self.beside: list[Any] = []
        """Further actors, which end with the fleet."""

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Start Ray, or join the configured cluster, if it is not running here. Raises UserError."""
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

    def start(self) -> None:
        """Start the actors, and Ray if it is not running. Does not wait for them. Raises UserError."""
        self.connect()
        c = self.config
        self.servers = [self.server(k) for k in range(c.ray.model_servers)]
        self.learners = self._learners() if self.learns else []
        self.scale(force=True)

    def resume(self, limit: int | None = None) -> int:
        """Load and publish the newest checkpoint (none after version `limit`), and the models beside it. Returns its version, 0 if
        there is none."""
        versions = ray.get([learner.resume.remote(limit) for learner in self.learners])
        if versions[0] or self.config.has_model:
            self.publish()
        return versions[0]

    def close(self) -> None:
        """Stop the actors, and Ray if `start` started it."""
        if not ray.is_initialized():
            return
        lean = [m.actor for m in self.members.values()] + self.auditors.actors
        closing = [actor.close.remote() for actor in lean]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=10)
        for actor in [*lean, *self.servers, *self.learners, *self.beside]:
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
        options: dict[str, Any] = {"num_gpus": c.ray.server_gpus}
        if c.serve.across:
            if k in self.groups:  # the replica before it died
                ray.util.remove_placement_group(self.groups[k])
            bundles = [{"GPU": 1.0}] * (c.serve.pipeline_parallel * c.serve.tensor_parallel)
            self.groups[k] = group = ray.util.placement_group(bundles, strategy="PACK")
            where = PlacementGroupSchedulingStrategy(group, 0, placement_group_capture_child_tasks=True)
            options = {"num_gpus": 0, "scheduling_strategy": where}
        log = logs.for_actor(self.folder, f"model-server-{k}")
        return ModelServer.options(num_cpus=0, **options).remote(1, c.serve, log)

    def _auditor(self, kind: Any, k: int) -> Any:
        return kind.options(
            num_cpus=0,
            max_concurrency=self.config.ray.audits + 4,
            max_restarts=-1,
            max_task_retries=MAX_TRIES - 1,
            scheduling_strategy="SPREAD",
        ).remote(logs.for_actor(self.folder, f"auditor-{k}"))

    def _learners(self) -> list[Any]:
        c = self.config
        # Checkpoints go into the run's folder, which other machines may not see. A GPU may be on one of these.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=c.ray.learner_gpus > 0)
        learners = [
            LearnerActor.options(num_cpus=0, num_gpus=c.ray.learner_gpus, scheduling_strategy=here).remote(
                c, str(self.folder.absolute() / "checkpoints"), rank, logs.for_actor(self.folder, f"learner-{rank}")
            )
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
            num_cpus=0, resources={"prover": 1}, max_concurrency=4 * c.prover.concurrent + 4
        ).remote(
            c.prover,
            c.seed + i * self.learns,
            self.servers[i % len(self.servers)],
            self.models,
            logs.for_actor(self.folder, f"prover-{i}"),
        )
        self.members[i] = Member(actor, actor.ready.remote())
        self.events.watch(self.members[i].ready, lambda future: self._prover_started(i, future))
        self.auditors.grow(len(self.members))

    def _prover_started(self, i: int, future: Future[Any]) -> None:
        member = self.members.get(i)
        if member is None:
            return
        try:
            future.result()
        except LOST:
            self.prover_died(i)
        except UserError as e:  # that machine has no Lean, which is fatal only if no other has one
            member.broken = True
            if not self.config.ray.elastic or all(m.broken for m in self.members.values()):
                raise
            self.say(f"a prover could not start; the others continue without it: {e}")
        else:
            member.up = True
            if self.dispatch is not None:
                self.dispatch.offer(i)

    def scale(self, force: bool = False) -> None:
        """Adjust the number of provers to the configuration, or to the cluster's capacity if elastic."""
        if not force and time.monotonic() - self._scaled < POLL_INTERVAL_S:
            return
        self._scaled = time.monotonic()
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
                ray.kill(self.members.pop(i).actor)

    def prover_died(self, i: int) -> None:
        """Handle the death of a prover: start a replacement if there is room. The others take its tasks."""
        member = self.members.pop(i, None)
        if member is not None:
            self.replaced["prover"] += 1
            self.say("a prover died; its theorems are reassigned")
            self.scale(force=True)

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
            self.serve(self._served) if self._served is not None else self.publish()

    def _replace_server(self, k: int) -> None:
        self.replaced["model server"] += 1
        self.say("a model server died and was replaced")
        self.servers[k] = self.server(k)

    # -- tasks -------------------------------------------------------------------------------------------------------

    def run(self, tasks: Sequence[Task], record: Record | None = None) -> Iterator[Finished]:
        """Yields each task once it is finished, and recorded if there is a recorder. `tasks`: sorted by imports, because consecutive
        ones go to the same prover."""
        self.auditors.longest = 0
        self.dispatch = Dispatch(self, tasks, record)
        try:
            yield from self.dispatch.finished()
        finally:
            self.dispatch = None

    # -- learning ----------------------------------------------------------------------------------------------------

    def train(
        self,
        policy: Any,
        value: Any,
        seconds: float,
        version: int,
        done: Callable[[dict[str, float]], None],
        tries: int = 1,
    ) -> None:
        """Start training until checkpoint `version` is written, and restart dead learners. `done` gets the metrics when the fleet takes
        its events. `policy`, `value`: examples, or references to them. Publishes nothing."""
        found: dict[int, dict[str, float]] = {}
        failed = False

        def ended(rank: int, future: Future[Any]) -> None:
            nonlocal failed
            if failed:  # all learners were restarted
                return
            try:
                found[rank] = future.result()
            except RayError as error:
                failed = True
                self._restart_learners(error, tries)
                self.train(policy, value, seconds, version, done, tries + 1)
                return
            if len(found) == len(self.learners):
                done(found[0])

        policy, value = (x if isinstance(x, ray.ObjectRef) else ray.put(x) for x in (policy, value))
        for rank, learner in enumerate(self.learners):
            ref = learner.learn.remote(policy, value, seconds, version)
            self.events.watch(ref, lambda future, rank=rank: ended(rank, future))

    def _restart_learners(self, error: RayError, tries: int) -> None:
        """Restart all learners from the last checkpoint if one of them died, else raise its error."""
        if isinstance(getattr(error, "cause", None), UserError):
            raise error.cause from None  # pyright: ignore[reportAttributeAccessIssue]
        # Another rank or the object store may report the death as another error.
        if tries >= MAX_TRIES or not (isinstance(error, LOST) or self._a_learner_died()):
            raise error
        self.replaced["learner"] += 1
        self.say("the learner died; a new one continues from the last checkpoint")
        for learner in self.learners:
            ray.kill(learner)
        self.learners = self._learners()
        ray.get([learner.resume.remote() for learner in self.learners])

    def _a_learner_died(self) -> bool:
        asked = [learner.alive.remote() for learner in self.learners]
        ready, _ = ray.wait(asked, num_returns=len(asked), timeout=10)  # a hanging learner does not answer
        return len(_answered(dict(enumerate(ready)))) < len(ready)

    def publish(self) -> None:
        """Send the newest weights to every model server, and the models beside them to every prover."""
        for tries in range(1, MAX_TRIES + 1):
            try:
                self._serve_newest()
                break
            except RayError as error:
                self._restart_learners(error, tries)
        self._send_models()

    def serve(self, checkpoint: Path) -> None:
        """Open a checkpoint on every model server. Their machines must be able to read the folder."""
        self._served = checkpoint
        for ref in [server.open.remote(str(checkpoint.absolute())) for server in self.servers]:
            self._loaded(ref)
        self._send_models()

    def _send_models(self) -> None:
        models = ray.put(self.models)
        for i, m in self.members.items():
            m.actor.use.remote(self.servers[i % len(self.servers)], models)

    def _serve_newest(self) -> None:
        published = ray.get(self.learners[0].publish.remote())
        if not published:
            return
        versions = self._load(range(len(self.servers)), published[0])
        lacking = [k for k, version in versions.items() if version is None]
        if lacking:  # a new server, or a new learner with other base weights
            published = ray.get(self.learners[0].publish.remote(base=True))
            versions |= self._load(lacking, published[0])
        assert len(set(versions.values())) == 1, f"model servers serve different versions: {versions}"

    def _load(self, servers: Iterable[int], published: Any) -> dict[int, int | None]:
        """Load a version on some model servers. Returns server -> version or None, as ModelServer.load does."""
        loading = {k: self.servers[k].load.remote(published) for k in servers}
        versions: dict[int, int | None] = {}
        for k, ref in loading.items():
            try:
                versions[k] = self._loaded(ref)
            except LOST:  # the server may have been on the machine of a dead learner
                self._replace_server(k)
                versions[k] = self._loaded(self.servers[k].load.remote(published))
        return versions

    def _loaded(self, ref: Any) -> int | None:
        """The version that a server loaded, or None (`ModelServer.load`). Reports slow loads, because the server may wait for a missing
        GPU."""
        while not ray.wait([ref], timeout=LOAD_SECONDS)[0]:
            self.say(
                f"a model server has not loaded the model for {LOAD_SECONDS:.0f} s; check with `ray status` that it has its GPUs"
            )
        return ray.get(ref)

    def server_counters(self) -> dict[int, dict[str, float]]:
        """ModelServer.counters of the servers that answer, by number. A replacement starts again from zero."""
        return _answered({k: server.counters.remote() for k, server in enumerate(self.servers)})

    def prover_counters(self) -> dict[int, dict[str, float]]:
        """Prover.counters of the provers that answer, by member. A replacement is a new member."""
        return _answered({i: m.actor.counters.remote() for i, m in self.members.items() if m.up})


def _answered(refs: Mapping[int, Any]) -> dict[int, Any]:
    """The values that `refs` resolve to within five seconds, without failures."""
    ready, _ = ray.wait(list(refs.values()), num_returns=len(refs), timeout=5) if refs else ([], [])
    known, found = set(ready), {}
    for key, ref in refs.items():
        if ref in known:
            with suppress(RayError):
                found[key] = ray.get(ref)
    return found
