"""Preference training of a pretrained model on pairs of tactics. The loss is in rl/algorithms/dpo.py."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rl.algorithms.dpo import loss
from rl.algorithms.dpo_settings import DPOConfig
from rl.examples import PolicyExample, PreferencePair, ValueExample
from rl.learner.dropout import without_dropout
from rl.learner.learner import Learner
from rl.learner.packing import Row, count_tokens
from rl.learner.rows import shuffled


@dataclass(frozen=True)
class _Item:
    """A pair as rows: the tactic that worked, then the one that failed."""

    rows: tuple[Row, Row]
    weight: float
    reference: tuple[float, float]
    """Log-probabilities of both tactics under the reference."""
    size: int
    """Number of tokens of a pass (count_tokens)."""


def train(
    learner: Learner,
    pairs: Sequence[PreferencePair],
    settings: DPOConfig,
    values: Sequence[ValueExample] = (),
    *,
    reference: Any,
    epochs: float = 1.0,
    seconds: float | None = None,
) -> dict[str, float]:
    """Train on pairs for `epochs` or `seconds`, whichever ends first. All processes must call it alike.

    `values`: every update also learns from a share of them, each worth as much as a pair times `value_weight`. `reference`: a frozen
    model. Returns the metrics of Learner.fit with `pairs`, `skipped` (too long for `max_length`), `preferred` (share of pairs in which
    the tactic that worked has the higher implicit reward) and `margin` (mean difference of these rewards), both during training.
    Raises ValueError if all pairs are too long.
    """
    without_dropout(learner.model)
    longest = learner.config.max_length
    rows: list[tuple[Row, Row]] = []
    weights: list[float] = []
    for pair in pairs:
        worked, failed = (
            learner.encode(PolicyExample(pair.state, t, pair.premises)) for t in (pair.worked, pair.failed)
        )
        if all(p and t and len(p) + len(t) <= longest for p, t in (worked, failed)):
            rows.append((worked, failed))
            weights.append(pair.weight)
    if not rows:
        raise ValueError(f"no usable pairs: all {len(pairs)} are longer than max_length={longest}")
    known = learner.measure(rows, reference)
    items: list[_Item] = []
    for both, weight, logprobs in zip(rows, weights, known, strict=True):
        of_worked, of_failed = (x.sum().item() for x in logprobs.split([len(t) for _, t in both]))
        items.append(_Item(both, weight, (of_worked, of_failed), count_tokens(both, learner.batching)))

    def part_loss(part: Sequence[_Item], mass: float) -> tuple[Tensor, Tensor]:
        each = [row for x in part for row in x.rows]
        logprobs = learner.logprobs(each).split([len(t) for _, t in each])
        gained = torch.stack([x.sum() for x in logprobs]).view(-1, 2)
        gained = gained - torch.tensor([x.reference for x in part], device=gained.device)
        nats, margin = loss(gained[:, 0], gained[:, 1], settings.beta)
        measured = torch.stack(
            [(margin > 0).sum(), margin.detach().sum(), torch.tensor(len(part), device=margin.device)]
        )
        return (nats * torch.tensor([x.weight for x in part], device=nats.device)).sum() / mass, measured

    def plan(rng: random.Random) -> list[list[_Item]]:
        return shuffled(items, learner.config.batch_size, rng)

    metrics, (preferred, margin, count) = learner.fit(
        plan, part_loss, float(len(items)), values, epochs=epochs, seconds=seconds
    )
    return {
        **metrics,
        "pairs": float(len(items)),
        "skipped": float(len(pairs) - len(items)),
        "preferred": preferred / count,
        "margin": margin / count,
    }
