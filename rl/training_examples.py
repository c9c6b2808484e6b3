"""Training examples of an attempt, by kind, as rows of the ledger.

The kinds are `policy` and `value` (expert iteration), `tried` (tactic ranking), `assessed` (outcomes of tactics, costs of goals), `premises`
(premise selection), `td` (TD(λ) targets), `infill` (goals with a goal further down), `group` (the tactics of a goal with rewards) and
`rollouts` (a theorem's rollouts with rewards). Only the kinds that the run's algorithms read are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curricula.library import assert_for_training
from prover.lean.theorem import Theorem
from prover.search import SearchConfig
from prover.solve.job import Trace
from rl.algorithms import expert_iteration, grpo, td_lambda
from rl.algorithms.assessing import collect_assessed
from rl.algorithms.infilling import collect_infill
from rl.algorithms.premise_selection import collect_premises
from rl.algorithms.tactic_ranking import collect_tried
from rl.config import LearnConfig
from rl.rewards import AttemptResult, score

Row = tuple[str, dict[str, Any]]


def rows(
    theorem: Theorem, trace: Trace, proved: bool, reward: float, config: LearnConfig, used: Sequence[str] = ()
) -> list[Row]:
    """Ledger rows of a search. Raises HeldOutLeak for a theorem outside the training split.

    `proved`: whether the audit accepted the proof. `reward`: the attempt's reward, where a plain proof counts 1. `used`: library
    theorems in the audited proof's term.
    """
    assert_for_training(theorem.name)
    discount = SearchConfig().discount
    trusted = expert_iteration.trusts_solved(trace.examples, proved)
    out: list[Row] = []
    found = [*expert_iteration.collect_examples(trace.examples, proved), *collect_tried(trace.examples, proved)]
    for kind, data in found:
        if kind == "value":  # no share, because the value learns how often goals are proved
            out.append((kind, data))
        elif proved:
            out.append((kind, {**data, "reward": round(reward, 4)} if kind == "policy" else data))
        elif config.subgoals:
            out.append((kind, {**data, "share": config.subgoals}))
    if config.value == "td_lambda":
        for e, g in zip(trace.examples, td_lambda.targets(trace.examples, config.lambda_, discount), strict=True):
            if g is not None and (trusted or not e.solved):
                out.append(
                    ("td", {"state": e.text, "constants": e.constants, "premises": e.premises, "td": round(g, 4)})
                )
    if config.infill and proved:
        out += collect_infill(trace.examples)
    out += collect_premises(trace.examples, proved, theorem, used)
    if config.assessor_seconds:
        out += collect_assessed(trace.examples, proved, theorem)
    if config.algorithm == "grpo":
        out += [("group", row) for row in grpo.from_search(trace.examples, proved, discount)]
    return out


def rollout_rows(
    theorem: Theorem,
    trace: Trace,
    audited: Mapping[str, str],
    weights: Mapping[str, float],
    budget: int,
    best_size: int | None,
) -> tuple[list[Row], dict[str, float]]:
    """Ledger rows of a theorem's rollouts, and the mean of each reward. `audited`: the audit's verdict by script. `budget`: Lean calls that each
    of them is allowed.

    Successful rollouts also become policy examples, so that expert iteration can learn without search, and states become value
    examples. Raises HeldOutLeak for a theorem outside the training split.
    """
    assert_for_training(theorem.name)
    out: list[Row] = []
    group: list[dict[str, Any]] = []
    sums: dict[str, float] = {}
    unjudged = 0
    usable: list[Mapping[str, Any]] = []
    for r in trace.rollouts:
        verdict = audited.get(r["script"]) if r["script"] is not None else None
        proved = verdict == "proved"
        if r["script"] is not None and not proved:
            unjudged += verdict != "rejected"
            continue  # a proof that the audit rejected or could not judge is neither a good nor a bad example
        if r["ended"] == "crash":  # nor is an attempt that Lean could not judge
            unjudged += 1
            continue
        usable.append(r)
        size = size_of(r)
        parts = score(AttemptResult(proved, size, best_size, lean_calls_of(r), budget, r["closed"]), weights)
        for name, x in parts.items():
            sums[name] = sums.get(name, 0.0) + x
        total = sum(parts.values())
        row: dict[str, Any] = {"reward": round(total, 4), "ended": r["ended"], "version": trace.model_version}
        row |= {"whole": True} if "size" in r else {}
        # Recorded tokens make the decisions redundant.
        group.append({**row, **({"calls": r["calls"]} if r.get("calls") else {"decisions": r["decisions"]})})
        if proved:
            reward = round(total / weights["proved"], 4)
            out += [
                ("policy", {"state": s, "premises": p, "tactics": [(t, 1.0)], "depth": i, "reward": reward})
                for i, (s, p, t, _) in enumerate(r["decisions"])
            ]
    out += [("rollouts", {"rollouts": group}), *expert_iteration.rollout_values(usable)]
    # Rejected rollouts count as reward 0; those that could not be judged do not count.
    return out, {name: x / max(1, len(trace.rollouts) - unjudged) for name, x in sums.items()}


def size_of(rollout: Mapping[str, Any]) -> int:
    """Tactics of a rollout: its decisions, or those of a whole proof."""
    return rollout["size"] if "size" in rollout else len(rollout["decisions"])


def lean_calls_of(rollout: Mapping[str, Any]) -> int:
    """Lean calls of a rollout: one for each tactic, or one for each whole proof of a conversation."""
    return len(rollout["calls"]) if "size" in rollout else len(rollout["decisions"])


def has_signal(rows: Sequence[Row]) -> bool:
    """Whether the rollouts in a theorem's rows have unequal rewards."""
    rewards = {r["reward"] for kind, data in rows if kind == "rollouts" for r in data["rollouts"]}
    return len(rewards) > 1
