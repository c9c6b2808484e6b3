"""Curves of solve rates over Lean calls, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import comb
from typing import Any

from prover.solve.ledger import Attempt
from rl.metrics.compute import pass_at_k
from rl.metrics.intervals import bounds, percent, wilson, wilson_of_rates, wilson_over_seeds


def budgets(limit: int) -> list[int]:
    """The powers of two below `limit`, then `limit`."""
    found = []
    b = 1
    while b < limit:
        found.append(b)
        b *= 2
    return [*found, limit]


def summarise(attempts: Iterable[Attempt], limit: int, total: int) -> dict[str, Any]:
    """`solved`, `total`, `low`, `high` at `limit` Lean calls, and `curve`: solved theorems by number of Lean calls."""
    proved = [a.calls_to_solve or 0 for a in attempts if a.outcome == "proved"]
    curve = {str(b): sum(c <= b for c in proved) for b in budgets(limit)}
    solved = curve[str(limit)]
    return {"solved": solved, "total": total, **bounds(wilson(solved, total)), "curve": curve}


def sampled(by_seed: Sequence[Sequence[Attempt]], rollouts: int) -> dict[str, dict[str, float]]:
    """pass@k of attempts that sampled `rollouts` proofs each: k -> `rate`, `low`, `high`. Seeds count as further samples of the same
    theorems. The interval is over theorems."""
    correct: dict[str, int] = {}
    for a in (a for attempts in by_seed for a in attempts):
        correct[a.theorem.name] = correct.get(a.theorem.name, 0) + int(a.stats.get("correct", 0))
    n = rollouts * len(by_seed)
    found = {}
    for k in budgets(rollouts):
        rates = [pass_at_k(n, c, k) for c in correct.values()]
        low, high = wilson_of_rates(rates, n // k)
        found[str(k)] = {"rate": sum(rates) / max(1, len(rates)), "low": low, "high": high}
    return found


def paired(first: Iterable[Attempt], second: Iterable[Attempt], calls: int) -> tuple[int, int, float]:
    """Theorems that only `first` and that only `second` solved within `calls` Lean calls, and the p-value of the exact McNemar test
    (two-sided sign test)."""
    a, b = solved_within(first, calls), solved_within(second, calls)
    only_a, only_b = len(a - b), len(b - a)
    return only_a, only_b, sign_test(only_a, only_b)


def solved_within(attempts: Iterable[Attempt], calls: int) -> set[str]:
    """Names of the theorems solved within `calls` Lean calls."""
    return {a.theorem.name for a in attempts if a.outcome == "proved" and (a.calls_to_solve or 0) <= calls}


def over_seeds(by_seed: Sequence[Iterable[Attempt]], calls: int, total: int) -> tuple[int, tuple[float, float]]:
    """(theorems solved within `calls` Lean calls, summed over seeds; the interval of the rate). `total`: theorems of a seed."""
    solved = Counter(name for attempts in by_seed for name in solved_within(attempts, calls))
    return solved.total(), wilson_over_seeds([*solved.values(), *[0] * (total - len(solved))], len(by_seed))


def sign_test(only_first: int, only_second: int) -> float:
    """The p-value of the exact McNemar test (two-sided sign test), from the theorems that only one of two provers solves."""
    n = only_first + only_second
    return min(1.0, 2 * sum(comb(n, i) for i in range(min(only_first, only_second) + 1)) / 2**n)


SECONDS = (0.5, 1, 2, 4, 8, 16, 32)
"""Budgets of a table over seconds."""


def by_seconds(attempts: Sequence[Attempt]) -> dict[str, int]:
    """Solved theorems by seconds of the attempt, which shares the machine with concurrent attempts."""
    return {f"{s:g}": sum(a.outcome == "proved" and a.seconds <= s for a in attempts) for s in SECONDS}


def seconds_table(rows: Sequence[tuple[str, Sequence[Attempt]]]) -> list[list[str]]:
    """Text cells: a header of seconds, then `percent [low, high]` for each prover, and the mean seconds of an attempt."""
    out = [["held-out theorems solved, by seconds of an attempt", *(f"{s:g}" for s in SECONDS), "mean"]]
    for label, attempts in rows:
        mean = sum(a.seconds for a in attempts) / max(len(attempts), 1)
        out.append([*_cells(label, by_seconds(attempts).values(), len(attempts)), f"{mean:.1f}"])
    return out


def _cells(label: str, solved: Iterable[int], total: int) -> list[str]:
    return [f"{label} (of {total})", *(percent(n / max(total, 1), *wilson(n, total)) for n in solved)]


def table(rows: Sequence[tuple[str, dict[str, Any]]]) -> list[list[str]]:
    """Text cells: a header of budgets, then `percent [low, high]` for each searcher."""
    if not rows:
        return []
    names = list(rows[0][1]["curve"])
    out = [["held-out theorems solved, by Lean calls", *names]]
    return out + [_cells(label, (s["curve"][b] for b in names), s["total"]) for label, s in rows]
