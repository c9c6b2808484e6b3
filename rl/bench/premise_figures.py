"""Figures of `bench premises`: solve rates, gains from premises, effects of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prover.solve.ledger import Attempt
from rl.bench.premise_searches import FRESH, PremiseVariant
from rl.metrics.curves import paired, solved_within
from rl.metrics.intervals import bounds, paired_difference, wilson


def curve(attempts: Sequence[Attempt], budgets: Sequence[int]) -> dict[str, Any]:
    """Proved theorems by budget, with 95 % Wilson intervals."""
    total, found = len(attempts), {}
    for b in budgets:
        n = len(solved_within(attempts, b))
        found[str(b)] = {"solved": n, "total": total, **bounds(wilson(n, total))}
    return found


def gains(curves: dict[str, Any]) -> dict[str, Any]:
    """The gain of the trained prover from premises at each budget. Empty without a model.

    `true_names` and `fresh_names`: differences of the shares solved. `lost`: the part of the gain lost under fresh names (None
    without a gain). `times`: ratio of the numbers solved with and without premises, under true names.
    """
    with_premises = [
        v for v in curves if v.startswith("trained, ") and v + FRESH in curves and v != "trained, no premises"
    ]
    pairs = [(v + end, f"trained, no premises{end}") for v in with_premises for end in ("", FRESH)]
    if len(pairs) != 2 or not all(v in curves for pair in pairs for v in pair):
        return {}
    found: dict[str, Any] = {}
    for budget in curves[pairs[0][0]]:
        true, fresh = (
            (curves[v][budget]["solved"] - curves[none][budget]["solved"]) / curves[v][budget]["total"]
            for v, none in pairs
        )
        found[budget] = {
            "true_names": round(true, 4),
            "fresh_names": round(fresh, 4),
            "lost": round(1 - fresh / true, 4) if true > 0 else None,
            "times": round(curves[pairs[0][0]][budget]["solved"] / without, 2)
            if (without := curves[pairs[0][1]][budget]["solved"])
            else None,
        }
    return found


def compared(
    chosen: Sequence[PremiseVariant], results: Mapping[str, Sequence[Attempt]], budgets: Sequence[int]
) -> dict[str, Any]:
    """The effect of training: of the retriever alone, and of the whole prover with the same premises. `results`: by variant the attempts, all at the
    same theorems.

    `TRAINED against UNTRAINED` → budget → the numbers of theorems that only one of them solves, and the difference of the shares solved
    with its 95 % interval.
    """
    pairs = [
        (v, u)
        for v in chosen
        for u in chosen
        if v.questions == u.questions
        and v.retriever == u.retriever
        and (
            (v.trained, v.model, u.trained, u.model, v.fresh)
            in ((True, False, False, False, False), (u.trained, True, u.trained, False, False))
        )
    ]
    found: dict[str, Any] = {}
    for v, u in pairs:
        rows = found[f"{v.name} against {u.name}"] = {}
        for budget in budgets:
            a, b, _ = paired(results[v.name], results[u.name], budget)
            total = len(results[v.name])
            rows[str(budget)] = {
                "only_trained": a,
                "only_untrained": b,
                "total": total,
                "difference": round((a - b) / max(total, 1), 4),
                **bounds(paired_difference(a, b, total)),
            }
    return found
