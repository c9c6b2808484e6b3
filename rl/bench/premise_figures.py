"""Figures of `bench premises`: solve rates, gains from premises, effects of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from prover.solve.ledger import Attempt
from rl.bench.premise_variants import FRESH, PremiseVariant
from rl.metrics.curves import solved_within
from rl.metrics.intervals import bounds, paired_difference, wilson


def curve(attempts: Sequence[Attempt], names: Set[str], budgets: Sequence[int]) -> dict[str, Any]:
    """Proved theorems among `names` by budget, with 95 % Wilson intervals."""
    found = {}
    for b in budgets:
        n = len(solved_within(attempts, b) & names)
        found[str(b)] = {"solved": n, "total": len(names), **bounds(wilson(n, len(names)))}
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
    chosen: Sequence[PremiseVariant], results: Mapping[str, Sequence[Attempt]], names: Set[str], budgets: Sequence[int]
) -> dict[str, Any]:
    """The effect of training on the same theorems: of the retriever alone, and of the whole prover with the same premises.

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
            first, second = (solved_within(results[x.name], budget) & names for x in (v, u))
            a, b = len(first - second), len(second - first)
            rows[str(budget)] = {
                "only_trained": a,
                "only_untrained": b,
                "total": len(names),
                "difference": round((a - b) / max(len(names), 1), 4),
                **bounds(paired_difference(a, b, len(names))),
            }
    return found
