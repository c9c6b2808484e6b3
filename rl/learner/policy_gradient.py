"""Policy-gradient training of a pretrained model on trajectories. The loss is in rl/algorithms/policy_gradient.py."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rl.algorithms.gradient_settings import PolicyGradient
from rl.algorithms.policy_gradient import METRICS, Tokens, advantages, batch_advantages, loss, token_weights
from rl.examples import ValueExample
from rl.learner.finetune import Tuner
from rl.learner.packing import Row
from rl.learner.value import ValueBatches
from rl.trajectory import Trajectory

WARMUP = 10
"""Updates with a rising learning rate, once per learner."""


@dataclass
class _Item:
    """A trajectory with what stays fixed during the updates."""

    group: int
    rows: list[Row]
    advantage: Tensor
    """[tokens]; first the trajectory's advantage, then with the terms of the batch."""
    sampled: Tensor
    """[tokens]."""
    old: Tensor | None = None
    reference: Tensor | None = None

    @property
    def size(self) -> int:
        """Tokens with prompts."""
        return _tokens_of(self.rows)


@dataclass
class _Unit:
    """Trajectories of one group that are computed together, since they share calls: all begin at the same goal, for example."""

    items: list[_Item]
    rows: set[Row]
    """Without repetitions."""

    @property
    def size(self) -> int:
        return _tokens_of(self.rows)


def _tokens_of(rows: Iterable[Row]) -> int:
    return sum(len(p) + len(a) for p, a in rows)


def train(
    tuner: Tuner,
    trajectories: Sequence[Trajectory],
    settings: PolicyGradient,
    values: Sequence[ValueExample] = (),
    *,
    batch: int = 64,
    epochs: float = 1.0,
    seconds: float | None = None,
    reference: Any = None,
) -> dict[str, float]:
    """Train on groups of trajectories for `epochs` or `seconds`, whichever ends first. All processes must call it alike.

    `values`: every update also learns from a share of them. `batch`: trajectories per update, at least: those of a group
    stay together. `reference`: the model of the KL penalty.
    Returns metrics: loss, steps, epochs, trajectories (with a signal), groups, dropped_groups (of equal rewards), overlong, skipped (too long for
    `max_length`), importance_max (before truncation), grad_norm, tokens_per_second, seconds, those of the value (ValueBatches.metrics), and
    those in METRICS. Without a trajectory that has a signal, it trains nothing and `steps` is 0.
    """
    began = time.monotonic()
    items, counts = _items(tuner, trajectories, settings)
    metrics = {**counts, "steps": 0.0, "loss": 0.0, "trajectories": float(len(items))}
    if not items:
        return {**metrics, "seconds": time.monotonic() - began}
    for item, logprobs in zip(items, tuner.measure([x.rows for x in items]), strict=True):
        item.old = logprobs
    gap = torch.cat([x.old - x.sampled for x in items if x.old is not None])
    metrics["importance_max"] = gap.max().clamp(-20, 20).exp().item()
    if reference is not None and settings.kl_weight:
        for item, logprobs in zip(items, tuner.measure([x.rows for x in items], reference), strict=True):
            item.reference = logprobs
    for item, a in zip(items, _split(batch_advantages(_tokens(items), settings), items), strict=True):
        item.advantage = a
    updates = max(1, round(epochs * len(items) / batch))
    rng = random.Random(tuner.config.seed * 7919 + tuner.step)
    units = _units(items, tuner.micro_tokens)
    order: list[_Unit] = []
    sums: dict[str, float] = {}
    losses: list[float] = []
    tokens = seen = 0
    valued = ValueBatches(tuner, values, batch / len(items), batch)
    tuner.model.train()
    for done in range(updates):
        if seconds is not None and done and _spent(tuner, began) >= seconds:
            break
        chosen: list[_Unit] = []
        while sum(len(unit.items) for unit in chosen) < min(batch, len(items)):
            if not order:
                order = _shuffled(units, rng)
            chosen.append(order.pop())
        batched = [x for unit in chosen for x in unit.items]
        lengths = torch.tensor([len(x.sampled) for x in batched], device=tuner.accelerator.device)
        weights = dict(zip(map(id, batched), token_weights(lengths, settings), strict=True))

        def part_loss(part: Sequence[_Unit], weights: dict[int, Tensor] = weights) -> Tensor:
            together = [x for unit in part for x in unit.items]
            logprobs = tuner.logprobs([row for x in together for row in x.rows])
            each = torch.stack([weights[id(x)] for x in together])
            found, measured = loss(logprobs, _tokens(together).to(logprobs.device), each, settings)
            for name, x in measured.items():
                sums[name] = sums.get(name, 0.0) + x
            return found

        tuner.set_rate(tuner.config.learning_rate * min(1.0, (tuner.step + 1) / WARMUP))
        losses.append(tuner.update(chosen, lambda unit: unit.size, part_loss, valued, float(lengths.sum())))
        sums["grad_norm"] = sums.get("grad_norm", 0.0) + tuner.grad_norm
        tokens += sum(x.size for x in batched)
        seen += len(batched)
    spent = time.monotonic() - began
    means = {name: sums[name] / max(1.0, sums["tokens"]) for name in METRICS}
    return {
        **metrics,
        **means,
        **valued.metrics(),
        "loss": sum(losses) / len(losses),
        "epochs": seen / len(items),
        "steps": float(len(losses)),
        "grad_norm": sums["grad_norm"] / len(losses),
        "tokens_per_second": tokens / spent,
        "seconds": spent,
    }


def _items(
    tuner: Tuner, trajectories: Sequence[Trajectory], settings: PolicyGradient
) -> tuple[list[_Item], dict[str, float]]:
    """The trajectories that have a signal, and counts of the others."""
    groups: dict[int, list[Trajectory]] = {}
    for t in trajectories:
        groups.setdefault(t.group, []).append(t)
    members = list(groups.values())
    found: list[_Item] = []
    counts = dict.fromkeys(("dropped_groups", "overlong", "skipped"), 0.0) | {"groups": float(len(members))}
    for group, signal in zip(members, advantages([[t.reward for t in g] for g in members], settings), strict=True):
        if signal is None:
            counts["dropped_groups"] += 1
            continue
        for t, a in zip(group, signal, strict=True):
            if t.overlong and settings.mask_overlong:
                counts["overlong"] += 1
            elif any(not c.prompt or len(c.prompt) + len(c.answer) > tuner.config.max_length for c in t.calls):
                counts["skipped"] += 1
            else:
                calls = [c for c in t.calls if c.answer]
                sampled = torch.tensor([x for c in calls for x in c.logprobs])
                found.append(
                    _Item(t.group, [(c.prompt, c.answer) for c in calls], torch.full_like(sampled, a), sampled)
                )
    return found, counts


def _units(items: Sequence[_Item], tokens: int) -> list[_Unit]:
    """The items by groups, of which each is split into units of at most so many distinct tokens."""
    units: list[_Unit] = []
    for item in sorted(items, key=lambda x: x.group):
        last = units[-1] if units and units[-1].items[0].group == item.group else None
        if last is not None and _tokens_of(last.rows.union(item.rows)) <= tokens:
            last.items.append(item)
            last.rows.update(item.rows)
        else:
            units.append(_Unit([item], set(item.rows)))
    return units


def _shuffled(units: Sequence[_Unit], rng: random.Random) -> list[_Unit]:
    """In random order of the groups."""
    by_group: dict[int, list[_Unit]] = {}
    for unit in units:
        by_group.setdefault(unit.items[0].group, []).append(unit)
    return [unit for group in rng.sample(list(by_group.values()), len(by_group)) for unit in group]


def _tokens(items: Sequence[_Item]) -> Tokens:
    owner = torch.repeat_interleave(torch.tensor([len(x.sampled) for x in items]))
    references = [x.reference for x in items if x.reference is not None]
    return Tokens(
        owner,
        torch.cat([x.advantage for x in items]),
        torch.cat([x.old for x in items if x.old is not None]),
        torch.cat([x.sampled for x in items]),
        torch.cat(references) if references else None,
    )


def _split(flat: Tensor, items: Sequence[_Item]) -> Sequence[Tensor]:
    return flat.split([len(x.sampled) for x in items])


def _spent(tuner: Tuner, began: float) -> float:
    """Seconds since `began`, the same in all processes."""
    acc = tuner.accelerator
    mean: Any = acc.reduce(torch.tensor(time.monotonic() - began, device=acc.device), "mean")
    return float(mean)
