"""Benchmarks of the parts of Turnstile. Each is a function that returns figures; rl/commands/bench.py makes commands of them."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Annotated, Any

from tyro.conf import arg

from prover.errors import UserError

Quick = Annotated[bool, arg(help="a small, fast version.")]


def call_budgets(text: str, quick: bool) -> list[int]:
    """Budgets in Lean calls, sorted; with `quick` those up to 64, or the smallest. Raises UserError for invalid text."""
    try:
        calls = sorted({int(b) for b in text.split(",")})
    except ValueError:
        calls = []
    if not calls or calls[0] < 1:
        raise UserError(f"--budgets {text}: must be numbers of Lean calls, e.g. 16,64,256")
    return [b for b in calls if b <= 64] or calls[:1] if quick else calls


_COMPARE = {">=": operator.ge, "<=": operator.le, "<": operator.lt, ">": operator.gt}


def compare(figures: Mapping[str, Any], limits: Mapping[str, tuple[str, float]]) -> dict[str, str]:
    """A verdict for each measured figure that has a limit, e.g. `1.2 <= 1.5: met`."""
    return {
        key: f"{figures[key]} {sign} {limit}: {'met' if _COMPARE[sign](figures[key], limit) else 'NOT MET'}"
        for key, (sign, limit) in limits.items()
        if key in figures
    }
