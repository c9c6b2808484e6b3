"""Step-level policy gradient with a group-relative baseline (GRPO; Shao et al. 2024, eq. 3 and section 4.1.2).

A group consists of the rollouts of one theorem, or of the tactics that a search tried on one goal. A member's advantage is its
reward minus the group's mean, divided by the group's standard deviation. Groups of equal rewards are dropped. The learner
applies PPO's clipped ratio to whole tactics, and the KL to a reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, pstdev
from typing import Any

from prover.search.examples import Example
from rl.examples import PolicyExample

LEAST_DEVIATION = 1e-6
"""A group of rewards with a lower standard deviation has no signal."""


def advantages(rewards: Sequence[float], kind: str = "normalised") -> list[float] | None:
    """The advantages of a group's rewards, as `gradient.advantage` describes; None for a group of one, or of equal rewards. With `batch` they
    are the rewards themselves."""
    n = len(rewards)
    if kind == "batch":
        return list(rewards) or None
    if n < 2 or (deviation := pstdev(rewards)) < LEAST_DEVIATION:
        return None
    mean = fmean(rewards)
    if kind == "leave_one_out":
        return [(r - mean) * n / (n - 1) for r in rewards]
    return [(r - mean) / (deviation if kind == "normalised" else 1.0) for r in rewards]


def from_search(examples: Iterable[Example], proved: bool, discount: float = 0.95) -> list[dict[str, Any]]:
    """Ledger rows: the tactics tried on each expanded goal, with their rewards.

    The reward is discount ** (steps - 1) for a tactic that starts a proof if the audit accepted the theorem's proof, else 0.
    """
    rows = []
    for e in examples:
        rewards = dict.fromkeys(e.failures, 0.0)
        rewards |= {tactic: 0.0 for tactic, share in e.visits if share > 0 and tactic not in e.unjudged}
        if proved:
            rewards |= {tactic: discount ** (steps - 1) for tactic, steps in e.best}
        elif e.solved:
            continue  # solved in the search but not audited: neither a success nor a failure
        if max(rewards.values(), default=0.0) > 0.0 and min(rewards.values()) < max(rewards.values()):
            rows.append({"state": e.text, "premises": e.premises, "rewards": list(rewards.items())})
    return rows


def search_examples(rows: Iterable[Mapping[str, Any]]) -> list[PolicyExample]:
    """Training examples of goal groups, weighted by advantage. `old_logprob` is nan; the learner replaces it by the current model's."""
    out = []
    for row in rows:
        found = advantages([r for _, r in row["rewards"]])
        for (tactic, _), a in zip(row["rewards"], found or [], strict=False):
            out.append(PolicyExample(row["state"], tactic, tuple(row["premises"]), a, float("nan")))
    return out


def rollout_examples(rows: Iterable[Mapping[str, Any]]) -> list[PolicyExample]:
    """Training examples of whole rollouts: every decision gets the rollout's advantage divided by the number of decisions.

    A row is a group: `rollouts`, each with `reward` and `decisions` of (state, premises, tactic, logprob). `old_logprob` is nan, as in
    `search_examples`.
    """
    out = []
    for row in rows:
        found = advantages([r["reward"] for r in row["rollouts"]])
        if found is None:
            continue
        for rollout, a in zip(row["rollouts"], found, strict=True):
            decisions = rollout.get("decisions", ())
            n = len(decisions)
            for state, premises, tactic, _ in decisions:
                # The recorded log-probability is not used: sampling may have tokenised the same text differently.
                out.append(PolicyExample(state, tactic, tuple(premises), a / n, float("nan")))
    return out
