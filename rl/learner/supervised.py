"""Supervised learning of tactics and values: weighted cross-entropy, or PPO's clipped ratio of whole tactics for examples that have the
log-probability under the policy that sampled them (Schulman et al. 2017, eq. 7)."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from prover.models.formats import SlotFormat
from rl.examples import Example, PolicyExample, ValueExample
from rl.learner.learner import Learner
from rl.learner.packing import Row as Tokens
from rl.learner.packing import of_targets
from rl.learner.rows import Row, by_length, fingerprint, group, renamed, shuffled


def train(
    learner: Learner,
    examples: Sequence[Example],
    *,
    steps: int | None = None,
    epochs: float | None = None,
    seconds: float | None = None,
    part: tuple[float, float] = (0.0, 1.0),
    reference: Any = None,
) -> dict[str, float]:
    """Train until the first limit is reached. `reference`: the reference model for `config.kl`. The other parameters are those of
    Learner.fit.

    A call with the same examples as the last call continues its epoch, so stopping and resuming changes nothing. For a model with value
    tokens, value examples are rows like tactics. For other models, every update trains the head on a share of them.

    Returns the metrics of Learner.fit with policy_loss and value_loss (nats per target), accuracy and value_accuracy (of targets, by
    argmax), kl, clipped (share of ratios), examples, and skipped (too long). Raises ValueError if no example is usable.
    """
    c, form = learner.config, learner.format
    slots = form.prompter if isinstance(form, SlotFormat) else None
    values = [] if slots else [e for e in examples if isinstance(e, ValueExample)]
    given = [e for e in examples if slots or isinstance(e, PolicyExample)]

    def encode(example: Example, types: tuple[str, ...] = ()) -> Tokens:
        prompt, target = learner.encode(example, types)
        room = c.max_length - len(target)
        # Arrays, because all examples of a round stay in memory.
        return array("i", prompt[-max(room, 0) :]), array("i", target if room > 0 else ())

    longest = slots.config.max_prompt + 4 * slots.config.max_target if slots and c.batch_tokens else 0
    rows, skipped = group(encode, given, longest)
    if not rows:
        limit = f"max_target={slots.config.max_target}" if slots else f"max_length={c.max_length}"
        raise ValueError(f"no usable examples: all {len(given)} are longer than {limit}")

    def plan(rng: random.Random) -> list[list[Row]]:
        if c.batch_tokens:
            return by_length(rows, c.batch_tokens * learner.accelerator.num_processes, rng)
        return shuffled(rows, c.batch_size, rng)

    def names(batch: list[Row], rng: random.Random) -> list[Row]:
        if slots is None or not (c.rename or c.fresh_names):
            return batch
        return [renamed(slots, encode, row, rng, c.rename, c.fresh_names) for row in batch]

    total = sum(_mass(row, c.value_weight) for row in rows)
    held = c.kl * total / sum(len(target) for row in rows for _, target in row.answers)

    def loss(part: Sequence[Row], mass: float) -> tuple[Tensor, Tensor]:
        found, kl, measured = _loss(learner, part, reference if c.kl else None)
        return (found + held * kl) / mass, measured

    limits: Any = {"steps": steps, "epochs": epochs, "seconds": seconds, "part": part}
    metrics, sums = learner.fit(plan, loss, total, values, prepare=names, fingerprint=fingerprint(examples), **limits)
    return {**_metrics(sums), **metrics, "examples": float(len(examples)), "skipped": float(skipped)}


def _mass(row: Row, value_weight: float) -> float:
    return sum(
        abs(e.weight) * (value_weight if isinstance(e, ValueExample) else len(target))
        for e, (_, target) in zip(row.examples, row.answers, strict=True)
    )


def _loss(learner: Learner, part: Sequence[Row], reference: Any) -> tuple[Tensor, Tensor, Tensor]:
    """(sum of the loss, sum of the KL over targets, sums for _metrics) of some rows."""
    answers = [tokens for row in part for tokens in row.answers]
    examples = [e for row in part for e in row.examples]
    logits, _ = learner.outputs(answers)
    nats = -of_targets(logits, answers)
    device = nats.device
    owner = torch.repeat_interleave(torch.tensor([len(t) for _, t in answers], device=device))
    of_value = torch.tensor([isinstance(e, ValueExample) for e in examples], device=device)
    weight = torch.tensor([e.weight for e in examples], device=device)
    old = torch.tensor(
        [math.nan if isinstance(e, ValueExample) or e.old_logprob is None else e.old_logprob for e in examples],
        device=device,
    )
    answer = torch.zeros_like(weight).index_add(0, owner, nats)  # -log p of each answer
    graded = ~old.isnan()
    ratio = torch.exp(torch.where(graded, -answer - old, 0.0).clamp(-20, 20))
    bounded = ratio.clamp(1 - learner.config.ratio_clip, 1 + learner.config.ratio_clip)
    surrogate = -torch.minimum(ratio * weight, bounded * weight)
    scale = torch.where(of_value, learner.config.value_weight, 1.0)
    loss = (torch.where(graded, surrogate, weight * answer) * scale).sum()
    kl = torch.zeros((), device=device)
    if reference is not None:
        with torch.no_grad():
            expected = learner.outputs(answers, reference)[0].log_softmax(-1)
        own = logits.log_softmax(-1)
        kl = (own.exp() * (own - expected)).sum()
    with torch.no_grad():
        value = of_value[owner]
        right = (logits.argmax(-1) == torch.tensor([t for _, target in answers for t in target], device=device)).float()
        measured = [x[kind].sum() for kind in (~value, value) for x in (nats, right, torch.ones_like(nats))]
        measured += [kl, (graded & (ratio != bounded)).sum(), graded.sum()]
        return loss, kl, torch.stack([x.detach().float() for x in measured])


def _metrics(sums: Sequence[float]) -> dict[str, float]:
    policy, right, targets, value, right_values, values, kl, clipped, graded = sums
    found = {"kl": kl / (targets + values), "clipped": clipped / max(graded, 1.0)}
    if targets:
        found |= {"policy_loss": policy / targets, "accuracy": right / targets}
    if values:
        found |= {"value_loss": value / values, "value_accuracy": right_values / values}
    return found
