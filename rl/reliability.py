"""Quality of predicted probabilities: bins of predicted and observed values, calibration error, and AUC."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10


@dataclass(frozen=True)
class Bin:
    """The predictions of one interval."""

    low: float
    count: int
    predicted: float
    """Mean prediction."""
    observed: float
    """Mean outcome."""


def bins_of(pairs: Iterable[tuple[float, float]]) -> list[Bin]:
    """Non-empty bins of equal width of (predicted, observed), lowest first (reliability diagram: DeGroot & Fienberg 1983)."""
    rows: dict[int, list[tuple[float, float]]] = {}
    for predicted, outcome in pairs:
        rows.setdefault(min(int(predicted * BINS), BINS - 1), []).append((predicted, outcome))
    return [
        Bin(i / BINS, len(r), sum(v for v, _ in r) / len(r), sum(o for _, o in r) / len(r))
        for i, r in sorted(rows.items())
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean gap between predicted and observed, weighted by count (Naeini et al. 2015)."""
    total = sum(b.count for b in bins)
    return sum(b.count * abs(b.predicted - b.observed) for b in bins) / total if total else math.nan


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Probability that a positive scores above a negative; ties count half (Mann & Whitney 1947). Neither list may be empty."""
    ordered = np.sort(negative)
    wins = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(wins.mean() / 2 / len(negative))
