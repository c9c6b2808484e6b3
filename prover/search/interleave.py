"""Searches a theorem and its negation side by side."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

from prover.search.budget import Budget
from prover.search.search import Search
from prover.search.stats import SearchResult


async def search_both(
    theorem: Search, negation: Search, budget: Budget, rate: float = 0.25, slice_calls: int = 64
) -> tuple[SearchResult, SearchResult]:
    """Run two searches on one budget until either is solved; the negation gets `rate` of the Lean calls.

    They alternate in slices of at most `slice_calls` Lean calls, and the search with the smallest part of its share goes first.
    When one is exhausted, the other gets the rest. Both stay open. Raises ValueError for a rate outside [0, 1].
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"rate must be in [0, 1], not {rate}")
    searches = (theorem, negation)
    shares = (1.0 - rate, rate)
    results: list[SearchResult] = [s.result() for s in searches]
    base = [r.lean_calls for r in results]
    tokens = sum(r.stats.model_tokens for r in results)
    start = perf_counter()
    ended = [share == 0.0 for share in shares]
    while not all(ended):
        used = [r.lean_calls - b for r, b in zip(results, base, strict=True)]
        left = budget.remaining(sum(used), sum(r.stats.model_tokens for r in results) - tokens, perf_counter() - start)
        if left.exhausted(0, 0, 0.0):
            break
        turn = min((i for i in (0, 1) if not ended[i]), key=lambda i: used[i] / shares[i] if shares[i] else 0.0)
        calls = max(1, round(slice_calls * shares[turn])) if not any(ended) else slice_calls
        if left.lean_calls is not None:
            calls = min(calls, left.lean_calls)
        results[turn] = await searches[turn].run(replace(left, lean_calls=calls))
        if results[turn].outcome == "proved":
            break
        ended[turn] = results[turn].outcome in ("exhausted", "error")
    return results[0], results[1]
