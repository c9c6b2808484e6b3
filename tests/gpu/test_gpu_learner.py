"""The learner on a GPU. `make test-gpu` runs it; elsewhere it is skipped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rl.algorithms.gradient_settings import PRESETS
from rl.bench.learner import bench_learner
from rl.learner import policy_gradient
from rl.learner.learner import Learner
from rl.learner.settings import LearnerConfig
from tests.rl.test_packing import ROWS
from tests.rl.test_policy_gradient import folder, trajectories

__all__ = ["folder"]
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_the_gpu_computes_what_the_cpu_computes(folder: Path) -> None:
    tuners = [
        Learner.load(folder, LearnerConfig(learning_rate=1e-3), template="names", device=d) for d in ("cpu", None)
    ]
    assert tuners[1].accelerator.device.type == "cuda" and tuners[1].batching == "trees"
    rows = [tuple(tuple(x + 40 for x in part) for part in row) for row in ROWS]
    cpu, gpu = (t.logprobs(rows).cpu() for t in tuners)
    torch.testing.assert_close(cpu, gpu, atol=1e-4, rtol=1e-4)
    data = trajectories(tuners[0].model)
    metrics = [policy_gradient.train(t, data, PRESETS["dapo"], batch=20) for t in tuners]
    assert metrics[0]["loss"] == pytest.approx(metrics[1]["loss"], abs=1e-4)
    for a, b in zip(tuners[0].model.parameters(), tuners[1].model.parameters(), strict=True):
        torch.testing.assert_close(a, b.cpu(), atol=1e-4, rtol=0)


def test_bfloat16_with_adapters(folder: Path) -> None:
    config = LearnerConfig(learning_rate=1e-2, lora_rank=4, dtype="bfloat16", gradient_checkpointing=True)
    tuner = Learner.load(folder, config, template="names")
    data = trajectories(Learner.load(folder, template="names", device="cpu").model)
    metrics = [policy_gradient.train(tuner, data, PRESETS["grpo"], batch=20) for _ in range(8)]
    assert metrics[-1]["steps"] == 1 and metrics[0]["sampler_gap"] < 0.1


def test_the_benchmark_of_a_small_model() -> None:
    found = bench_learner(device="cuda", sizes=("tiny",), groups=2)["tiny"]
    assert found["packs"] and found["tokens_per_second"] > 0 and found["resumed_steps"] == 1
