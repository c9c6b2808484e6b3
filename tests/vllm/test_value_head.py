"""The value head of a pretrained model in vLLM: the engine's values are those of transformers, and its tactics stay as they are."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from sample_goals import make_pairs, query

from prover.models.backends.huggingface import HuggingFacePolicy
from prover.models.formats import TemplateFormat
from prover.models.templates import template_named
from prover.models.value_head import ValueHead
from rl.learner.packing import target_logprobs

QUERIES = [query(g) for g, _ in make_pairs(12, seed=3)]


def test_values_are_those_of_transformers(served: Any, folder: Path) -> None:
    reference = HuggingFacePolicy(folder, "names", dtype="float32")
    head = ValueHead(reference.model.config.hidden_size)
    torch.nn.init.normal_(head.weight, std=3.0, generator=torch.Generator().manual_seed(0))
    own, served.format = served.format, TemplateFormat(template_named("names"))
    # Goals of this tokenizer are long for a model that reads 160 tokens, so an answer may take few.
    served.format.max_new_tokens = 8
    try:
        with pytest.raises(ValueError, match="has no value"):
            served.evaluate(QUERIES)
        plain = {k: w.clone() for k, w in reference.model.state_dict().items()}
        for version, scale in ((11, 1.0), (12, 1.1)):
            weights = {k: scale * w for k, w in plain.items()} | head.state()
            reference.load_weights(weights, version)
            served.load_weights(weights, version)
            served.check_version(version)
            assert served.has_value
            values = reference.evaluate(QUERIES)
            assert max(e.probs[0] for e in values) > 2 * min(e.probs[0] for e in values)
            for ours, theirs in zip(values, served.evaluate(QUERIES), strict=True):
                assert theirs.probs == pytest.approx(ours.probs, abs=1e-2) and sum(theirs.probs) == pytest.approx(1)
            # Together with tactics, in one batch: these keep the logits of the output layer.
            tactics, values = asyncio.run(served.answer(QUERIES, QUERIES, 1))
            assert served.engine.most_under_way >= 2 * len(QUERIES)
            assert [e.probs for e in values] == [pytest.approx(e.probs, abs=1e-2) for e in reference.evaluate(QUERIES)]
            drawn = [s.sampled for mine in tactics for s in mine]
            with torch.no_grad():
                learned = target_logprobs(reference.model, [(s.prompt, s.answer) for s in drawn], "cpu")
            engine = torch.tensor([x for s in drawn for x in s.logprobs])
            torch.testing.assert_close(learned, engine, atol=1e-2, rtol=0)
        served.load_weights(plain, 13)  # weights without a head
        assert not served.has_value
    finally:
        served.format = own
