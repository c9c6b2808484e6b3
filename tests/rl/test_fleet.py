"""Actors that die, join and leave while tasks run, on real Ray and real Lean."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import ray
from ray.exceptions import OutOfMemoryError, OwnerDiedError

from prover.errors import UserError
from prover.lean.theorem import Theorem, Verdict
from prover.solve.job import Found
from rl.actors.dispatch import Finished
from rl.actors.fleet import Fleet
from rl.attempt import Task
from rl.config import LearnConfig, ModelConfig, ProverConfig, RayConfig, RunConfig
from rl.examples import PolicyExample, ValueExample

pytestmark = [pytest.mark.lean, pytest.mark.ray]

ROOT = Path(__file__).parents[2]
TASKS = [
    Task(Theorem(f"t{i}", f"(a b : Nat) (h : a = b + {i}) : b + {i} = a" if i % 3 else f": {i} + 2 = 0"), "explorer", 8)
    for i in range(24)
]
SMALL = ModelConfig(
    hidden=48, layers=2, heads=4, intermediate=96, vocabulary=512, max_prompt=160, premise_types=True, premise_tokens=16
)
PAIRS = [PolicyExample(f"n : Nat\n⊢ n + {i} = {i} + n", "omega") for i in range(12)]
VALUES = [ValueExample(f"n : Nat\n⊢ n + {i} = {i} + n", 0) for i in range(12)]


def config(ranks: int = 1, **ray_settings: object) -> RunConfig:
    return RunConfig(
        prover=ProverConfig(provers=2, concurrent=2),
        model=SMALL,
        learn=LearnConfig(threads=1, ranks=ranks),
        ray=RayConfig(**ray_settings),  # pyright: ignore[reportArgumentType]
    )


def workers(name: str) -> list[psutil.Process]:
    """Ray's processes of an actor class, anywhere below this one."""
    found = []
    for p in psutil.Process().children(recursive=True):
        try:
            if p.cmdline()[:1] and p.cmdline()[0].startswith(f"ray::{name}"):
                found.append(p)
        except psutil.NoSuchProcess:
            continue
    return found


def check(finished: list[Finished]) -> None:
    assert Counter(f.task.theorem.name for f in finished) == Counter(t.theorem.name for t in TASKS), "lost or doubled"
    for f in finished:
        solvable = int(f.task.theorem.name[1:]) % 3 != 0
        assert ([v.verdict for v in f.verdicts.values()] == ["proved"]) is solvable, (f.task.theorem, f.found.reason)


@contextmanager
def started(config: RunConfig, folder: Path, say=print, **options) -> Iterator[Fleet]:
    fleet = Fleet(config, folder, say, **options)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.close()


def learn(fleet: Fleet, policy: list, value: list, seconds: float, version: int) -> dict[str, float]:
    """Train a version and serve it."""
    found: list[dict[str, float]] = []
    fleet.train(policy, value, seconds, version, found.append)
    while not found:
        fleet.events.take(5.0)
    fleet.publish()
    return found[0]


def kill_in(seconds: float, pid: int) -> None:
    subprocess.Popen([sys.executable, "-c", f"import time, os; time.sleep({seconds}); os.kill({pid}, 9)"])


@pytest.fixture
def fleet(local_ray, tmp_path):
    with started(config(), tmp_path) as fleet:
        yield fleet


def test_tasks_get_through_whatever_is_killed(fleet):
    finished: list[Finished] = []
    for f in fleet.run(TASKS):
        finished.append(f)
        if len(finished) == 3:
            os.kill(workers("Prover")[0].pid, signal.SIGKILL)
        if len(finished) == 8:
            os.kill(workers("AuditorBody")[0].pid, signal.SIGKILL)
    check(finished)
    assert fleet.replaced["prover"] == 1 and len(fleet.members) == 2
    # The learner dies in the middle of learning: the checkpoint is made all the same, and the model served.
    kill_in(1.5, workers("LearnerActor")[0].pid)
    metrics = learn(fleet, PAIRS, VALUES, 4.0, 1)
    assert metrics["steps"] > 0 and (fleet.folder / "checkpoints/000001/learner.pt").exists()
    assert fleet.replaced["learner"] == 1
    assert fleet.server_counters()[0]["queries"] == 0
    # The model server dies: another serves the same version, and tasks that need it get through.
    os.kill(workers("ModelServer")[0].pid, signal.SIGKILL)
    with_model = [Task(t.theorem, "model", 8) for t in TASKS[:6]]
    found = list(fleet.run(with_model))
    assert {f.found.outcome for f in found} <= {"found", "budget", "exhausted"}, [f.found.reason for f in found]
    assert {f.found.trace.model_version for f in found} == {1}
    assert fleet.replaced["model server"] == 1
    # It dies again while nobody asks it anything, and is found dead when it shall load what was learned.
    os.kill(workers("ModelServer")[0].pid, signal.SIGKILL)
    # Weights move through the object store, in place, and carry their version.
    learn(fleet, PAIRS, VALUES, 1.0, 2)
    assert fleet.replaced["model server"] == 2 and fleet.replaced["learner"] == 1
    assert {f.found.trace.model_version for f in fleet.run(with_model[:2])} == {2}
    # A machine dies that had the learner and the model server both.
    for actor in ("LearnerActor", "ModelServer"):
        os.kill(workers(actor)[0].pid, signal.SIGKILL)
    assert learn(fleet, PAIRS, VALUES, 1.0, 3)["steps"] > 0
    assert {f.found.trace.model_version for f in fleet.run(with_model[:2])} == {3}
    assert fleet.replaced["learner"] == 2 and fleet.replaced["model server"] == 3


def quiet() -> type:
    """Base of the fake provers. Made in a function, so that Ray pickles it by value."""

    class Quiet:
        async def use(self, *args):
            pass

        async def close(self):
            pass

    return Quiet


def test_a_prover_that_ray_ends_for_want_of_memory_is_replaced(local_ray, tmp_path):
    """Ray's memory monitor cannot be made to end a chosen actor, so the test raises its error."""
    met = tmp_path / "met"

    @ray.remote
    class Short(quiet()):
        def __init__(self, config, seed, server, models, log=None):
            self.first = seed == 0

        async def ready(self):
            # On a busy machine the others could be through before this one is there.
            while not self.first and not met.exists():
                await asyncio.sleep(0.05)
            return "simulated"

        async def attempt(self, task):
            if self.first:
                met.touch()
                raise OutOfMemoryError("this node ran low on memory")
            return Found("exhausted", lean_calls=3), None

    with started(config(ranks=0), tmp_path, prover=Short) as fleet:
        finished = list(fleet.run(TASKS))
    assert Counter(f.task.theorem.name for f in finished) == Counter(t.theorem.name for t in TASKS)
    assert {f.found.outcome for f in finished} == {"exhausted"} and fleet.replaced["prover"] == 1


def test_an_object_whose_owner_died_costs_a_prover_and_no_task(local_ray, tmp_path):
    """A fake prover, which waits for an object of an actor that is killed: while it starts, and in an attempt."""
    met = [tmp_path / "ready", tmp_path / "attempt"]

    @ray.remote
    class Owner:
        def put(self):
            return [ray.put(bytes(10**6))]  # too large to travel with its reference

    @ray.remote
    class Reader(quiet()):
        def __init__(self, config, seed, server, models, log=None):
            pass

        async def lost(self, flag):
            if not flag.exists():
                flag.touch()
                while True:  # until Ray has noticed in time that the owner died
                    owner = Owner.remote()
                    (ref,) = await owner.put.remote()
                    ray.kill(owner)
                    await asyncio.sleep(1)
                    await ref

        async def ready(self):
            await self.lost(met[0])
            return "simulated"

        async def attempt(self, task):
            await self.lost(met[1])
            return Found("exhausted", lean_calls=3), None

    with started(config(ranks=0), tmp_path, prover=Reader) as fleet:
        finished = list(fleet.run(TASKS))
    assert Counter(f.task.theorem.name for f in finished) == Counter(t.theorem.name for t in TASKS)
    assert {f.found.outcome for f in finished} == {"exhausted"} and fleet.replaced["prover"] == 2


def test_a_batch_on_ray_tries_again_what_was_lost(local_ray, tmp_path, monkeypatch):
    """Fake actors, which lose what they wait for as often as the test says."""
    from prover.solve import ray_executor
    from prover.solve.job import Job

    class Loses:
        def __init__(self, *args):
            self.tried: Counter[str] = Counter()

        def _count(self, theorem):
            self.tried[theorem.name] += 1
            if self.tried[theorem.name] <= int(theorem.name):
                raise OwnerDiedError("f" * 56, None, "here")

        async def ready(self):
            return "simulated"

        async def attempt(self, job):
            self._count(job.theorem)
            return Found("exhausted")

        async def audit(self, theorem, script):
            self._count(theorem)
            return Verdict(theorem.name, "proved")

    monkeypatch.setattr(ray_executor, "_Prover", Loses)
    monkeypatch.setattr(ray_executor, "AuditorBody", Loses)
    monkeypatch.setattr(ray_executor, "start_ray", lambda *args, **settings: None)
    executor = ray_executor.RayExecutor("local", "portfolio", 0, workers=1)
    found, reasons, audits = asyncio.run(_ask(executor, [Theorem(n, ": True") for n in "012"], Job))
    assert found == ["exhausted", "exhausted", "error"] and reasons[2].startswith("crash: OwnerDiedError")
    assert [a.verdict for a in audits] == ["proved", "proved", "error"] and audits[2].reason.startswith("crash: ")


async def _ask(executor, theorems, job):
    found = [await executor.attempt(job(t, 8)) for t in theorems]
    return [f.outcome for f in found], [f.reason for f in found], [await executor.audit(t, "x") for t in theorems]


def test_a_model_server_uses_a_gpu_only_if_ray_reserved_one(local_ray, monkeypatch):
    """A GPU that torch is told of and Ray counts, since the machine may have none."""
    import torch

    from prover.models.backends import serve

    @ray.remote
    class Server:
        def device(self):
            torch.cuda.is_available = lambda: True
            return serve._device()

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    without, whole, share = (Server.options(num_gpus=n).remote() for n in (0, 0.5, 0.5))
    assert ray.get([a.device.remote() for a in (without, whole, share)]) == ["cpu", "cuda", "cuda"]
    assert serve._device() == "cuda"  # in the process of a user who has the machine
    for actor in (without, whole, share):
        ray.kill(actor)


def test_a_machine_without_lean_does_not_end_an_elastic_run(local_ray, tmp_path):
    """A fake prover, since every machine of a test has the same Lean. The other prover waits until the run has noticed."""
    noticed = tmp_path / "noticed"
    said: list[str] = []

    @ray.remote
    class Lame(quiet()):
        def __init__(self, config, seed, server, models, log=None):
            self.lame = seed in config.lame

        async def ready(self):
            if self.lame:
                raise UserError("Lean could not start")
            return "simulated"

        async def attempt(self, task):
            while not noticed.exists():
                await asyncio.sleep(0.05)
            return Found("exhausted", lean_calls=3), None

    class Provers(ProverConfig):
        lame = (0,)

    class NoLean(ProverConfig):
        lame = (0, 1)

    def say(text: str) -> None:
        said.append(text)
        if "Lean could not start" in text:
            noticed.touch()

    def fleet_of(provers: type[ProverConfig], elastic: bool):
        chosen = replace(config(ranks=0, elastic=elastic), prover=provers(provers=2, concurrent=2))
        return started(chosen, tmp_path, say, prover=Lame)

    for provers, elastic in ((Provers, False), (NoLean, True)):
        with fleet_of(provers, elastic) as fleet, pytest.raises(UserError, match="Lean could not start"):
            list(fleet.run(TASKS))
    noticed.unlink(missing_ok=True)  # of two provers without Lean, the first is noticed
    said.clear()
    with fleet_of(Provers, True) as fleet:
        assert len(list(fleet.run(TASKS))) == len(TASKS) and len(list(fleet.run(TASKS))) == len(TASKS)
        assert fleet.replaced["prover"] == 0 and len(fleet.members) == 2
        assert len([s for s in said if "Lean could not start" in s]) == 1


def test_replacements_have_as_long_to_start_as_the_first_prover(local_ray, tmp_path, monkeypatch):
    """A fake prover and a clock that the test sets: the first prover dies when no prover may still be starting."""
    working, late = tmp_path / "working", tmp_path / "late"

    @ray.remote
    class Slow(quiet()):
        def __init__(self, config, seed, server, models, log=None):
            self.seed = seed

        async def ready(self):
            if self.seed == 2:
                await asyncio.sleep(1000)
            return "simulated"

        async def attempt(self, task):
            if self.seed == 0:
                working.touch()
                while not late.exists():
                    await asyncio.sleep(0.05)
                raise OutOfMemoryError("this node ran low on memory")
            return Found("exhausted", lean_calls=3), None

    def monotonic() -> float:
        if not working.exists():
            return 0.0
        late.touch()
        return 1000.0

    one = replace(config(ranks=0), prover=ProverConfig(provers=1, concurrent=1))
    with started(one, tmp_path, prover=Slow) as fleet:
        monkeypatch.setattr("rl.actors.dispatch.time", SimpleNamespace(monotonic=monotonic, sleep=time.sleep))
        assert len(list(fleet.run(TASKS[:2]))) == 2 and fleet.replaced["prover"] == 1
        monkeypatch.setattr("rl.actors.dispatch.time", time)
        monkeypatch.setattr("rl.actors.dispatch.START_LIMIT", 1.0)
        ray.kill(next(iter(fleet.members.values())).actor)
        with pytest.raises(UserError, match="no prover was ready within 1 s"):
            list(fleet.run(TASKS[:2]))


def test_passes_over_a_round_are_bounded_and_a_version_is_learned_once(local_ray, tmp_path):
    c = config()
    with started(replace(c, learn=replace(c.learn, max_epochs=2.0, keep=2)), tmp_path) as fleet:
        assert learn(fleet, PAIRS, VALUES, 120.0, 1)["epochs"] == pytest.approx(2.0, abs=0.5)
        assert learn(fleet, PAIRS, VALUES, 120.0, 1) == {}
        assert fleet.resume() == 1
        for version in (2, 3):
            learn(fleet, PAIRS, VALUES, 120.0, version)
        assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["000002", "000003"], (
            "the newest two are kept"
        )


def test_gradients_of_several_learners_are_averaged(local_ray, tmp_path):
    import torch

    with started(config(ranks=2), tmp_path) as fleet:
        assert learn(fleet, PAIRS, VALUES, 1.0, 1)["steps"] > 0
        weights = [ray.get(ray.get(learner.publish.remote())[0]).weights for learner in fleet.learners]
        assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0]), "ranks drifted apart"
        # One of them dies while they learn: all begin again from the last checkpoint, and the next is made.
        kill_in(1.5, workers("LearnerActor")[1].pid)
        assert learn(fleet, PAIRS, VALUES, 4.0, 2)["steps"] > 0
        assert fleet.replaced["learner"] == 1 and (tmp_path / "checkpoints/000002/learner.pt").exists()
