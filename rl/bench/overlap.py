"""Utilisation of Lean and the models during concurrent searches without shared answers, and the cost of orchestration."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prover.concurrency import each
from prover.lean.pool import LeanPool
from prover.lean.server import LeanDied, LeanError
from prover.lean.theorem import Theorem
from prover.premises.retrieve import PremiseSource
from prover.search import Budget, Search
from rl.bench.models import TimedModel
from rl.bench.variants import SearchVariant

if TYPE_CHECKING:
    from rl.bench.search import Models

CONCURRENT = 6
IN_FLIGHT = 4
CALLS = 128
"""Maximum Lean calls per theorem, enough for stable shares."""


def no_overlap() -> dict[str, Any]:
    """The keys of `overlap`, without figures."""
    return {"utilisation": {}, "orchestration_share": {}, "search_share": {}}


async def overlap(
    theorems: Sequence[Theorem],
    models: Models,
    variants: Sequence[SearchVariant],
    pool: LeanPool,
    source: PremiseSource,
    calls: int,
) -> dict[str, Any]:
    """Figures by search name, from CONCURRENT searches with IN_FLIGHT simulations each.

    `utilisation`: shares of wall time that Lean's processes (mean) and the models computed. `orchestration_share`: processor time of
    this process outside the models over wall time (selection, graph, premises, protocol, event loop). `search_share`: the part of it
    in prover/search. Opening theorems is not measured.
    """
    out = no_overlap()
    for v in variants:
        figures = await _one(theorems, models, v, pool, source, min(calls, CALLS))
        if figures is not None:
            wall = figures["wall"]
            out["utilisation"][v.name] = {
                "lean": round(figures["lean"] / wall / len(pool.servers), 3),
                "model": round(figures["model"] / wall, 3),
            }
            out["orchestration_share"][v.name] = round(figures["orchestration"] / wall, 4)
            out["search_share"][v.name] = round(figures["search"] / wall, 4)
    out["overlap_cores"] = os.cpu_count()
    return out


async def _one(
    theorems: Sequence[Theorem], models: Models, v: SearchVariant, pool: LeanPool, source: PremiseSource, calls: int
) -> dict[str, float] | None:
    searches: list[Search] = []
    timed: list[TimedModel] = []
    for theorem in theorems:
        try:
            root = await pool.open(theorem)
        except (LeanError, LeanDied):
            continue
        timed.append(TimedModel(models.policy(0, models.trained), models.value(v.value, models.trained)))
        config = replace(v.config, in_flight=IN_FLIGHT)
        premises = await source.for_theorem(theorem)
        value = timed[-1] if v.value != "none" else None
        searches.append(Search(root, pool, timed[-1], value, config=config, premises=premises))
    if not searches:
        return None

    async def run(search: Search) -> float:
        return (await search.run(Budget(lean_calls=calls))).stats.own_s

    lean = pool.lean_s
    began, cpu = time.perf_counter(), time.process_time()
    own = await each(searches, run, CONCURRENT)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    model = sum(t.seconds for t in timed)
    lean = pool.lean_s - lean
    for search in searches:
        await search.close()
    return {"wall": wall, "lean": lean, "model": model, "orchestration": max(0.0, cpu - model), "search": sum(own)}
