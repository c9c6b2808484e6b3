"""Calibration of the value: predicted against observed steps-to-go of goals.

A prediction is a pair (value, steps): the value used by the search, discount ** expected steps, and the tactics in the shortest
proof that the search then found, None for a goal that stayed open after much search (rl/search_stats.py). Such a goal is worth 0, like
the model's bin `not provable`. Limits: the shortest proof found is only an upper bound, and goals that the search did not expand,
perhaps because of their value, have no outcome and are missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prover.models.tokenizer import N_BINS
from prover.search import SearchConfig
from prover.solve.ledger import Attempt
from rl.reliability import Bin, auc, bins_of, calibration_error

Prediction = tuple[float, int | None]

DISCOUNT = SearchConfig().discount
STEPS_SHOWN = 6
"""Errors are grouped by steps-to-go up to this; more steps count as this many."""


@dataclass(frozen=True)
class StepsError:
    """The error, in tactics, for goals whose proof had `steps` tactics."""

    steps: int
    count: int
    bias: float
    """Mean of predicted minus true; positive if the value is too pessimistic."""
    absolute: float


def predictions(attempts: Iterable[Attempt]) -> list[Prediction]:
    """The predictions in the attempts' statistics. Leaves out attempts whose proof was rejected or not judged: they have no labels."""
    return [(v, s) for a in attempts if a.outcome not in ("rejected", "error") for v, s in a.stats.get("values", ())]


def reliability(found: Sequence[Prediction]) -> list[Bin]:
    """The bins of predicted values, with the observed value of each."""
    return bins_of([(v, DISCOUNT ** min(steps, N_BINS - 1) if steps is not None else 0.0) for v, steps in found])


def error_by_steps(found: Sequence[Prediction]) -> list[StepsError]:
    """Errors on proved goals, by the number of tactics in the proof, fewest first."""
    rows: dict[int, list[float]] = {}
    for value, steps in found:
        if steps is not None:
            predicted = math.log(max(value, 1e-6)) / math.log(DISCOUNT)
            rows.setdefault(min(steps, STEPS_SHOWN), []).append(predicted - min(steps, N_BINS - 1))
    return [StepsError(k, len(r), sum(r) / len(r), sum(abs(e) for e in r) / len(r)) for k, r in sorted(rows.items())]


def metrics(found: Sequence[Prediction]) -> dict[str, float]:
    """The metrics `value/…` of docs/metrics.md. Empty without predictions."""
    if not found:
        return {}
    bins = reliability(found)
    out = {"value/predictions": float(len(found)), "value/calibration_error": calibration_error(bins)}
    for e in error_by_steps(found):
        out[f"value/bias/{e.steps}"] = e.bias
        out[f"value/error/{e.steps}"] = e.absolute
    # A constant value can be calibrated and useless, so discrimination is measured too.
    solved = [v for v, s in found if s is not None]
    open_ = [v for v, s in found if s is None]
    if solved and open_:
        out["value/auc"] = auc(solved, open_)
    return out
