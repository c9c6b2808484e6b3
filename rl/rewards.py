"""Rewards: small pure functions of how an attempt ended, in a registry, with weights that are schedules over rounds.

Only the audited verdict may dominate: at every round the weight of `proved` exceeds the sum of all others, so no attempt without
an audited proof can be worth as much as any attempt with one. Each reward is reported apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from prover.errors import UserError


@dataclass(frozen=True)
class Ended:
    """How an attempt ended: all that a reward may look at."""

    proved: bool
    """The audit accepted a proof."""
    size: int | None = None
    """Tactics in the proof."""
    best_size: int | None = None
    """Tactics in the shortest audited proof known before, None if there was none."""
    calls: int = 0
    """Lean calls until the proof, or all of them."""
    budget: int = 1
    """Lean calls that were allowed."""
    closed: float = 0.0
    """Share of the goals worked on that were closed, in [0, 1]. The search's word, not audited."""


Reward = Callable[[Ended], float]
REWARDS: dict[str, Reward] = {}
"""By name. Each gives a number in [0, 1]."""


def reward(f: Reward) -> Reward:
    """Register a reward under its function's name."""
    REWARDS[f.__name__] = f
    return f


@reward
def proved(e: Ended) -> float:
    """1 for an audited proof."""
    return float(e.proved)


@reward
def shorter(e: Ended) -> float:
    """For an audited proof shorter than the best known: the share of tactics saved."""
    if not e.proved or e.size is None or e.best_size is None:
        return 0.0
    return max(0.0, 1 - e.size / e.best_size)


@reward
def new(e: Ended) -> float:
    """1 for the first audited proof of a theorem."""
    return float(e.proved and e.best_size is None)


@reward
def frugal(e: Ended) -> float:
    """For an audited proof: the share of the allowed Lean calls that were left."""
    return max(0.0, 1 - e.calls / e.budget) if e.proved else 0.0


@reward
def progress(e: Ended) -> float:
    """Share of goals closed, proof or not. The only reward that needs no audited proof: watch it."""
    return min(1.0, max(0.0, e.closed))


@dataclass(frozen=True)
class RewardsConfig:
    """Weights by round: the first number is for round 1, the second for round 2 …, the last stays. `[0, 0, 0.2]` switches a
    reward on in round 3."""

    proved: tuple[float, ...] = (1.0,)
    shorter: tuple[float, ...] = (0.0,)
    new: tuple[float, ...] = (0.0,)
    frugal: tuple[float, ...] = (0.0,)
    progress: tuple[float, ...] = (0.0,)


def weights(config: RewardsConfig, round: int) -> dict[str, float]:
    """The weight of each reward in a round (from 1)."""
    out = {}
    for f in fields(config):
        schedule = getattr(config, f.name)
        out[f.name] = float(schedule[min(round, len(schedule)) - 1])
    return out


def check(config: RewardsConfig, rounds: int) -> None:
    """Raise UserError for weights that are empty, negative, or let something else outweigh the audited proof."""
    for f in fields(config):
        schedule = getattr(config, f.name)
        if not schedule or any(isinstance(w, bool) or not isinstance(w, (int, float)) or w < 0 for w in schedule):
            raise UserError(f"rewards.{f.name}: give a list of numbers, 0 or more, one a round, e.g. [0, 0, 0.2]")
    for r in range(1, max(rounds, *(len(getattr(config, f.name)) for f in fields(config))) + 1):
        w = weights(config, r)
        rest = sum(v for k, v in w.items() if k != "proved")
        if w["proved"] <= rest:
            raise UserError(
                f"rewards: in round {r} proved weighs {w['proved']:g} and the others together {rest:g}; only the audited "
                "proof may dominate: give it more than their sum"
            )


def score(ended: Ended, weights: Mapping[str, float]) -> dict[str, float]:
    """Each reward times its weight."""
    return {name: w * REWARDS[name](ended) for name, w in weights.items() if w}
