"""LoRA adapters that vLLM serves without merging: only they travel between versions, and the engine answers as the learner does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sample_goals import make_pairs, query

from prover.errors import UserError
from prover.models.backends.huggingface import HuggingFacePolicy
from prover.models.backends.serve import ServeConfig
from prover.models.backends.vllm import VLLMConfig, VLLMPolicy
from rl.examples import PolicyExample, ValueExample
from rl.learner.adapters import adapter_settings, adapter_weights, frozen_weights
from rl.learner.learner import Learner
from rl.learner.packing import target_logprobs
from rl.learner.settings import LearnerConfig
from rl.learner.supervised import train

QUERIES = [query(g) for g, _ in make_pairs(12, seed=3)]
TACTICS = [PolicyExample(g, t) for g, t in make_pairs(32, seed=8)]
RANK = 4


def values(label: int) -> list[ValueExample]:
    """Examples that give every goal another value for each label."""
    return [ValueExample(q.state.text, label, weight=4.0) for q in QUERIES]


def size(*weights: dict[str, Any]) -> int:
    """Bytes of state dicts."""
    return sum(w.nbytes for some in weights for w in some.values())


def off_by(model: Any, samples: Any) -> float:
    """Largest difference of the log-probabilities of sampled tokens: the engine's, and those that the model gives them."""
    with torch.no_grad():
        computed = target_logprobs(model.eval(), [(s.prompt, s.answer) for s in samples], "cpu")
    served = torch.tensor([x for s in samples for x in s.logprobs])
    assert len(served) >= 2 * len(QUERIES)
    return float((computed - served).abs().max())


def farthest(found: Any, expected: Any) -> float:
    return max(abs(x - y) for a, b in zip(found, expected, strict=True) for x, y in zip(a.probs, b.probs, strict=True))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The template `names` with short answers, because the model reads 160 tokens."""
    path = tmp_path_factory.mktemp("template") / "short.toml"
    path.write_text('source = "these tests"\nprompt = "{{ goal }}\\n:= by\\n"\nstop = ["\\n\\n"]\nmax_new_tokens = 8\n')
    return str(path)


@pytest.fixture(scope="module")
def learner(folder: Path, template: str) -> Learner:
    config = LearnerConfig(learning_rate=2e-2, warmup=2, lora_rank=RANK, lora_alpha=8, max_length=150, threads=1)
    return Learner.load(folder, config, template=template, device="cpu")


@pytest.fixture(scope="module")
def adapted(folder: Path, template: str) -> Iterator[VLLMPolicy]:
    """An engine on the weights below the adapters."""
    policy = VLLMPolicy(folder, VLLMConfig(memory=0.15, lora_rank=RANK), template=template)
    yield policy
    policy.close()


def serve(policy: VLLMPolicy, learner: Learner, version: int) -> None:
    policy.load_adapter(adapter_weights(learner), adapter_settings(learner), version)


def test_only_adapters_travel_and_the_engine_agrees_with_the_learner(
    adapted: VLLMPolicy, learner: Learner, template: str, tmp_path: Path
) -> None:
    below = frozen_weights(learner)
    earlier: list[Any] = []
    for version in (1, 2):
        train(learner, [*TACTICS, *values(version)], steps=20)
        serve(adapted, learner, version)
        adapted.check_version(version)
        samples = [a.sampled for [a] in adapted.sample(QUERIES, 1)]
        assert off_by(learner.model, samples) < 1e-2
        # The checkpoint has all weights merged, and is the same model.
        learner.save(tmp_path / f"{version}", version)
        merged = HuggingFacePolicy(tmp_path / f"{version}", template, dtype="float32")
        assert off_by(merged.model, samples) < 1e-2
        expected = merged.evaluate(QUERIES)
        assert farthest(adapted.evaluate(QUERIES), expected) < 1e-2
        for (
            samples_before,
            expected_before,
        ) in earlier:  # the versions differ, so that agreement says which one is served
            assert off_by(learner.model, samples_before) > 0.05 and farthest(expected, expected_before) > 0.05
        earlier.append((samples, expected))
        assert adapted.llm.collective_rpc("list_loras") == [{version}], "old adapters stay in the engine"
    published, whole = size(adapter_weights(learner)), size(learner.weights())
    print(f"bytes published: {published:,} instead of {whole:,}")
    assert 10 * published < whole
    assert all((w == below[name]).all() for name, w in frozen_weights(learner).items())


def test_requests_under_way_end_with_the_adapters_they_began_with(adapted: VLLMPolicy, learner: Learner) -> None:
    many = [query(g) for g, _ in make_pairs(60, seed=5)]
    train(learner, [*TACTICS, *values(4)], steps=20)
    serve(adapted, learner, 4)
    old = adapted.evaluate(many)
    train(learner, [*TACTICS, *values(5)], steps=20)
    waiting = [adapted.engine.submit(*r) for r in zip(*adapted._value_requests(many), strict=True)]
    loading = threading.Thread(target=serve, args=(adapted, learner, 5))
    loading.start()
    outputs = [f.result() for f in waiting]
    loading.join()
    assert adapted.version == 5
    assert farthest([adapted._estimate(q, o) for q, o in zip(many, outputs, strict=True)], old) < 1e-2
    assert farthest(adapted.evaluate(many), old) > 0.05


def test_adapters_that_vllm_rejects_leave_the_old_ones(adapted: VLLMPolicy, learner: Learner) -> None:
    serve(adapted, learner, 6)
    expected = adapted.evaluate(QUERIES)
    with pytest.raises(UserError, match=r"rank 64 .*serve\.merge=true"):
        adapted.load_adapter(adapter_weights(learner), {**adapter_settings(learner), "r": 64}, 7)
    adapted.check_version(6)
    assert farthest(adapted.evaluate(QUERIES), expected) < 1e-3


@pytest.mark.ray
def test_a_fleet_publishes_adapters(folder: Path, template: str, tmp_path: Path) -> None:
    """A learner and a model server in Ray. The server starts an engine for the weights below the adapters, not for a version."""
    import ray

    from rl.actors.fleet import Fleet
    from rl.config import LearnConfig, RunConfig

    config = RunConfig(
        learn=LearnConfig(learning_rate=2e-2, max_epochs=10.0, threads=1),
        serve=ServeConfig("vllm", str(folder), template, memory=0.15, train="lora", lora_rank=RANK),
    )
    fleet = Fleet(config, tmp_path, print)
    fleet.connect()
    try:
        fleet.servers, fleet.learners = [fleet.server(0)], fleet._learners()
        assert fleet.resume() == 0
        for version, engines in ((1, 1), (2, 2)):
            if version == 2:  # a new learner has new adapters on the merged weights of the last checkpoint
                fleet.learners = fleet._learners()
                assert ray.get([x.resume.remote() for x in fleet.learners]) == [1]
            ray.get(fleet.learners[0].learn.remote(TACTICS, values(version), 300.0, version))
            fleet.publish()
            answered: Any = ray.get(fleet.servers[0].answer.remote(QUERIES, QUERIES, 1))
            tactics, estimates, served = answered
            assert served == version
            merged = HuggingFacePolicy(tmp_path / f"checkpoints/{version:06d}", template, dtype="float32")
            assert off_by(merged.model, [s.sampled for [s] in tactics]) < 1e-2
            assert farthest(estimates, merged.evaluate(QUERIES)) < 1e-2
            counters: Any = ray.get(fleet.servers[0].counters.remote())
            assert counters["engines"] == engines
        published: Any = ray.get(ray.get(fleet.learners[0].publish.remote())[0])
        assert not published.weights and published.adapter.base.endswith("000001")
    finally:
        fleet.close()
