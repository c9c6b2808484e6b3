"""Solve rates as curves over Lean calls, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from prover.intervals import wilson
from rl.ledger import Attempt


def budgets(limit: int) -> list[int]:
    """1, 2, 4 … limit."""
    found = []
    b = 1
    while b < limit:
        found.append(b)
        b *= 2
    return [*found, limit]


def summarise(attempts: Iterable[Attempt], limit: int, total: int) -> dict[str, Any]:
    """`solved`, `total`, `low`, `high` at `limit` Lean calls, and `curve`, the solved count by number of Lean calls."""
    proved = [a.calls_to_solve or 0 for a in attempts if a.outcome == "proved"]
    curve = {str(b): sum(c <= b for c in proved) for b in budgets(limit)}
    solved = curve[str(limit)]
    low, high = wilson(solved, total)
    return {"solved": solved, "total": total, "low": round(low, 4), "high": round(high, 4), "curve": curve}


def table(rows: Sequence[tuple[str, dict[str, Any]]]) -> list[list[str]]:
    """Rows of text: a header of budgets, then `percent [low, high]` for each searcher."""
    if not rows:
        return []
    names = list(rows[0][1]["curve"])
    out = [["solved of held-out, by Lean calls", *names]]
    for label, s in rows:
        cells = []
        for b in names:
            low, high = wilson(s["curve"][b], s["total"])
            cells.append(f"{100 * s['curve'][b] / max(s['total'], 1):.1f} [{100 * low:.0f}, {100 * high:.0f}]")
        out.append([f"{label} (of {s['total']})", *cells])
    return out
