"""The learner's benchmark, on the CPU."""

from __future__ import annotations

import pytest

from prover.errors import UserError
from rl.bench.learner import bench_learner


def test_figures_of_a_small_model() -> None:
    found = bench_learner(device="cpu", sizes=("tiny",), groups=2)["tiny"]
    assert found["packs"] and found["tokens_per_step"] == 2 * 8 * 512 and found["tokens_per_second"] > 0
    # A saved model computes the same; only the first steps with their small rate lie between.
    assert found["resumed_steps"] == 1 and found["loss_after_resume_minus_before"] < 0.05
    assert found["flops_utilisation"] is None and found["peak_memory_gb"] is None


def test_unknown_sizes() -> None:
    with pytest.raises(UserError, match="--sizes 7b: choose from tiny, 0.5b"):
        bench_learner(sizes=("7b",))
