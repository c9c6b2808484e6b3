"""Expert iteration that goes back to the weights of the start every k rounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from curricula.library import split_of
from prover.lean.theorem import Theorem
from prover.models.backends.serve import ServeConfig
from prover.solve.ledger import Attempt, Ledger
from rl.actors.learner import LearnerActor
from rl.config import LearnConfig, ModelConfig, RunConfig, check
from rl.examples import PolicyExample, ValueExample
from rl.learning import Learning
from tests.rl.test_pretrained import make_model

Actor: Any = LearnerActor.__ray_metadata__.modified_class  # type: ignore[attr-defined]
"""The learner without Ray."""
ROUNDS = {r: [PolicyExample(f"o : Option α\n⊢ o = {k}", "simp") for k in range(16 * r)] for r in (1, 2, 3)}
FOREVER = 1e9
"""Seconds, so that epochs alone decide. The schedule of a pretrained model's learning rate also reads the clock."""
VALUES = [ValueExample("o : Option α\n⊢ o = 1", 0)]


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=0, atol=1e-6)


def config(start: str = "") -> RunConfig:
    serve = ServeConfig(start=start, template="names") if start else ServeConfig()
    model = ModelConfig(hidden=48, layers=2, heads=4, intermediate=96, vocabulary=300)
    learn = LearnConfig(retrain_every=2, rounds=4, max_epochs=1.0, threads=1, fresh_names=0.0)
    return check(RunConfig(learn=learn, serve=serve, model=model))


def test_the_rounds_after_every_k_start_again() -> None:
    assert [r for r in range(1, 8) if config().retrains(r)] == [3, 5, 7]
    assert not any(RunConfig().retrains(r) for r in range(1, 8))


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_round_that_starts_again_keeps_nothing_of_the_weights(tmp_path: Path, pretrained: bool) -> None:
    """Its checkpoint is what training the start on the examples of that round alone gives, also after the learner died."""
    if pretrained:
        make_model(tmp_path / "model")
    settings = config(str(tmp_path / "model") if pretrained else "")

    def learner(folder: str) -> Any:
        actor = Actor(settings, str(tmp_path / folder))
        actor.resume()
        return actor

    def weights(folder: str, version: int) -> dict[str, torch.Tensor]:
        return load_file(tmp_path / folder / f"{version:06d}/model.safetensors")

    first = learner("run")
    for r in (1, 2):
        first.learn(ROUNDS[r], VALUES, FOREVER, r)
    resumed = learner("run")  # after round 2
    resumed.learn(ROUNDS[3], VALUES, FOREVER, 3)
    fresh = learner("fresh")
    fresh.version = 2
    fresh.learn(ROUNDS[3], VALUES, FOREVER, 3)
    ours, expected = weights("run", 3), weights("fresh", 3)
    assert ours.keys() == expected.keys() and all(close(w, expected[k]) for k, w in ours.items())
    # The second round did go on from the first.
    fresh = learner("other")
    fresh.version = 1
    fresh.learn(ROUNDS[2], VALUES, FOREVER, 2)
    assert any(not close(w, weights("other", 2)[k]) for k, w in weights("run", 2).items())


def test_such_a_round_draws_from_all_rounds_alike(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    names = [f"X.t{i}" for i in range(40) if split_of(f"X.t{i}") == "train"]
    for version in range(5):
        theorem = Theorem(names[version], ": True")
        attempt = Attempt(f"round {version + 1}", theorem, "proved", 1, 1, 0.1, "trivial", model_version=version)
        row = {"state": f"⊢ {version}", "premises": [], "tactics": [["trivial", 1.0]], "depth": 0, "round": version + 1}
        ledger.record(attempt, [("policy", row)])
    learning = Learning(config(), tmp_path, ledger, None, print)  # type: ignore[arg-type]
    drawn = {r: {d["state"]: d["weight"] for d in learning._draw("policy", r)} for r in (4, 5)}
    assert len(drawn[4]) == 4 and len(drawn[5]) == 5
    assert len(set(drawn[5].values())) == 1 and drawn[4]["⊢ 3"] > drawn[4]["⊢ 0"]
