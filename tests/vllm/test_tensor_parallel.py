"""One copy of the model split over two processes, by gloo: the same model as in one. In a pytest of its own, since closing this
engine takes down what vLLM shares among all engines of a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sample_goals import make_pairs, query

from prover.models.backends.agreement import prior_difference, value_difference
from prover.models.backends.vllm import VLLMConfig, VLLMPolicy

QUERIES = [query(g) for g, _ in make_pairs(8, seed=3)]


def test_two_workers_serve_what_one_does(folder: Path, reference: Any) -> None:
    split = VLLMPolicy(folder, VLLMConfig(memory=0.15, tensor_parallel=2))
    try:
        worst, compared = prior_difference(reference, QUERIES, split.sample(QUERIES, 8))
        assert compared > 20 and worst < 1e-2
        assert value_difference(reference, QUERIES, split) < 1e-2
        # Each worker takes its part of new weights, and says so.
        assert len(split.engine.alone(lambda: split.llm.collective_rpc("served_weights"))) == 2
        weights = {k: 1.05 * w for k, w in reference.model.state_dict().items()}
        before = split.evaluate(QUERIES)
        split.load_weights(weights, 2)
        split.check_version(2)
        reference.load_weights(weights, 2)
        assert value_difference(reference, QUERIES, split) < 1e-2
        after = split.evaluate(QUERIES)
        assert max(abs(x - y) for a, b in zip(before, after) for x, y in zip(a.probs, b.probs)) > 1e-4
    finally:
        split.close()
