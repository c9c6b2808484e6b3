"""Alerts: entropy collapse, falling solve rate, rejected proofs, reward hacking, and verdicts that differ from the assessor's estimates.

Pure functions of the rounds so far, called after each round. They report on the last round only, so that no alert repeats. An
alert may be false: its text gives the observation and what to check.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import mean, median
from typing import Literal

from rl.metrics.intervals import wilson

WINDOW = 6
"""Rounds that the last round is compared with. Rewards are compared between the two halves of the window."""
ENTROPY_SHARE = 0.4
"""Alert if entropy is below this share of the median of earlier rounds."""
ENTROPY_FLOOR = 0.05
"""Alert if entropy is below this, in nats: the policy is nearly deterministic."""
REJECTION_RATE = 0.05
"""Minimum rejection rate of an alert."""
REWARD_RISE = 0.1
"""Minimum rise of a shaped reward: the difference of its means over the halves, as a share of its size."""
REWARD_TREND = 0.6
"""Minimum Kendall's tau between a rising reward and the round."""
CERTAINTY = 1.64
"""Standard errors added to the relative growth of the solve rate before it is compared with the reward's. 1.64: 95 %, one-sided."""
DRIFT = 0.15
"""Minimum difference for an alert between the last gap of estimates and verdicts and the median gap of earlier rounds."""
_Z99 = 2.576


@dataclass(frozen=True)
class RoundFigures:
    """The figures of a round that alerts use."""

    round: int
    solved: int
    """Audited proofs among `attempted`. On held-out or validation theorems if available, because the curriculum's theorems get harder as a
    run improves."""
    attempted: int
    rejected: int = 0
    """Proofs that the audit rejected."""
    judged: int = 0
    """Proofs that the audit judged."""
    entropy: float | None = None
    """As `model/entropy`, in nats."""
    rewards: Mapping[str, float] = field(default_factory=dict)
    """Mean of each shaped reward before its weight, without the reward for the audited proof."""
    expected: float | None = None
    """Mean probability of a proof that the assessor gave the training attempts beforehand; None without an assessor."""
    proved: int = 0
    """Audited proofs among these attempts."""
    assessed: int = 0
    """Number of these attempts."""


@dataclass(frozen=True)
class Alert:
    """An alert. `title` has at most 64 characters, wandb's limit."""

    kind: Literal["entropy", "solve_rate", "rejections", "reward_hacking", "drift"]
    title: str
    text: str


def alerts(history: Sequence[RoundFigures]) -> list[Alert]:
    """Alerts about the last round of `history` (oldest first)."""
    if not history:
        return []
    return [*_entropy(history), *_solve_rate(history), *_rejections(history), *_hacking(history), *_drift(history)]


def _entropy(history: Sequence[RoundFigures]) -> list[Alert]:
    now = history[-1].entropy
    if now is None:
        return []
    before = [h.entropy for h in history[:-1] if h.entropy is not None][-WINDOW:]
    usual = median(before) if len(before) >= 2 else None
    if now >= ENTROPY_FLOOR and (usual is None or now >= ENTROPY_SHARE * usual):
        return []
    was = f", down from {usual:.2f}" if usual is not None else ""
    text = (
        f"Round {history[-1].round}: the policy's entropy is {now:.2f} nats{was}. Its tactics become less diverse: lower the "
        "learning rate, add a KL penalty (learn.kl), or raise the explorer's weight."
    )
    return [Alert("entropy", "The policy's entropy collapses", text)]


def _solve_rate(history: Sequence[RoundFigures]) -> list[Alert]:
    """Alert if the intervals of the last round and of the best earlier round do not overlap. They are 99 % intervals, because a maximum is
    biased upwards."""
    now = history[-1]
    measured = [h for h in history[:-1] if h.attempted][-WINDOW:]
    if not now.attempted or not measured:
        return []
    best = max(measured, key=lambda h: wilson(h.solved, h.attempted, _Z99)[0])
    if wilson(now.solved, now.attempted, _Z99)[1] >= wilson(best.solved, best.attempted, _Z99)[0]:
        return []
    text = (
        f"Round {now.round}: {now.solved} of {now.attempted} solved, and {best.solved} of {best.attempted} in round "
        f"{best.round}. This is more than chance: return to that checkpoint, or check which theorems are no longer solved."
    )
    return [Alert("solve_rate", "The solve rate falls", text)]


def _rejections(history: Sequence[RoundFigures]) -> list[Alert]:
    """Alert if the rejection rate exceeds REJECTION_RATE and is significantly above that of earlier rounds."""
    now = history[-1]
    if not now.judged or now.rejected / now.judged <= REJECTION_RATE:
        return []
    before = history[:-1][-WINDOW:]
    rejected, judged = sum(h.rejected for h in before), sum(h.judged for h in before)
    usual = wilson(rejected, judged)[1] if judged else REJECTION_RATE
    if wilson(now.rejected, now.judged)[0] <= usual:
        return []
    text = (
        f"Round {now.round}: the audit rejected {now.rejected} of {now.judged} proofs, and {rejected} of {judged} in earlier "
        "rounds. The policy may exploit a gap between search and audit: read the reasons in the report."
    )
    return [Alert("rejections", "The audit rejects more proofs", text)]


def _hacking(history: Sequence[RoundFigures]) -> list[Alert]:
    """Alert if a shaped reward rises while verified solves do not."""
    recent = [h for h in history[-WINDOW:] if h.attempted]
    if len(recent) < WINDOW:
        return []
    half = len(recent) // 2
    first, second = recent[:half], recent[-half:]
    n, m = sum(h.attempted for h in first), sum(h.attempted for h in second)
    was, now = sum(h.solved for h in first) / n, sum(h.solved for h in second) / m
    error = math.sqrt(was * (1 - was) / n + now * (1 - now) / m)

    growth = (now - was + CERTAINTY * error) / was if was else (math.inf if now else 0.0)
    found = []
    for name in recent[-1].rewards:
        series = [h.rewards[name] for h in recent if name in h.rewards]
        if len(series) < len(recent):
            continue  # switched on or off within the window
        size = mean(abs(x) for x in series)
        rise = mean(series[-half:]) - mean(series[:half])
        if size > 0 and rise >= max(REWARD_RISE, growth) * size and kendall(series) >= REWARD_TREND:
            text = (
                f"Rounds {recent[0].round} to {recent[-1].round}: the reward {name!r} rose from {mean(series[:half]):.3g} to "
                f"{mean(series[-half:]):.3g} while verified solves went from {100 * was:.1f} % to {100 * now:.1f} %. "
                "It may be earned without proving: lower its weight or switch it off."
            )
            found.append(Alert("reward_hacking", f"Reward {name[:24]!r} rises, solves do not", text))
    return found


def _drift(history: Sequence[RoundFigures]) -> list[Alert]:
    """Alert if the gap between the assessor's estimates and the audit's verdicts differs from the median gap of earlier rounds by more than
    DRIFT, and by more than chance. More proofs than estimated may exploit the audit, but a prover that learns fast has them too, so they
    count only from the third round with estimates on."""
    now = history[-1]
    if now.expected is None or not now.assessed:
        return []
    gaps = [h.expected - h.proved / h.assessed for h in history[:-1] if h.expected is not None and h.assessed][-WINDOW:]
    usual = median(gaps) if len(gaps) >= 2 else 0.0
    low, high = wilson(now.proved, now.assessed, _Z99)
    share = now.proved / now.assessed
    more = now.expected - usual > max(high, share + DRIFT)
    less = len(gaps) >= 2 and now.expected - usual < min(low, share - DRIFT)
    if not more and not less:
        return []
    what = (
        "Searches may close goals whose proofs the audit does not accept, or the theorems became harder"
        if more
        else "Theorems are proved that similar searches did not prove before: read the newest proofs in the report"
    )
    text = (
        f"Round {now.round}: the assessor expected {100 * now.expected:.0f} % of {now.assessed} attempts to be proved, and the audit accepted "
        f"{100 * share:.0f} %; the usual difference is {100 * usual:.0f} points. {what}."
    )
    return [Alert("drift", "Estimates and verdicts drift apart", text)]


def kendall(series: Sequence[float]) -> float:
    """Kendall's tau-a of a series with time, in [-1, 1]: (rising pairs - falling pairs) / pairs (Kendall 1938)."""
    pairs = [(a, b) for a, b in combinations(series, 2)]
    return sum((b > a) - (b < a) for a, b in pairs) / len(pairs) if pairs else 0.0
