"""New weights under a running engine: they are the learner's, all of them, and nothing old is remembered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sample_goals import make_pairs, query

from prover.models.backends.agreement import prior_difference, value_difference
from prover.models.backends.vllm import StaleWeights
from rl.examples import PolicyExample, ValueExample
from rl.learner.learner import Learner
from rl.learner.small_model import SMALL, small_learner
from rl.learner.supervised import train

QUERIES = [query(g) for g, _ in make_pairs(12, seed=3)]


def learn(reference: Any, steps: int = 30) -> Learner:
    """A learner some steps on from the reference."""
    learner = small_learner(
        reference.model,
        reference.tokenizer,
        reference.prompter.config,
        replace(SMALL, learning_rate=3e-3, warmup=2, threads=1),
    )
    examples = [PolicyExample(g, t) for g, t in make_pairs(48, seed=8)]
    train(learner, [*examples, *(ValueExample(g, i % 5) for i, (g, _) in enumerate(make_pairs(24)))], steps=steps)
    return learner


def test_weights_are_replaced_in_place(served: Any, reference: Any) -> None:
    served.check_version(1)
    worst, compared = prior_difference(reference, QUERIES, served.sample(QUERIES, 8))
    assert compared > 40 and worst < 1e-2
    before = served.evaluate(QUERIES)
    learner = learn(reference)
    weights = learner.weights()
    served.load_weights(weights, 2)
    reference.load_weights(weights, 2)
    served.check_version(2)
    worst, compared = prior_difference(reference, QUERIES, served.sample(QUERIES, 8))
    assert compared > 40 and worst < 1e-2
    assert value_difference(reference, QUERIES, served) < 1e-2
    moved = max(
        abs(x - y) for a, b in zip(before, served.evaluate(QUERIES), strict=True) for x, y in zip(a.probs, b.probs)
    )
    assert moved > 0.05  # the weights that were compared are others than before


def test_a_prompt_is_remembered_until_the_weights_change(served: Any, reference: Any) -> None:
    from vllm import SamplingParams

    def remembered() -> int:
        """Tokens of a prompt that the engine did not compute. It remembers whole blocks, of 128 tokens on a CPU."""
        prompt = {"prompt_token_ids": [20 + i for i in range(140)]}
        [output] = served.engine.generate([prompt], SamplingParams(max_tokens=1, temperature=0.0))
        return output.num_cached_tokens

    assert remembered() == 0
    assert remembered() == 128
    served.load_weights({k: 1.01 * w for k, w in reference.model.state_dict().items()}, 4)
    assert remembered() == 0


def test_a_checkpoint_folder_is_served_in_place(served: Any, reference: Any, tmp_path: Path) -> None:
    learner = learn(reference, steps=10)
    reference.load_weights(learner.weights(), 5)
    reference.save(tmp_path / "000005")
    served.load_folder(tmp_path / "000005", 5)
    assert value_difference(reference, QUERIES, served) < 1e-2


def test_other_weights_than_the_learners_are_noticed(served: Any, reference: Any, tmp_path: Path) -> None:
    with pytest.raises(StaleWeights, match="version 2"):
        served.check_version(2)
    reference.save(tmp_path / "m")
    # A worker whose file system shows another folder than the learner wrote must say so, and go on with what it had.
    with pytest.raises(Exception, match="this worker reads weights"):
        served.llm.collective_rpc("serve_weights", args=(str(tmp_path / "m"), 9, "0123456789abcdef"))
    served.check_version(1)
