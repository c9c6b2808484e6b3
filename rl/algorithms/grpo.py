"""Step-level policy gradient with a group-relative baseline (GRPO; Shao et al. 2024, eq. 3 and section 4.1.2).

A group is what was tried in the same place: whole rollouts of one theorem, or the tactics that a search tried on one goal. The
advantage of a member is its reward less the group's mean, divided by the group's standard deviation; a group in which all did
equally well teaches nothing and is dropped. The learner does the rest: PPO's clipped ratio of whole tactics, and KL to a
reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, pstdev
from typing import Any

from prover.search.examples import Example
from rl.learner.from_scratch import PolicyExample


def advantages(rewards: Sequence[float]) -> list[float] | None:
    """(r - mean) / std; None where the group teaches nothing."""
    if len(rewards) < 2:
        return None
    mean, deviation = fmean(rewards), pstdev(rewards)
    if deviation < 1e-6:
        return None
    return [(r - mean) / deviation for r in rewards]


def from_search(examples: Iterable[Example], proved: bool, discount: float = 0.95) -> list[dict[str, Any]]:
    """Ledger rows: for each expanded goal the tactics that Lean was asked about with their rewards.

    discount ** (steps - 1) for one that starts a proof, which counts only where the audit accepted the theorem's; else 0.
    """
    rows = []
    for e in examples:
        rewards = {tactic: 0.0 for tactic, _ in e.errors}
        rewards |= {tactic: 0.0 for tactic, share in e.visits if share > 0}
        if proved:
            rewards |= {tactic: discount ** (steps - 1) for tactic, steps in e.best}
        elif e.solved:
            continue  # the search says solved, the audit did not: no reward either way
        if max(rewards.values(), default=0.0) > 0.0 and min(rewards.values()) < max(rewards.values()):
            rows.append({"state": e.text, "premises": e.premises, "rewards": list(rewards.items())})
    return rows


def search_examples(rows: Iterable[Mapping[str, Any]]) -> list[PolicyExample]:
    """Training examples of goal groups. `old_logprob` is nan: the learner fills in the model's own before it starts."""
    out = []
    for row in rows:
        found = advantages([r for _, r in row["rewards"]])
        for (tactic, _), a in zip(row["rewards"], found or [], strict=False):
            out.append(PolicyExample(row["state"], tactic, tuple(row["premises"]), a, float("nan")))
    return out


def rollout_examples(rows: Iterable[Mapping[str, Any]]) -> list[PolicyExample]:
    """Training examples of whole rollouts: every decision of a rollout has the rollout's advantage.

    A row is a group: `rollouts`, each with `reward` and `decisions` of (state, premises, tactic, logprob). `old_logprob` is nan, as in
    `search_examples`.
    """
    out = []
    for row in rows:
        found = advantages([r["reward"] for r in row["rollouts"]])
        if found is None:
            continue
        for rollout, a in zip(row["rollouts"], found, strict=True):
            n = len(rollout["decisions"])
            for state, premises, tactic, _ in rollout["decisions"]:
                # Not what it was drawn with: the model may have spelled the same text in other tokens than training does.
                out.append(PolicyExample(state, tactic, tuple(premises), a / n, float("nan")))
    return out
