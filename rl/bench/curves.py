"""Statistics of a comparison of searches: solve rates by budget with intervals, Lean calls per solved theorem, differences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prover.solve.ledger import Attempt
from rl.metrics.intervals import bounds, wilson


def curves(
    results: Mapping[tuple[str, int], Sequence[Attempt]], budgets: Sequence[int], against: str = "best_first"
) -> dict[str, Any]:
    """Figures of `results`: by (search, seed) the attempts, all at the same theorems.

    Keys `total` (theorems times seeds), `solved`, `calls_per_solved` and `against`; the last three by search name and budget.

    `solved[name][budget]`: the number solved, the rate, and its 95 % Wilson interval. Seeds of one theorem are not independent, so the
    interval counts each theorem as one trial. `against[name][budget]`: difference in rate to the search `against` on the same
    theorems and seeds, with a 95 % bootstrap interval over theorems.
    """
    theorems = sorted({a.theorem.name for attempts in results.values() for a in attempts})
    seeds = sorted({seed for _, seed in results})
    names = list(dict.fromkeys(name for name, _ in results))
    place = {t: i for i, t in enumerate(theorems)}
    counts = len(theorems) * len(seeds)
    out: dict[str, Any] = {
        "total": counts,
        "theorems": len(theorems),
        "seeds": seeds,
        "solved": {},
        "calls_per_solved": {},
        "against": {},
    }
    rates: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    for name in names:
        mine = [a for (search, _), attempts in results.items() if search == name for a in attempts]
        out["solved"][name], out["calls_per_solved"][name] = {}, {}
        for b in budgets:
            solved = np.zeros(len(theorems))
            for a in mine:
                solved[place[a.theorem.name]] += a.calls_to_solve is not None and a.calls_to_solve <= b
            n = int(solved.sum())
            rates[name][b] = solved / max(1, len(seeds))
            out["solved"][name][str(b)] = {
                "solved": n,
                "rate": round(n / max(1, counts), 4),
                **bounds(wilson(n / max(1, len(seeds)), len(theorems))),
            }
            spent = sum(min(b, a.lean_calls if a.calls_to_solve is None else a.calls_to_solve) for a in mine)
            out["calls_per_solved"][name][str(b)] = round(spent / n, 1) if n else None
    if against in rates:
        for name in names:
            out["against"][name] = {
                str(b): difference(rates[name][b] - rates[against][b]) for b in budgets if name != against
            }
    return out


def difference(by_theorem: np.ndarray) -> dict[str, float]:
    """Mean with a 95 % percentile bootstrap interval over theorems (Efron 1979)."""
    rng = np.random.default_rng(0)
    means = rng.choice(by_theorem, (2000, len(by_theorem))).mean(1)
    return {"difference": round(float(by_theorem.mean()), 4), **bounds(np.percentile(means, [2.5, 97.5]))}
