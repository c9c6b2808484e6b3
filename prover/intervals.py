"""Confidence intervals of solve rates."""

from __future__ import annotations

import math


def wilson(solved: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a proportion (Wilson 1927); z = 1.96 for 95 %."""
    if total == 0:
        return 0.0, 1.0
    p = solved / total
    centre = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, centre - half), min(1.0, centre + half)
