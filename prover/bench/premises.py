"""What retrieval finds of the premises that audited proofs used: `turnstile bench premises`.

For every audited proof of a library theorem in a run's ledger, the library theorems that its term uses and its script names are
what should have been offered for its first goal. Recall at k is the share of them among the k best. Retrieval time is measured
on the same goals.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.lean.pool import LeanPool
from prover.lean.server import LeanDied, LeanError
from prover.lean.theorem import Theorem
from prover.premises.index import LibraryIndex
from prover.premises.retrieve import RETRIEVERS, make_retriever

CUTS = (1, 8, 32)


def bench_premises(index: LibraryIndex, run: Path | None) -> dict[str, Any]:
    """Keys: `recall` (retriever → cut → share), `ms_a_goal` by retriever, `proofs`, `premises`. Raises UserError without a run."""
    if run is None:
        raise UserError("bench premises needs a run with proofs: --checkpoint runs/NAME")
    from rl.ledger import Ledger

    proofs = [
        (a.theorem, tuple(p for p in a.used if p.rsplit(".", 1)[-1] in (a.script or "") and p in (a.script or "")))
        for a in Ledger.open(run, readonly=True).proofs()
        if a.theorem.library is not None
    ]
    wanted = [(t, used) for t, used in proofs if used]
    if not wanted:
        raise UserError(f"{run}: no audited proof names a library theorem yet")
    goals = asyncio.run(_goals([t for t, _ in wanted]))
    out: dict[str, Any] = {"proofs": len(proofs), "with_premises": len(wanted), "recall": {}, "ms_a_goal": {}}
    for name in RETRIEVERS:
        out["recall"][name], out["ms_a_goal"][name] = _recall(name, index, wanted, goals)
    return out


def _recall(
    name: str,
    index: LibraryIndex,
    wanted: Sequence[tuple[Theorem, tuple[str, ...]]],
    goals: dict[str, tuple[str, ...]],
) -> tuple[dict[str, float], float]:
    made: dict[tuple[str, ...], Callable[[Sequence[str], int], list[str]]] = {}
    hits = dict.fromkeys(CUTS, 0)
    total, seconds, asked = 0, 0.0, 0
    for theorem, used in wanted:
        if theorem.name not in goals:
            continue
        if theorem.imports not in made:
            made[theorem.imports] = make_retriever(name, index, index.reachable(theorem.imports))
        began = time.perf_counter()
        found = made[theorem.imports](goals[theorem.name], max(CUTS))
        seconds += time.perf_counter() - began
        asked += 1
        total += len(used)
        for k in CUTS:
            hits[k] += len(set(used) & set(found[:k]))
    return {str(k): round(hits[k] / max(total, 1), 4) for k in CUTS}, round(1000 * seconds / max(asked, 1), 3)


async def _goals(theorems: Sequence[Theorem]) -> dict[str, tuple[str, ...]]:
    """Constants of each theorem's first goal, by name."""
    found: dict[str, tuple[str, ...]] = {}
    async with LeanPool(1, constants=True) as pool:
        for theorem in sorted(theorems, key=lambda t: t.imports):
            try:
                root = await pool.open(theorem)
            except (LeanError, LeanDied):
                continue
            found[theorem.name] = tuple(c for g in root.goals for c in g.constants)
            await pool.free([root])
    return found
