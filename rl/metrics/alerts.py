"""When somebody should look: a policy that collapses, proofs that the audit refuses, a reward that is gamed.

Pure functions over the rounds so far, asked after each round. They speak of the last round only, so that nothing is said
twice for an old reason. None proves anything: each says what it saw and what to look at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import mean, median
from typing import Literal

from rl.metrics.intervals import wilson

_Z99 = 2.576


@dataclass(frozen=True)
class RoundFigures:
    """What one round is judged by."""

    round: int
    solved: int
    """Audited proofs among `attempted`. Compare like with like: measured on held-out or validation theorems where there are
    such figures, because what the curriculum picks gets harder as a run gets better."""
    attempted: int
    rejected: int = 0
    """Proofs of this round that the audit refused …"""
    judged: int = 0
    """… of so many that it judged."""
    entropy: float | None = None
    """As `model/entropy`, nats."""
    rewards: Mapping[str, float] = field(default_factory=dict)
    """Mean of each shaped reward over the round, before its weight; not the reward for the audited proof itself."""


@dataclass(frozen=True)
class Thresholds:
    """When to speak."""

    window: int = 6
    """Rounds that a trend is looked for in; they are what the last round is compared with, and of rewards their halves with each other."""
    entropy_share: float = 0.4
    """Entropy below this share of the median of the rounds before."""
    entropy_floor: float = 0.05
    """Nats; below it a policy says nearly the same whatever happens."""
    rejection_rate: float = 0.05
    """Rejections are worth a word above this rate."""
    reward_rise: float = 0.1
    """A shaped reward rose if its mean over the second half of the window is above the first half's by this share of its
    size, …"""
    reward_trend: float = 0.6
    """… and Kendall's tau of it with the round is at least this."""
    certainty: float = 1.64
    """The verified solve rate did not rise with it if so many standard errors above its growth between the same halves, as a
    share of itself, are still below the reward's. 1.64: nineteen times of twenty."""


@dataclass(frozen=True)
class Alert:
    """Something to look at. `title` is at most 64 characters, as wandb wants."""

    kind: Literal["entropy", "solve_rate", "rejections", "reward_hacking"]
    title: str
    text: str


def alerts(history: Sequence[RoundFigures], thresholds: Thresholds | None = None) -> list[Alert]:
    """What the last round of `history` (oldest first) gives reason to say."""
    t = thresholds or Thresholds()
    if not history:
        return []
    return [*_entropy(history, t), *_solve_rate(history, t), *_rejections(history, t), *_hacking(history, t)]


def _entropy(history: Sequence[RoundFigures], t: Thresholds) -> list[Alert]:
    now = history[-1].entropy
    if now is None:
        return []
    before = [h.entropy for h in history[:-1] if h.entropy is not None][-t.window :]
    usual = median(before) if len(before) >= 2 else None
    if now >= t.entropy_floor and (usual is None or now >= t.entropy_share * usual):
        return []
    was = f"; it was {usual:.2f}" if usual is not None else ""
    text = (
        f"Round {history[-1].round}: the policy's entropy is {now:.2f} nats{was}. It says less and less that is new: lower the "
        "learning rate, hold it to a reference (KL), or give the explorer more weight."
    )
    return [Alert("entropy", "The policy's entropy collapses", text)]


def _solve_rate(history: Sequence[RoundFigures], t: Thresholds) -> list[Alert]:
    """The 99 % intervals of the last round and of the best round before do not overlap: the best of several is high by chance."""
    now = history[-1]
    measured = [h for h in history[:-1] if h.attempted][-t.window :]
    if not now.attempted or not measured:
        return []
    best = max(measured, key=lambda h: wilson(h.solved, h.attempted, _Z99)[0])
    if wilson(now.solved, now.attempted, _Z99)[1] >= wilson(best.solved, best.attempted, _Z99)[0]:
        return []
    text = (
        f"Round {now.round}: {now.solved} of {now.attempted} solved, and {best.solved} of {best.attempted} in round "
        f"{best.round}. More than chance: go back to that checkpoint, or look for what it forgot."
    )
    return [Alert("solve_rate", "The solve rate falls", text)]


def _rejections(history: Sequence[RoundFigures], t: Thresholds) -> list[Alert]:
    """More than `rejection_rate`, and surely more than before."""
    now = history[-1]
    if not now.judged or now.rejected / now.judged <= t.rejection_rate:
        return []
    before = history[:-1][-t.window :]
    rejected, judged = sum(h.rejected for h in before), sum(h.judged for h in before)
    usual = wilson(rejected, judged)[1] if judged else t.rejection_rate
    if wilson(now.rejected, now.judged)[0] <= usual:
        return []
    text = (
        f"Round {now.round}: the audit refused {now.rejected} of {now.judged} proofs, {rejected} of {judged} in the rounds "
        "before. The policy may have found a way to please the search that is no proof: read the reasons in the report."
    )
    return [Alert("rejections", "The audit refuses more proofs", text)]


def _hacking(history: Sequence[RoundFigures], t: Thresholds) -> list[Alert]:
    """A shaped reward rises while verified solves do not."""
    recent = [h for h in history[-t.window :] if h.attempted]
    if len(recent) < t.window:
        return []
    half = len(recent) // 2
    first, second = recent[:half], recent[-half:]
    n, m = sum(h.attempted for h in first), sum(h.attempted for h in second)
    was, now = sum(h.solved for h in first) / n, sum(h.solved for h in second) / m
    error = math.sqrt(was * (1 - was) / n + now * (1 - now) / m)
    # From nothing any solve is a rise.
    growth = (now - was + t.certainty * error) / was if was else (math.inf if now else 0.0)
    found = []
    for name in recent[-1].rewards:
        series = [h.rewards[name] for h in recent if name in h.rewards]
        if len(series) < len(recent):
            continue  # switched on or off within the window: its level says nothing about the policy
        size = mean(abs(x) for x in series)
        rise = mean(series[-half:]) - mean(series[:half])
        if size > 0 and rise >= max(t.reward_rise, growth) * size and kendall(series) >= t.reward_trend:
            text = (
                f"Rounds {recent[0].round} to {recent[-1].round}: the reward {name!r} rose from {mean(series[:half]):.3g} to "
                f"{mean(series[-half:]):.3g} while verified solves went from {100 * was:.1f} % to {100 * now:.1f} %. "
                "It may be earned without proving: lower its weight, or switch it off."
            )
            found.append(Alert("reward_hacking", f"Reward {name[:24]!r} rises, solves do not", text))
    return found


def kendall(series: Sequence[float]) -> float:
    """Kendall's tau-a of a series with time, in [-1, 1]: pairs that rise less pairs that fall (Kendall 1938)."""
    pairs = [(a, b) for a, b in combinations(series, 2)]
    return sum((b > a) - (b < a) for a, b in pairs) / len(pairs) if pairs else 0.0
