"""A baseline value without learning: longer goals take more steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from prover.models.base import Query, ValueEstimate

BINS = 16
BASE, SCALE, TYPICAL = 2.0, 1.0, 40.0


class SizeValue:
    """Steps-to-go from the length of the targets: the sum over goals of `BASE + SCALE * log2(characters / TYPICAL)`.

    Hypotheses do not count, because they help as often as they hinder.
    """

    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        return [self._one(q) for q in queries]

    def _one(self, query: Query) -> ValueEstimate:
        steps = sum(max(1.0, BASE + SCALE * math.log2(max(1, len(g.target)) / TYPICAL)) for g in query.state.goals)
        # Two adjacent bins, so that the expectation is exact.
        low = min(BINS - 2, int(steps))
        part = min(1.0, steps - low)
        probs = [0.0] * BINS
        probs[low - 1] = 1.0 - part
        probs[low] = part
        return ValueEstimate(tuple(probs))
