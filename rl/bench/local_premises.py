"""The benefit of a theorem's surroundings: `turnstile bench premises --set FILE.lean` or a Lake project.

The theorems are proved again at their places. The wanted premises of a theorem are the theorems that its own proof names, whether they
are from its file, from files that this imports, or from the library. Recall at k is the share of wanted premises among the k that are
offered for the theorem's first goal, with and without the surroundings. Searches without surroundings have only the library's premises,
in their templates too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curricula.in_place import Placed, placed_in
from prover.errors import UserError
from prover.lean.runtime import find_runtime
from prover.premises.dense import DenseWeights
from prover.premises.index import LibraryIndex
from prover.premises.local import local_premises
from prover.premises.retrieve import PremiseSource
from rl.bench.premise_figures import curve
from rl.bench.premise_searches import PremiseVariant, TrainedParts, attempted, without_surroundings
from rl.bench.recall import CUTS, opened, recall_at

LIBRARY_ONLY, WITH_LOCAL = "library only", "with local"


def bench_local_premises(
    index: LibraryIndex,
    target: Path,
    weights: DenseWeights | None = None,
    budgets: Sequence[int] = (16, 64),
    record: Path | None = None,
    minutes: float | None = None,
    limit: int | None = None,
    processes: int = 1,
) -> dict[str, Any]:
    """Run the benchmark on a `.lean` file or Lake project with proofs. `weights`: of a learned retriever, which is then measured too.
    `limit`: maximum number of theorems. The other parameters are those of bench_premises.

    Keys: `theorems`, `with_wanted` (number of theorems whose proofs name a theorem), `local_share` (share of wanted premises that are in
    the surroundings), `recall` and `recall_local` (of all wanted premises and of those in the surroundings; variant → cut → share, `of`
    this many), `solved` (variant → budget → {solved, total, low, high}), `lean`. Raises UserError for a target without theorems.
    """
    placed = placed_in(str(target))[:limit]
    if not placed:
        raise UserError(f"{target}: no theorems found")
    retrievers = ("symbols", "hybrid") if weights is not None else ("symbols",)
    offered, wanted, local = asyncio.run(_offered(index, placed, weights, retrievers))
    chosen = [
        PremiseVariant(f"explorer, {r}, {what}", r, r == "hybrid", local=what == WITH_LOCAL)
        for r in retrievers
        for what in (LIBRARY_ONLY, WITH_LOCAL)
    ]
    theorems = [p.theorem for p in placed]
    learned = TrainedParts(weights=weights)
    attempts, _ = asyncio.run(attempted(index, learned, chosen, theorems, max(budgets), record, minutes, processes))
    number = sum(map(len, wanted.values()))
    return {
        "theorems": len(theorems),
        "with_wanted": sum(map(bool, wanted.values())),
        "local_share": round(sum(map(len, local.values())) / number, 4) if number else None,
        "recall": recall_at(offered, wanted),
        "recall_local": recall_at(offered, local),
        "solved": {v: curve(mine, budgets) for v, mine in attempts.results(theorems).items()},
        "lean": find_runtime().name,
    }


async def _offered(
    index: LibraryIndex, placed: Sequence[Placed], weights: DenseWeights | None, retrievers: Sequence[str]
) -> tuple[dict[str, dict[str, list[str]]], dict[str, set[str]], dict[str, set[str]]]:
    """(offered premises by variant and theorem, best first; wanted premises by theorem; wanted premises in the surroundings by theorem)."""
    sources = {r: PremiseSource(index, max(CUTS), r, weights, definitions=0) for r in retrievers}
    offered: dict[str, dict[str, list[str]]] = {f"{r}, {w}": {} for r in retrievers for w in (LIBRARY_ONLY, WITH_LOCAL)}
    wanted: dict[str, set[str]] = {}
    local: dict[str, set[str]] = {}
    library = index.by_name()
    named = {p.theorem: p.premises for p in placed}
    async for _, theorem, root in opened(named):
        own = {d.name for d in local_premises(root.surroundings).theorems}
        local[theorem.name] = own.intersection(named[theorem])
        wanted[theorem.name] = local[theorem.name] | {n for n in named[theorem] if n in library}
        for r, source in sources.items():
            premises = await source.for_theorem(theorem)
            for what, state in ((WITH_LOCAL, root), (LIBRARY_ONLY, without_surroundings(root))):
                offered[f"{r}, {what}"][theorem.name] = list(premises(state))
    return offered, wanted, local
