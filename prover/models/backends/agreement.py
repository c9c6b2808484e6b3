"""Differences between two back ends of one model folder, in nats and in probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from prover.models.base import Query
from prover.models.formats import Answer, SlotFormat
from prover.models.transformer import LanguageModelPolicy


def prior_difference(
    reference: LanguageModelPolicy, queries: Sequence[Query], answers: Sequence[Sequence[Answer]]
) -> tuple[float, int]:
    """(largest absolute difference of log-probabilities, number of answers compared) for another back end's samples.

    Each finished answer is scored on its sampled tokens by one forward pass of the transformers model.
    """
    worst, compared = 0.0, 0
    for query, mine in zip(queries, answers, strict=True):
        for a in {a.ids: a for a in mine if a.finished}.values():
            worst = max(worst, abs(reference_logprob(reference, query, a.ids) - a.logprob))
            compared += 1
    return worst, compared


def reference_logprob(policy: LanguageModelPolicy, query: Query, ids: Sequence[int]) -> float:
    """log p(ids, <eos> | prompt) by a forward pass of transformers."""
    p = policy.prompter
    prompt = SlotFormat(p).prompt(query)
    whole = torch.tensor([[*prompt, *ids, p.codec.eos]], device=policy.model.device)
    with torch.inference_mode():
        steps = policy.model(whole).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
    return steps.gather(-1, whole[0, len(prompt) :, None]).sum().item()


def value_difference(reference: LanguageModelPolicy, queries: Sequence[Query], other: Any) -> float:
    """Largest difference in a value bin's probability."""
    pairs = zip(reference.evaluate(queries), other.evaluate(queries), strict=True)
    return max(abs(x - y) for a, b in pairs for x, y in zip(a.probs, b.probs, strict=True))
