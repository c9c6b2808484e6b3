"""Compares measured figures with the limits expected of them."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

_COMPARE = {">=": operator.ge, "<=": operator.le, "<": operator.lt, ">": operator.gt}


def compare(figures: Mapping[str, Any], limits: Mapping[str, tuple[str, float]]) -> dict[str, str]:
    """A verdict for each measured figure that has a limit, e.g. `1.2 <= 1.5: met`."""
    return {
        key: f"{figures[key]} {sign} {limit}: {'met' if _COMPARE[sign](figures[key], limit) else 'NOT MET'}"
        for key, (sign, limit) in limits.items()
        if key in figures
    }
