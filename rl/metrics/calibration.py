"""Whether the value can be believed: what it said of goals against how far from proved they turned out to be.

A prediction is a pair (value, steps): the value that the search used, discount ** expected steps; the tactics in the shortest
proof that the search then found, None for a goal that stayed open after much search (rl/attempt.py). The model's last bin is
`that many steps or never`, so the least it can say is discount ** N_BINS, and that is what an open goal is held against. Two limits, so
that nobody reads more into it: the shortest proof found is an upper bound of the shortest, and goals that the search left
alone (because the value said so, perhaps) have no outcome and are not here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prover.models.tokenizer import N_BINS
from prover.search import SearchConfig
from prover.solve.ledger import Attempt

Prediction = tuple[float, int | None]

DISCOUNT = SearchConfig().discount
BINS = 10
STEPS_SHOWN = 6
"""Error is given by steps-to-go up to this many; more count as this many."""


@dataclass(frozen=True)
class Bin:
    """The predictions of one interval of values."""

    low: float
    high: float
    count: int
    predicted: float
    """Mean value predicted."""
    observed: float
    """Mean of discount ** steps, of N_BINS steps for goals that stayed open."""


@dataclass(frozen=True)
class StepsError:
    """The error of goals that were `steps` tactics from proved; all in tactics."""

    steps: int
    count: int
    bias: float
    """Mean of predicted less true: positive where the value is too pessimistic."""
    absolute: float


def predictions(attempts: Iterable[Attempt]) -> list[Prediction]:
    """Those that the attempts' statistics kept; none where the audit refused the proof or could not judge it, which labels nothing."""
    return [(v, s) for a in attempts if a.outcome not in ("rejected", "error") for v, s in a.stats.get("values", ())]


def reliability(found: Sequence[Prediction], discount: float = DISCOUNT, bins: int = BINS) -> list[Bin]:
    """Bins of equal width that are not empty, lowest first (reliability diagram: DeGroot & Fienberg 1983)."""
    rows: dict[int, list[tuple[float, float]]] = {}
    for value, steps in found:
        outcome = discount ** min(steps if steps is not None else N_BINS, N_BINS)
        rows.setdefault(min(int(value * bins), bins - 1), []).append((value, outcome))
    return [
        Bin(i / bins, (i + 1) / bins, len(r), sum(v for v, _ in r) / len(r), sum(o for _, o in r) / len(r))
        for i, r in sorted(rows.items())
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean gap between predicted and observed, weighted by count (Naeini et al. 2015)."""
    total = sum(b.count for b in bins)
    return sum(b.count * abs(b.predicted - b.observed) for b in bins) / total if total else math.nan


def error_by_steps(found: Sequence[Prediction], discount: float = DISCOUNT) -> list[StepsError]:
    """For goals that were proved, by the tactics of the proof, fewest first."""
    rows: dict[int, list[float]] = {}
    for value, steps in found:
        if steps is not None:
            predicted = math.log(max(value, 1e-6)) / math.log(discount)
            rows.setdefault(min(steps, STEPS_SHOWN), []).append(predicted - min(steps, N_BINS))
    return [StepsError(k, len(r), sum(r) / len(r), sum(abs(e) for e in r) / len(r)) for k, r in sorted(rows.items())]


def metrics(found: Sequence[Prediction], discount: float = DISCOUNT) -> dict[str, float]:
    """As docs/metrics.md lists under `value/`. Empty without predictions."""
    if not found:
        return {}
    bins = reliability(found, discount)
    out = {"value/predictions": float(len(found)), "value/calibration_error": calibration_error(bins)}
    for e in error_by_steps(found, discount):
        out[f"value/bias/{e.steps}"] = e.bias
        out[f"value/error/{e.steps}"] = e.absolute
    # A value that says the same of everything can be calibrated and useless: what it tells apart is measured too.
    solved = [v for v, s in found if s is not None]
    open_ = [v for v, s in found if s is None]
    if solved and open_:
        out["value/auc"] = auc(solved, open_)
    return out


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Probability that a positive scores above a negative, ties counting half (Mann & Whitney 1947)."""
    rows = sorted([(x, 1) for x in positive] + [(x, 0) for x in negative])
    below, wins, i = 0, 0.0, 0
    while i < len(rows):
        j = i
        while j < len(rows) and rows[j][0] == rows[i][0]:
            j += 1
        ups = sum(label for _, label in rows[i:j])
        downs = j - i - ups
        wins += ups * (below + downs / 2)
        below += downs
        i = j
    return wins / (len(positive) * len(negative))
