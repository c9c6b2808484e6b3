"""Sequence packing: several sequences in one row, without attention between them and without padding.

Each sequence restarts its position ids, from which transformers derives the block-diagonal mask (and flash attention its sequence
boundaries). The output layer runs at the targets only: the logits of 16,000 tokens over a vocabulary of 152,000 would take 10 GB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Tokens = Sequence[int]
Row = tuple[Tokens, Tokens]
"""Prompt and target of a sequence, as token ids."""


def micro_batches(sizes: Sequence[int], tokens: int) -> list[list[int]]:
    """Indices in parts of at most `tokens` tokens, longest first. A larger item is a part of its own."""
    parts: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        place = next((k for k, free in enumerate(room) if free >= sizes[i]), None)
        if place is None:
            parts.append([])
            room.append(tokens)
            place = len(parts) - 1
        parts[place].append(i)
        room[place] -= sizes[i]
    return parts


def distinct_rows(rows: Sequence[Row]) -> tuple[list[Row], list[int]]:
    """(the rows without repetitions, the index of each row among them)."""
    index: dict[Row, int] = {}
    which = [index.setdefault((tuple(prompt), tuple(target)), len(index)) for prompt, target in rows]
    return list(index), which


def target_logprobs(model: Any, rows: Sequence[Row], device: Any, packed: bool = True) -> Tensor:
    """[N], log-probability of every target token of the rows, in order, in float32. The model must be causal.

    `packed`: False computes a padded batch instead, for models that do not support packing.
    """
    targets = torch.tensor([t for _, target in rows for t in target], device=device)
    logits = (_packed if packed else _padded)(model, rows, device).float()
    return torch.gather(logits, 1, targets[:, None])[:, 0] - logits.logsumexp(-1)


def _packed(model: Any, rows: Sequence[Row], device: Any) -> Tensor:
    ids: list[int] = []
    positions: list[int] = []
    where: list[int] = []
    for prompt, target in rows:
        # The logits at a token predict the next one. An empty prompt would have no token to predict from.
        where += range(len(ids) + len(prompt) - 1, len(ids) + len(prompt) + len(target) - 1)
        ids += [*prompt, *target]
        positions += range(len(prompt) + len(target))

    def row(x: list[int]) -> Tensor:
        return torch.tensor([x], device=device)

    kept = torch.tensor(where, device=device)
    # Without an attention mask: a given one would turn the detection of packed sequences off.
    return model(input_ids=row(ids), position_ids=row(positions), use_cache=False, logits_to_keep=kept).logits[0]


def _padded(model: Any, rows: Sequence[Row], device: Any) -> Tensor:
    size = max(len(p) + len(t) for p, t in rows)
    lengths = torch.tensor([len(p) + len(t) for p, t in rows], device=device)
    # Padding on the right is invisible to a causal model.
    ids = torch.tensor([[*p, *t, *[0] * (size - len(p) - len(t))] for p, t in rows], device=device)
    mask = (torch.arange(size, device=device)[None] < lengths[:, None]).long()
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    where = [(i, len(p) + k - 1) for i, (p, t) in enumerate(rows) for k in range(len(t))]
    return logits[[i for i, _ in where], [k for _, k in where]]


@torch.no_grad()
def supports_packing(model: Any, device: Any, vocabulary: int, tolerance: float = 1e-3) -> bool:
    """Whether a sequence has the same log-probabilities in a packed row as alone. Runs the model on a few tokens.

    `tolerance`: largest difference in nats; about 0.05 for bfloat16.
    """
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary, (3, 9), generator=generator).tolist()
    rows: list[Row] = [(x[:4], x[4:]) for x in ids]
    try:
        together = target_logprobs(model, rows, device)
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False
    alone = target_logprobs(model, rows, device, packed=False)
    return bool((together - alone).abs().max() <= tolerance)
