"""The loop with `learn.max_staleness`, ended at any point and resumed. Ray and Lean are fakes, so that a test decides when a version is
trained; the loop, the pipeline, the dispatcher, the recorder and the ledger are real."""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from rich.console import Console

from prover.solve.job import Found, Trace
from prover.solve.ledger import Ledger
from rl import loop
from rl.actors.dispatch import Dispatch
from rl.actors.preparation import Prepared
from rl.actors.recorder import RecorderBody
from rl.bench.bookkeeping import STATS
from rl.config import EvalConfig, LearnConfig, ProverConfig, RunConfig, TheoremsConfig
from rl.learned import Learned
from rl.theorem_splits import theorems_of
from tests.rl.test_dispatch import Fleet as Simulated
from tests.rl.test_dispatch import Ref

ROUNDS = 4


theorems = functools.cache(theorems_of)


class Killed(BaseException):
    """The end of the process."""


class World:
    """What outlives a driver: the newest checkpoint."""

    def __init__(self, kill_at: int = 0) -> None:
        self.checkpoint = 0
        self.turns, self.kill_at = 0, kill_at
        self.learned: list[tuple[int, int]] = []
        """(version, attempts of the next round that were recorded when it began to be served)."""


class Fleet(Simulated):
    """Searches end in every turn, and a version takes as many turns to train as half a round takes."""

    def __init__(self, world: World, config: RunConfig) -> None:
        super().__init__(2)
        self.world, self.config = world, config
        self.version = 0
        self.training: list[tuple[int, int, Any]] = []
        self.beside: list[Any] = []
        self.models = Learned()

    def scale(self) -> None:
        self.turn()
        for ref, (task,) in self.take(self.searches):
            used = self.version if task.policy == "model" else 0
            ref.set_result(
                Found(
                    "budget",
                    lean_calls=task.lean_calls,
                    seconds=0.1,
                    trace=Trace(stats={**STATS, "values": []}, model_version=used),
                )
            )

    def turn(self) -> None:
        self.world.turns += 1
        if self.world.turns == self.world.kill_at:
            raise Killed

    def run(self, tasks: Any, record: Any = None) -> Any:
        fleet: Any = self
        self.dispatch = Dispatch(fleet, tasks, record)
        for finished in self.dispatch.finished():
            yield finished
            self.learn(1)
        self.dispatch = None

    def train(self, policy: Any, value: Any, seconds: float, version: int, done: Any) -> None:
        assert (not self.training and version == self.world.checkpoint + 1) or version == self.world.checkpoint
        self.training.append((version, 4, done))

    def learn(self, steps: int) -> None:
        """The learner's work while something else happens."""
        for version, left, done in self.training[:]:
            self.training.clear()
            if left > steps:
                self.training.append((version, left - steps, done))
            else:
                self.world.checkpoint = version
                self.turn()  # an end between the checkpoint and its record
                done({"seconds": 1.0})

    def publish(self) -> None:
        self.version = self.world.checkpoint

    def start(self) -> None:
        take = self.events.take

        def wait(timeout: float) -> bool:
            if not self.searches and self.training:  # nothing but the learner works
                self.turn()
                self.learn(99)
            return take(0.0)

        self.events.take = wait  # type: ignore[method-assign]

    def resume(self, limit: int | None = None) -> int:
        if limit is not None:
            self.world.checkpoint = min(limit, self.world.checkpoint)
        self.publish()
        return self.version

    def server_counters(self) -> dict[int, dict[str, float]]:
        return {0: {"seconds": 0.0, "queries": 0.0}}

    def prover_counters(self) -> dict[int, dict[str, float]]:
        return {}

    def close(self) -> None:
        pass


class Called:
    """An actor's method that answers at once."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def options(self, **options: Any) -> Called:
        return self

    def remote(self, *arguments: Any) -> Any:
        (ref := Ref()).set_result(self.function(*arguments))
        return ref


class Preparing(Called):
    def remote(self, *arguments: Any) -> Any:
        return super().remote(*arguments), [], []


def trainer(folder: Path, world: World, monkeypatch: pytest.MonkeyPatch, staleness: int, validation: int) -> Any:
    config = RunConfig(
        name="fake",
        runs=str(folder),
        theorems=TheoremsConfig(modules=("Init.Data.Option.Lemmas",), per_module=9, held_out_per_module=1),
        prover=ProverConfig(provers=2, concurrent=2),
        learn=LearnConfig(rounds=ROUNDS, first_calls=4, calls=4, max_staleness=staleness),
        eval=EvalConfig(calls=1, baselines=False, validation=validation, validation_calls=2),
    )

    class Actor:
        def __init__(self, path: Path) -> None:
            body = RecorderBody(config, str(path), "fake")
            self.record = Called(lambda phase, r, finished, examples: body.record(phase, r, finished))
            self.prepare = Preparing(lambda r: Prepared({"training_seconds": 0.5}, [], Learned()))
            self.trim = Called(lambda r: 0)

    monkeypatch.setattr(loop, "theorems_of", theorems)
    monkeypatch.setattr(loop.run_summary, "finish", lambda *arguments: {})  # draws for seconds
    monkeypatch.setattr(loop, "Tracker", lambda *arguments: MagicMock(console=Console(quiet=True)))
    monkeypatch.setattr(loop, "Fleet", lambda config, folder, say: Fleet(world, config))
    monkeypatch.setattr(loop, "start_recorder", lambda config, path, lean, log: Actor(path))
    monkeypatch.setattr(loop, "start_preparation", lambda config, path, log: Actor(path))
    monkeypatch.setattr(loop, "newest_models", lambda preparation: Learned())
    if (config.folder / "ledger.sqlite").exists():
        return loop.Trainer.resume(config.folder, quiet=True)
    return loop.Trainer(config, quiet=True)


def attempted(folder: Path) -> list[Any]:
    return list(Ledger(folder / "fake/ledger.sqlite", readonly=True).attempts())


@pytest.mark.parametrize(("staleness", "validation"), [(0, 2), (1, 0), (1, 2), (2, 0), (2, 2)])
def test_no_attempt_is_older_than_allowed(tmp_path, monkeypatch, staleness, validation):
    world = World()
    trainer(tmp_path, world, monkeypatch, staleness, validation).run()
    ledger = Ledger(tmp_path / "fake/ledger.sqlite", readonly=True)
    assert ledger.learned() == ROUNDS and [row["round"] for row in ledger.rounds()] == [1, 2, 3, 4]
    behind = Counter(r - 1 - a.model_version for r in range(2, ROUNDS + 1) for a in ledger.attempts(f"round {r}"))
    assert max(behind) == min(staleness, max(behind)) and (staleness == 0) == (set(behind) == {0}), behind
    if staleness:
        assert behind[1] > 0 and behind[0] > 0, "served versions were not used in the round under way"
    for r in range(1, ROUNDS + 1):
        assert {a.model_version for a in ledger.attempts(f"validation round {r}")} == ({r} if validation else set())
    assert {a.model_version for a in ledger.attempts("held-out model")} == {ROUNDS}


@pytest.mark.parametrize("validation", [0, 2])
def test_a_run_that_is_killed_at_any_point_goes_on(tmp_path, monkeypatch, validation):
    folder = tmp_path / "whole"
    trainer(folder, world := World(), monkeypatch, 1, validation).run()
    whole = {(a.phase, a.theorem.name) for a in attempted(folder)}
    for kill_at in range(2, world.turns, max(1, world.turns // 6)):
        folder, after = tmp_path / str(kill_at), World(kill_at)
        killed = trainer(folder, after, monkeypatch, 1, validation)
        with pytest.raises(Killed):
            killed.run()
        killed.ledger.close()
        before = attempted(folder)
        trainer(folder, after, monkeypatch, 1, validation).run()
        found = attempted(folder)
        assert found[: len(before)] == before, "a recorded attempt changed or was made again"
        assert {(a.phase, a.theorem.name) for a in found} == whole and len(found) == len(whole)
        ledger = Ledger(folder / "fake/ledger.sqlite", readonly=True)
        assert ledger.learned() == ROUNDS and [row["round"] for row in ledger.rounds()] == [1, 2, 3, 4]
        assert all(0 <= r - 1 - a.model_version <= 1 for r in (2, 3, 4) for a in ledger.attempts(f"round {r}"))
        for r in range(1, ROUNDS + 1):
            assert {a.model_version for a in ledger.attempts(f"validation round {r}")} <= {r}, kill_at
