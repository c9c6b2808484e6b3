"""Evaluation apart from training: a checkpoint on a theorem set, every attempt audited and in the run's ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.lean.audit import Auditor
from prover.lean.pool import LeanPool
from prover.lean.server import LeanDied, LeanError, Limits
from prover.lean.theorem import Theorem
from prover.models.base import Policy
from prover.models.mixture import Mixture
from prover.models.portfolio import Explorer, Portfolio
from prover.premises.index import library_index
from prover.premises.retrieve import PremiseSource
from prover.search import Budget, Search, SearchConfig, to_script
from rl import measure
from rl.ledger import Attempt, Ledger


def find_checkpoint(path: Path) -> Path:
    """A checkpoint's folder, from itself or from a run's (its newest). Raises UserError."""
    if (path / "model.safetensors").exists():
        return path
    folders = sorted(p for p in (path / "checkpoints").glob("[0-9]*") if (p / "model.safetensors").exists())
    if not folders:
        raise UserError(f"{path}: neither a checkpoint (model.safetensors) nor a run with checkpoints/")
    return folders[-1]


async def evaluate(
    searcher: str,
    theorems: Sequence[Theorem],
    label: str,
    ledger: Ledger,
    lean_calls: int,
    seeds: Sequence[int],
    processes: int = 2,
    concurrent: int = 8,
) -> dict[str, Any]:
    """Solve rates of `portfolio`, `explorer` or a checkpoint folder. What the ledger has already is not done again.

    Gives for each seed and together what `measure.summarise` gives.
    """
    index = library_index()
    source = PremiseSource(index, 6)
    model: Any = None
    version = 0
    if searcher not in ("portfolio", "explorer"):
        from prover.models.transformer import LanguageModelPolicy

        model = LanguageModelPolicy.load(searcher, threads=1)
        version = model.version
    gate = asyncio.Semaphore(concurrent)

    async def one(theorem: Theorem, seed: int, phase: str, pool: LeanPool, auditor: Auditor) -> None:
        async with gate:
            began = time.monotonic()
            explorer = Explorer(index, seed, 6)
            policy: Policy = explorer
            if model is not None:
                policy = Mixture([(model, 0.8), (explorer, 0.2)])
            elif searcher == "portfolio":
                policy = Portfolio()
            config = SearchConfig(in_flight=2, suggestions=16 if model is not None else 64, seed=seed)
            try:
                root = await pool.open(theorem)
            except (LeanError, LeanDied) as e:
                ledger.record(Attempt(phase, theorem, "error", 0, None, 0.0, reason=f"open: {e}"))
                return
            premises = source.for_theorem(theorem.imports)
            search = Search(root, pool, policy, model, config=config, premises=premises)
            try:
                result = await search.run(Budget(lean_calls=lean_calls))
            finally:
                await search.close()
                await pool.free([root])
            outcome, reason, script, axioms, used = str(result.outcome), result.message or "", None, (), ()
            if result.proof is not None:
                script = to_script(result.proof)
                verdict = await auditor.audit(theorem, script)
                outcome, reason = verdict.verdict, verdict.reason
                axioms, used = verdict.axioms, verdict.premises
            calls = result.lean_calls_to_solve if outcome == "proved" else None
            ledger.record(
                Attempt(
                    phase, theorem, outcome, result.lean_calls, calls, time.monotonic() - began, script, reason,
                    axioms, used, version, pool.runtime.name,
                )
            )  # fmt: skip

    out: dict[str, Any] = {"searcher": searcher, "set": label, "lean_calls": lean_calls, "by_seed": {}}
    together: list[Attempt] = []
    limits = Limits(heartbeats=4000)
    async with LeanPool(processes, limits=limits, constants=True, terse=True) as pool, Auditor() as auditor:
        out["lean"] = pool.runtime.name
        for seed in seeds:
            phase = f"eval {label} {Path(searcher).name} v{version} calls {lean_calls} seed {seed}"
            done = ledger.done(phase)
            todo = sorted((t for t in theorems if t.name not in done), key=lambda t: t.imports)
            await asyncio.gather(*(one(t, seed, phase, pool, auditor) for t in todo))
            attempts = list(ledger.attempts(phase))
            together += attempts
            out["by_seed"][str(seed)] = measure.summarise(attempts, lean_calls, len(theorems))
    out["all"] = measure.summarise(together, lean_calls, len(theorems) * len(seeds))
    return out
