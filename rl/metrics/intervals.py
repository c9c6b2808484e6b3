"""Confidence intervals of solve rates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def wilson(solved: float, total: float, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a proportion (Wilson 1927); z = 1.96 for 95 %."""
    if total == 0:
        return 0.0, 1.0
    p = solved / total
    centre = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, centre - half), min(1.0, centre + half)


def wilson_over_seeds(solved: Sequence[int], seeds: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of a solve rate measured with several seeds on the same theorems. `solved[i]`: seeds that solved theorem i.

    Attempts at one theorem are not independent, so this is Wilson's interval with the effective number of attempts (design effect;
    Kish 1965) given by the variance between theorems, clamped between the numbers of theorems and of attempts. It covers other
    theorems like these, not only other seeds. With one seed it equals `wilson`.
    """
    return wilson_of_rates([s / seeds for s in solved], seeds, z) if seeds >= 1 else (0.0, 1.0)


def wilson_of_rates(rates: Sequence[float], samples: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of `wilson_over_seeds` from the rate of each theorem, as estimated from `samples` independent samples."""
    n = len(rates)
    if n == 0:
        return 0.0, 1.0
    p = sum(rates) / n
    between = sum((r - p) ** 2 for r in rates) / n
    effective = n * p * (1 - p) / between if between > 0 else (n if p in (0.0, 1.0) else n * samples)
    effective = min(max(effective, n), n * max(1, samples))
    return wilson(p * effective, effective, z)


def paired_difference(first_only: int, second_only: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of the difference of two solve rates on the same `total` theorems, from the theorems that only the first and only
    the second solves (Agresti & Min 2005: Wald's interval with half a theorem added to each cell)."""
    if total == 0:
        return -1.0, 1.0
    b, c, n = first_only + 0.5, second_only + 0.5, total + 2
    centre = (b - c) / n
    half = z * math.sqrt(b + c - (b - c) ** 2 / n) / n
    return max(-1.0, centre - half), min(1.0, centre + half)


def bounds(interval: Iterable[float]) -> dict[str, float]:
    """An interval as `low` and `high`, rounded."""
    low, high = (round(float(x), 4) for x in interval)
    return {"low": low, "high": high}


def percent(rate: float, low: float, high: float) -> str:
    """A rate and its interval in percent: `41.2 [38, 44]`."""
    return f"{100 * rate:.1f} [{100 * low:.0f}, {100 * high:.0f}]"
