"""A run through vLLM: the real Trainer, its actors in Ray, real Lean, real audits, and two copies of the model on two engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_goals import make_pairs, query

from rl.config import (
    EvalConfig,
    LearnConfig,
    ModelConfig,
    ProverConfig,
    RayConfig,
    RunConfig,
    ServeConfig,
    TheoremsConfig,
)
from rl.examples import ValueExample

GOALS = [g for g, _ in make_pairs(6, seed=3)]
QUERIES = [query(g) for g in GOALS]
ROUNDS = 3


def taught(version: int) -> list[ValueExample]:
    """What `version` learns besides the run's own examples: a value of its goals that is another for each version. A run's own
    examples repeat from round to round, so that the model may hardly change."""
    return [ValueExample(g, version, weight=4.0) for g in GOALS]


def tiny(runs: Path) -> RunConfig:
    return RunConfig(
        name="through-vllm",
        runs=str(runs),
        theorems=TheoremsConfig(modules=("Init.Data.Option.Lemmas",), per_module=6, held_out_per_module=3),
        prover=ProverConfig(provers=2, concurrent=2, suggestions=8),
        # Heads of 32: vLLM's CPU attention takes no smaller ones.
        model=ModelConfig(hidden=64, layers=2, heads=2, intermediate=128, vocabulary=512),
        # Passes bound the learning, and the time limit, which no machine needs, does not.
        learn=LearnConfig(
            rounds=ROUNDS,
            first_calls=24,
            calls=6,
            harvest=6,
            seconds=300.0,
            max_epochs=60.0,
            learning_rate=3e-3,
            ranker_seconds=1.0,
            fresh_names=0.0,
            threads=1,
        ),
        ray=RayConfig(model_servers=2),
        serve=ServeConfig(backend="vllm", memory=0.15),
        eval=EvalConfig(calls=4, baselines=False),
    )


class Watched:
    """A trainer whose versions differ in a known way, and whose model servers are asked what they serve after each update."""

    def __init__(self, config: RunConfig) -> None:
        from rl.loop import Trainer

        self.trainer = Trainer(config, quiet=True)
        self.versions: list[list[int]] = []
        self.differences: list[float] = []
        self.values: list[list[int]] = []
        """The likeliest value of each goal, as each server answers: by version and server."""
        self.counters: list[dict[str, float]] = []
        fleet = self.trainer.fleet
        self._train, self._publish, self._close = fleet.train, fleet.publish, fleet.close
        fleet.train, fleet.publish, fleet.close = self.train, self.publish, self.close  # type: ignore[method-assign]

    def train(self, policy: Any, value: Any, seconds: float, version: int, done: Any, chance: int = 1) -> None:
        import ray

        if chance == 1:
            value = [*ray.get(value), *taught(version)]
        self._train(policy, value, seconds, version, done, chance)

    def publish(self) -> None:
        import ray

        from prover.models.transformer import LanguageModelPolicy

        self._publish()
        answers = ray.get([s.answer.remote(QUERIES, QUERIES, 4) for s in self.trainer.fleet.servers])
        self.versions.append([version for _, _, version in answers])
        reference = LanguageModelPolicy.load(self.trainer.folder / f"checkpoints/{self.versions[-1][0]:06d}")
        expected = [x for v in reference.evaluate(QUERIES) for x in v.probs]
        for suggestions, values, _ in answers:
            self.values.append([v.probs.index(max(v.probs)) for v in values])
            found = [x for v in values for x in v.probs]
            self.differences.append(max(abs(x - y) for x, y in zip(found, expected, strict=True)))
            assert any(suggestions), "no tactic came back"

    def close(self) -> None:
        import ray

        if ray.is_initialized():
            self.counters = ray.get([s.counters.remote() for s in self.trainer.fleet.servers])
        self._close()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A finished run."""
    watched = Watched(tiny(tmp_path_factory.mktemp("runs")))
    watched.trainer.run()
    yield watched


@pytest.mark.lean
@pytest.mark.ray
def test_every_learned_version_is_served_in_place_by_both_engines(watched: Watched) -> None:
    assert watched.versions == [[v, v] for v in range(1, ROUNDS + 1)]
    # What they serve is the checkpoint, as transformers loads it, and says what only this version was taught.
    assert max(watched.differences) < 1e-2
    assert watched.values == [[v] * len(GOALS) for v in range(1, ROUNDS + 1) for _ in range(2)]
    assert [c["engines"] for c in watched.counters] == [1, 1]


@pytest.mark.lean
@pytest.mark.ray
def test_provers_are_spread_over_the_copies(watched: Watched) -> None:
    mine = 2 * len(QUERIES) * ROUNDS  # asked by this test
    assert all(c["queries"] > mine for c in watched.counters), watched.counters


@pytest.mark.lean
@pytest.mark.ray
def test_rounds_searched_with_what_was_learned_and_proofs_are_audited(watched: Watched) -> None:
    from prover.solve.ledger import Ledger

    ledger = Ledger.open(watched.trainer.folder, readonly=True)
    attempts = list(ledger.attempts())
    assert not [a.reason for a in attempts if a.outcome == "error"]
    for r in range(2, ROUNDS + 1):
        assert {a.model_version for a in attempts if a.phase == f"round {r}"} == {r - 1}
    assert {a.model_version for a in attempts if a.phase == "held-out model"} == {ROUNDS}
    by_model = [a for a in attempts if a.outcome == "proved" and a.phase != "round 1"]
    assert by_model and all(a.script and a.lean for a in by_model), "no audited proof of a search through vLLM"
