"""Sampling that stops computing answers that have ended. `generate` of transformers computes every answer of a batch until the longest
one ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

STILL_OPEN = 0.8
"""The cache is reduced to the open answers when at most this share of its rows is open: each reduction copies it."""


def sample(
    model: Any,
    inputs: Mapping[str, Any],
    most: int,
    ended: Callable[[Sequence[int]], bool],
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> tuple[list[list[int]], list[list[float]]]:
    """(token ids, the untempered model's log-probabilities) of an answer to each row of `inputs`, of at most `most` tokens.

    `inputs`: `input_ids` and `attention_mask` [rows, tokens], padded on the left, and `past_key_values` of all tokens but the last, which
    is changed. `ended`: whether an answer ends with its last token.
    """
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

    ids, mask, cache = inputs["input_ids"], inputs["attention_mask"], inputs["past_key_values"]
    change = LogitsProcessorList()
    if temperature != 1.0:
        change.append(TemperatureLogitsWarper(temperature))
    if top_p < 1.0:
        change.append(TopPLogitsWarper(top_p))
    answers: list[list[int]] = [[] for _ in ids]
    logprobs: list[list[float]] = [[] for _ in ids]
    rows = list(range(len(ids)))
    unfinished = set(rows)
    last, at = ids[:, -1:], mask.sum(-1, keepdim=True) - 1
    for _ in range(most):
        out = model(input_ids=last, attention_mask=mask, position_ids=at, past_key_values=cache, use_cache=True)
        logits = out.logits[:, -1].float()
        last = torch.multinomial(change(last, logits.clone()).softmax(-1), 1)
        steps = logits.log_softmax(-1).gather(-1, last)
        for row, token, step in zip(rows, last[:, 0].tolist(), steps[:, 0].tolist(), strict=True):
            if row in unfinished:
                answers[row].append(token)
                logprobs[row].append(step)
                if ended(answers[row]):
                    unfinished.discard(row)
        if not unfinished:
            break
        if len(unfinished) <= STILL_OPEN * len(rows):
            kept = torch.tensor([i for i, row in enumerate(rows) if row in unfinished], device=ids.device)
            cache.batch_select_indices(kept)
            last, mask, at = last[kept], mask[kept], at[kept]
            rows = [row for row in rows if row in unfinished]
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        at = at + 1
    return answers, logprobs
