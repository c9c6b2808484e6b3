"""Learning while later rounds are collected. The fleet and its actors are fakes, so that a test decides what is ready when."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from prover.models.backends.serve import ServeConfig
from prover.solve.ledger import Ledger
from rl.actors.events import Events
from rl.actors.preparation import Prepared
from rl.config import EvalConfig, LearnConfig, RunConfig
from rl.learned import Learned
from rl.pipeline import Pipeline


class Ref(Future[Any]):
    """A reference of Ray that the test resolves."""

    def future(self) -> Future[Any]:
        return self


class Preparation:
    """Stands for the actor and for its methods."""

    def __init__(self) -> None:
        self.prepare = self.trim = self
        self.asked: list[int] = []

    def options(self, **options: Any) -> Preparation:
        return self

    def remote(self, r: int) -> Any:
        ref = Ref()
        ref.set_result(Prepared({"training_seconds": 1.0}, [], Learned()))
        self.asked.append(r)
        return ref, None, None


class Trims(Preparation):
    def remote(self, r: int) -> Any:
        return super().remote(r)[0]


class Fleet:
    def __init__(self) -> None:
        self.events = Events()
        self.models = Learned()
        self.training: dict[int, Any] = {}
        self.published = 0

    def train(self, policy: Any, value: Any, seconds: float, version: int, done: Any) -> None:
        assert not self.training, "two versions at once"
        self.training[version] = done

    def publish(self) -> None:
        self.published += 1

    def server_counters(self) -> dict[int, dict[str, float]]:
        return {0: {"seconds": 0.0}}

    def finish(self, version: int) -> None:
        """The learner is done with a version."""
        self.training.pop(version)({"seconds": 2.0})


class Measured:
    def __init__(self) -> None:
        self.found: dict[str, float] = {}

    def learned(self, metrics: dict[str, float], seconds: float) -> None:
        self.found = metrics


def pipeline(tmp_path: Any, **settings: Any) -> tuple[Pipeline, Fleet, Ledger]:
    config = RunConfig(**settings)
    fleet: Any = Fleet()
    preparation = Preparation()
    preparation.trim = Trims()
    ledger = Ledger(tmp_path / "ledger.sqlite")
    return Pipeline(config, ledger, fleet, preparation, lambda text: None), fleet, ledger


def add(p: Pipeline, r: int) -> Measured:
    measured: Any = Measured()
    p.add(r, measured)
    p.fleet.events.take(0.0)
    return measured


@pytest.mark.parametrize(
    ("staleness", "scratch", "pretrained"), [(0, [0, 1, 2, 3], [0, 1, 2, 3]), (1, [0, 1, 1, 2], [0, 0, 1, 2])]
)
def test_what_must_be_served_before_a_round(tmp_path, staleness, scratch, pretrained):
    learn = LearnConfig(max_staleness=staleness)
    for settings, expected in (({}, scratch), ({"serve": ServeConfig(start="model")}, pretrained)):
        p, _, _ = pipeline(tmp_path, learn=learn, **settings)
        assert [p.needed(r) for r in (1, 2, 3, 4)] == expected
        assert all(r - 1 - p.needed(r) <= staleness for r in range(1, 9))


def test_rounds_are_learned_one_after_the_other_while_others_are_collected(tmp_path):
    p, fleet, ledger = pipeline(tmp_path, learn=LearnConfig(max_staleness=1))
    first = add(p, 1)
    assert list(fleet.training) == [1] and p.learned == 0
    add(p, 2)  # is collected before version 1 is there, and waits for it
    assert list(fleet.training) == [1]
    fleet.finish(1)
    fleet.events.take(0.0)
    assert p.learned == ledger.learned() == 1 and fleet.published == 1 and list(fleet.training) == [2]
    assert 0 <= first.found["idle/learner"] <= 1 and first.found["idle/engines"] == 1.0
    assert first.found["training_seconds"] == 3.0
    # A run that goes on from here learns round 2 again, which it has collected.
    again = Pipeline(p.config, ledger, p.fleet, p.preparation, p.say)
    assert again.learned == 1


def test_a_version_is_not_served_while_the_one_before_is_measured(tmp_path):
    p, fleet, ledger = pipeline(tmp_path, learn=LearnConfig(max_staleness=1), eval=EvalConfig(validation=4))
    add(p, 1)
    fleet.finish(1)
    fleet.events.take(0.0)
    assert p.learned == 1 and p.held
    add(p, 2)
    fleet.finish(2)
    fleet.events.take(0.0)
    assert p.learned == ledger.learned() == 1 and fleet.published == 1
    measured: list[int] = []

    def validate() -> None:
        measured.append(p.learned)
        p.held = False

        p.serve()

    p.wait(2, validate)
    assert p.learned == 2 and measured == [1] and p.held and fleet.published == 2
