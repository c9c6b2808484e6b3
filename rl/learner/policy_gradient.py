"""Policy-gradient training of a pretrained model on trajectories. The loss is in rl/algorithms/policy_gradient.py."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rl.algorithms.gradient_settings import PolicyGradient
from rl.algorithms.grpo import advantages
from rl.algorithms.policy_gradient import SUMS, Tokens, batch_advantages, loss, means, token_weights
from rl.examples import ValueExample
from rl.learner.dropout import without_dropout
from rl.learner.learner import Learner
from rl.learner.packing import Batching, Row, count_tokens
from rl.learner.rows import shuffled
from rl.trajectory import Trajectory


@dataclass
class _Item:
    """A trajectory with the quantities that stay fixed during the updates."""

    group: int
    """Negative for a proof of an earlier round."""
    rows: list[Row]
    advantage: Tensor
    """[tokens]: the trajectory's advantage, and after `batch_advantages` with the terms of the batch."""
    sampled: Tensor
    """[tokens], log-probabilities under the engine that sampled."""
    old: Tensor | None = None
    """[tokens], under the model before the update."""
    reference: Tensor | None = None
    """[tokens], under the reference."""
    weight: Tensor | None = None
    """Scalar: weight of each token of the trajectory in the batch of the current update."""


@dataclass
class _Unit:
    """Trajectories of one group that are computed together because they share prompts. For example, all begin at the same goal."""

    items: list[_Item]
    batching: Batching

    @property
    def rows(self) -> list[Row]:
        return [row for x in self.items for row in x.rows]

    @property
    def size(self) -> int:
        """Tokens of a pass (count_tokens)."""
        return count_tokens(self.rows, self.batching)


def train(
    learner: Learner,
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

    `values`: every update also learns from a share of them. `batch`: approximate number of trajectories per update; a pass is split
    evenly. `reference`: the model of the KL penalty.

    Returns the metrics of Learner.fit, those in `METRICS`, and counts: trajectories (with a signal), replayed, groups, dropped_groups (of
    equal rewards), overlong, skipped (too long for `max_length`); and importance_max (before truncation). If no trajectory has a signal,
    nothing is trained and `steps` is 0.
    """
    start, began = time.monotonic(), learner.clock()
    without_dropout(learner.model)
    items, counts = _items(learner, trajectories, settings)
    fresh = len(items)
    items += _replayed(learner, trajectories, settings, fresh)
    metrics = {**counts, "steps": 0.0, "loss": 0.0, "trajectories": float(fresh), "replayed": float(len(items) - fresh)}
    if not items:
        return {**metrics, "seconds": time.monotonic() - start}
    for item, logprobs in zip(items, learner.measure([x.rows for x in items]), strict=True):
        item.old = logprobs
        if item.group < 0:  # replayed: imitation needs no correction for the policy that sampled it
            item.sampled = logprobs
    gap = torch.cat([x.old - x.sampled for x in items[:fresh] if x.old is not None])
    metrics["importance_max"] = gap.max().clamp(-20, 20).exp().item()
    if reference is not None and settings.kl_weight:
        for item, logprobs in zip(items, learner.measure([x.rows for x in items], reference), strict=True):
            item.reference = logprobs
    signal = batch_advantages(_tokens(items[:fresh]), settings).split([len(x.sampled) for x in items[:fresh]])
    for item, a in zip(items[:fresh], signal, strict=True):
        item.advantage = a
    groups = _units(items, learner.micro_tokens, learner.batching)

    def plan(rng: random.Random) -> list[list[_Unit]]:
        parts = shuffled(groups, batch * len(groups) / len(items), rng)
        return [[unit for group in part for unit in group] for part in parts]

    def weighed(chosen: list[_Unit], _: random.Random) -> list[_Unit]:
        batched = [x for unit in chosen for x in unit.items]
        lengths = torch.tensor([len(x.sampled) for x in batched], device=learner.accelerator.device)
        for x, weight in zip(batched, token_weights(lengths, settings), strict=True):
            x.weight = weight
        return chosen

    def part_loss(part: Sequence[_Unit], _: float) -> tuple[Tensor, Tensor]:
        together = [x for unit in part for x in unit.items]
        logprobs = learner.logprobs([row for x in together for row in x.rows])
        each = torch.stack([x.weight for x in together if x.weight is not None])
        found, measured = loss(logprobs, _tokens(together).to(logprobs.device), each, settings)
        return found, torch.tensor([measured[name] for name in SUMS], dtype=torch.float64)

    found, sums = learner.fit(
        plan,
        part_loss,
        float(sum(len(x.sampled) for x in items)),
        values,
        prepare=weighed,
        most_values=batch,
        epochs=epochs,
        seconds=None if seconds is None else max(1e-9, seconds - (learner.clock() - began)),
        final_rate=1.0,
    )
    return {**metrics, **means(dict(zip(SUMS, sums, strict=True))), **found, "seconds": time.monotonic() - start}


def _items(
    learner: Learner, trajectories: Sequence[Trajectory], settings: PolicyGradient
) -> tuple[list[_Item], dict[str, float]]:
    """The trajectories that have a signal, and counts of the others."""
    groups: dict[int, list[Trajectory]] = {}
    for t in trajectories:
        if not t.replayed:
            groups.setdefault(t.group, []).append(t)
    members = list(groups.values())
    found: list[_Item] = []
    counts = dict.fromkeys(("dropped_groups", "overlong", "skipped"), 0.0) | {"groups": float(len(members))}
    for group in members:
        signal = advantages([t.reward for t in group], settings.advantage)
        if signal is None:
            counts["dropped_groups"] += 1
            continue
        for t, a in zip(group, signal, strict=True):
            if t.overlong and settings.mask_overlong:
                counts["overlong"] += 1
            elif (item := _item(learner, t, a)) is None:
                counts["skipped"] += 1
            else:
                found.append(item)
    return found, counts


def _replayed(learner: Learner, trajectories: Sequence[Trajectory], settings: PolicyGradient, most: int) -> list[_Item]:
    """At most `most` proofs of earlier rounds, each in a group of its own with a negative number."""
    earlier = [t for t in trajectories if t.replayed]
    chosen = random.Random(f"{learner.config.seed}/{learner.step}").sample(earlier, min(most, len(earlier)))
    items = [_item(learner, replace(t, group=-1 - i), settings.imitation) for i, t in enumerate(chosen)]
    return [x for x in items if x is not None]


def _item(learner: Learner, trajectory: Trajectory, advantage: float) -> _Item | None:
    """A trajectory with this advantage; None if one of its calls is too long."""
    t = trajectory
    if any(not c.prompt or len(c.prompt) + len(c.answer) > learner.config.max_length for c in t.calls):
        return None
    calls = [c for c in t.calls if c.answer]
    sampled = torch.tensor([x for c in calls for x in c.logprobs])
    return _Item(t.group, [(c.prompt, c.answer) for c in calls], torch.full_like(sampled, advantage), sampled)


def _units(items: Sequence[_Item], tokens: int, batching: Batching) -> list[list[_Unit]]:
    """The items of each group, in units of at most `tokens` tokens."""
    groups: dict[int, list[_Unit]] = {}
    for item in items:
        units = groups.setdefault(item.group, [_Unit([], batching)])
        if units[-1].items and count_tokens([*units[-1].rows, *item.rows], batching) > tokens:
            units.append(_Unit([], batching))
        units[-1].items.append(item)
    return list(groups.values())


def _tokens(items: Sequence[_Item]) -> Tokens:
    owner = torch.repeat_interleave(torch.tensor([len(x.sampled) for x in items]))
    references = [x.reference for x in items if x.reference is not None]
    return Tokens(
        owner,
        torch.cat([x.advantage for x in items]),
        torch.cat([x.old for x in items if x.old is not None]),
        torch.cat([x.sampled for x in items]),
        torch.cat(references) if references else None,
        torch.tensor([x.group < 0 for x in items])[owner],
    )
