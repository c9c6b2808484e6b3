"""Searches compared per Lean call: `turnstile bench search`.

Same theorems, same policy, same budgets; only the selection rule differs. A theorem counts as solved at a budget when the
search had a proof within so many Lean calls. Proofs are not audited here: every rule's proofs come from the same policy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from prover.intervals import wilson
from prover.lean.pool import LeanPool
from prover.lean.server import LeanDied, LeanError, Limits
from prover.lean.theorem import Theorem
from prover.models.base import Policy, Value
from prover.models.mixture import Mixture
from prover.models.portfolio import Explorer
from prover.premises.index import LibraryIndex
from prover.premises.retrieve import PremiseSource
from prover.search import Budget, Search, SearchConfig, SearchResult

RULES = ("puct_value", "puct", "best_first", "breadth", "uniform")


async def bench_search(
    theorems: Sequence[Theorem],
    index: LibraryIndex,
    checkpoint: str | None = None,
    budgets: Sequence[int] = (16, 64, 256),
    seeds: Sequence[int] = (0,),
    rules: Sequence[str] = RULES,
    processes: int = 2,
    concurrent: int = 6,
) -> dict[str, Any]:
    """Keys: `total`, `solved` (search name → budget → {solved, low, high}), `calls_per_solved`, `utilisation`,
    `orchestration_share` by search name. Without a checkpoint the policy is the explorer, and `puct_value` is left out.
    """
    model: Any = None
    if checkpoint is not None:
        from prover.models.transformer import LanguageModelPolicy

        model = LanguageModelPolicy.load(checkpoint, threads=1)
    source = PremiseSource(index, 6)
    chosen = [r for r in rules if model is not None or r != "puct_value"]
    out: dict[str, Any] = {
        "total": len(theorems) * len(seeds), "policy": checkpoint or "explorer", "seeds": list(seeds), "solved": {},
        "calls_per_solved": {}, "utilisation": {}, "orchestration_share": {},
    }  # fmt: skip
    async with LeanPool(processes, limits=Limits(heartbeats=4000), constants=True, terse=True) as pool:
        out["lean"] = pool.runtime.name
        for rule in chosen:
            results: list[SearchResult] = []
            for seed in seeds:
                explorer = Explorer(index, seed, 6)
                policy: Policy = Mixture([(model, 0.75), (explorer, 0.25)]) if model is not None else explorer
                value: Value | None = model if rule == "puct_value" else None
                config = SearchConfig(
                    selection="puct" if rule == "puct_value" else rule, in_flight=2, seed=seed,
                    suggestions=16 if model is not None else 64, model_thread=model is not None,
                )  # fmt: skip
                results += await _all(theorems, pool, policy, value, config, source, max(budgets), concurrent)
            calls = [r.lean_calls_to_solve for r in results if r.lean_calls_to_solve is not None]
            out["solved"][rule] = {}
            for b in budgets:
                n = sum(c <= b for c in calls)
                low, high = wilson(n, out["total"])
                out["solved"][rule][str(b)] = {"solved": n, "low": round(low, 4), "high": round(high, 4)}
            spent = sum(r.lean_calls for r in results)
            wall = sum(r.stats.seconds for r in results) or 1.0
            out["calls_per_solved"][rule] = round(spent / max(len(calls), 1), 1)
            out["utilisation"][rule] = {
                "lean": round(sum(r.stats.lean_s for r in results) / wall, 3),
                "model": round(sum(r.stats.model_s for r in results) / wall, 3),
            }
            out["orchestration_share"][rule] = round(sum(r.stats.own_s for r in results) / wall, 4)
    return out


async def _all(
    theorems: Sequence[Theorem],
    pool: LeanPool,
    policy: Policy,
    value: Value | None,
    config: SearchConfig,
    source: PremiseSource,
    calls: int,
    concurrent: int,
) -> list[SearchResult]:
    gate = asyncio.Semaphore(concurrent)
    results: list[SearchResult] = []

    async def one(theorem: Theorem) -> None:
        async with gate:
            try:
                root = await pool.open(theorem)
            except (LeanError, LeanDied):
                return
            search = Search(root, pool, policy, value, config=config, premises=source.for_theorem(theorem.imports))
            try:
                results.append(await search.run(Budget(lean_calls=calls)))
            finally:
                await search.close()
                await pool.free([root])

    # Neighbours share imports, so a process needs few environments at a time.
    await asyncio.gather(*(one(t) for t in sorted(theorems, key=lambda t: t.imports)))
    return results
