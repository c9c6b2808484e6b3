"""Rewards: a registry of pure functions of an attempt's outcome, with weights scheduled over rounds.

Only the audited verdict may dominate: in every round the weight of `proved` exceeds the sum of all others, so an attempt without
an audited proof never scores as high as one with. Each reward is reported separately.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prover import plugins
from prover.errors import UserError


@dataclass(frozen=True)
class AttemptResult:
    """Outcome of an attempt: everything a reward may use."""

    proved: bool
    """Whether the audit accepted a proof."""
    size: int | None = None
    """Tactics in the proof."""
    best_size: int | None = None
    """Tactics in the shortest audited proof known before; None if there was none."""
    calls: int = 0
    """Lean calls until the proof, or of the whole attempt."""
    budget: int = 1
    """Lean calls allowed."""
    closed: float = 0.0
    """Share of the visited goals that were closed, in [0, 1]. Reported by the search and not audited."""


Reward = Callable[[AttemptResult], float]
REWARDS: dict[str, Reward] = {}
"""Rewards by name. Each returns a number in [0, 1]."""


def reward(f: Reward) -> Reward:
    """Register a reward under its function's name."""
    REWARDS[f.__name__] = f
    return f


@reward
def proved(e: AttemptResult) -> float:
    """1 for an audited proof."""
    return float(e.proved)


@reward
def shorter(e: AttemptResult) -> float:
    """For an audited proof shorter than the best known: the share of tactics saved."""
    if not e.proved or e.size is None or e.best_size is None:
        return 0.0
    return max(0.0, 1 - e.size / e.best_size)


@reward
def new(e: AttemptResult) -> float:
    """1 for the first audited proof of a theorem."""
    return float(e.proved and e.best_size is None)


@reward
def frugal(e: AttemptResult) -> float:
    """For an audited proof: the share of the allowed Lean calls not used."""
    return max(0.0, 1 - e.calls / e.budget) if e.proved else 0.0


@reward
def progress(e: AttemptResult) -> float:
    """Share of goals closed, with or without a proof. The only reward that does not require an audited proof, so watch it."""
    return min(1.0, max(0.0, e.closed))


Schedules = Mapping[str, tuple[float, ...]]
"""Weights of rewards by round: the first number is for round 1, the second for round 2, and the last for all later rounds. `[0, 0, 0.2]`
switches a reward on in round 3. A reward that is not named has weight 0, and `proved` 1."""

PROVED: Schedules = {"proved": (1.0,)}


def reward_named(name: str) -> Reward:
    """The reward of that name, in `REWARDS` or an entry point of `turnstile.rewards`. Raises UserError."""
    return plugins.chosen("turnstile.rewards", REWARDS, name)


def weights(config: Schedules, round: int) -> dict[str, float]:
    """The weight of each reward in a round (from 1)."""
    return {name: float(schedule[min(round, len(schedule)) - 1]) for name, schedule in {**PROVED, **config}.items()}


def check(config: Schedules, rounds: int) -> None:
    """Raise UserError for unknown rewards, and schedules that are empty, negative, or let others outweigh the audited proof."""
    for name, schedule in config.items():
        reward_named(name)
        if not schedule or min(schedule) < 0:
            raise UserError(f"rewards.{name} must be a list of numbers of at least 0, one per round, e.g. [0, 0, 0.2]")
    for r in range(1, max([rounds, *map(len, config.values())]) + 1):
        w = weights(config, r)
        rest = sum(v for k, v in w.items() if k != "proved")
        if w["proved"] <= rest:
            raise UserError(
                f"rewards: in round {r} the weight of `proved` is {w['proved']:g} and the sum of the others {rest:g}; only the "
                "audited proof may dominate: raise `proved` above that sum"
            )


def score(result: AttemptResult, weights: Mapping[str, float]) -> dict[str, float]:
    """Rewards, bounded to [0, 1], times their weights. Leaves out those of weight 0."""
    return {name: w * min(1.0, max(0.0, reward_named(name)(result))) for name, w in weights.items() if w}
