"""From what an attempt found to the examples that the ledger keeps, by kind.

`policy` and `value` (expert iteration), `tried` (tactic ranking), `td` (TD(λ) targets), `group` (the tactics of a goal with rewards) and `rollouts` (a
theorem's rollouts with rewards): only those that the run's algorithms read; and `premises`, which helped and which did not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curricula.library import assert_for_training
from prover.search import SearchConfig
from rl.algorithms import expert_iteration, grpo, td_lambda
from rl.algorithms.premise_selection import harvest_premises
from rl.algorithms.tactic_ranking import harvest_tried
from rl.attempt import Found
from rl.config import LearnConfig
from rl.rewards import Ended, score

Row = tuple[str, dict[str, Any]]


def rows(found: Found, proved: bool, reward: float, config: LearnConfig, used: Sequence[str] = ()) -> list[Row]:
    """Ledger rows of a search. `proved`: the audit accepted it; `reward`: the attempt's, in units of a plain proof; `used`: library
    theorems in the audited proof's term. Raises HeldOutLeak for a theorem that is not for training."""
    assert_for_training(found.theorem.name)
    discount = SearchConfig().discount
    out = [
        (kind, {**data, "reward": round(reward, 4)} if kind == "policy" else data)
        for kind, data in expert_iteration.harvest(found.examples, proved)
    ]
    if config.value == "td_lambda":
        for e, g in zip(found.examples, td_lambda.targets(found.examples, config.lambda_, discount), strict=True):
            if g is not None and (proved or not e.solved):
                out.append(
                    ("td", {"state": e.text, "constants": e.constants, "premises": e.premises, "td": round(g, 4)})
                )
    out += harvest_tried(found.examples, proved)
    out += harvest_premises(found.examples, proved, found.theorem.imports, used)
    if config.algorithm == "grpo":
        out += [("group", row) for row in grpo.from_search(found.examples, proved, discount)]
    return out


def rollout_rows(
    found: Found, audited: Mapping[str, str], weights: Mapping[str, float], budget: int, best_size: int | None
) -> tuple[list[Row], dict[str, float]]:
    """Ledger rows of a theorem's rollouts, and the mean of each reward. `audited`: the audit's verdict on each script.

    Successful rollouts are policy examples too, so that expert iteration can learn without search. Raises HeldOutLeak for a
    theorem that is not for training.
    """
    assert_for_training(found.theorem.name)
    out: list[Row] = []
    group: list[dict[str, Any]] = []
    sums: dict[str, float] = {}
    unjudged = 0
    for r in found.rollouts:
        verdict = audited.get(r["script"]) if r["script"] is not None else None
        proved = verdict == "proved"
        if r["script"] is not None and not proved:
            unjudged += verdict != "rejected"
            continue  # claimed, and refused by the audit or not judged: no example, good or bad
        size = len(r["decisions"])
        parts = score(Ended(proved, size, best_size, size, budget, r["closed"]), weights)
        for name, x in parts.items():
            sums[name] = sums.get(name, 0.0) + x
        total = sum(parts.values())
        group.append({"reward": round(total, 4), "decisions": r["decisions"]})
        if proved:
            reward = round(total / weights["proved"], 4)
            out += [
                ("policy", {"state": s, "premises": p, "tactics": [(t, 1.0)], "depth": i, "reward": reward})
                for i, (s, p, t, _) in enumerate(r["decisions"])
            ]
    out.append(("rollouts", {"rollouts": group}))
    # A refused one counts as worth nothing, one that nobody could judge not at all.
    return out, {name: x / max(1, len(found.rollouts) - unjudged) for name, x in sums.items()}
