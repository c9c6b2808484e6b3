"""Searches at equal Lean calls: solved theorems, utilisation, share of time spent in the search itself.

Theorems, policy and seeds are the same; only the search differs. One search with the largest budget gives the whole curve: a
theorem counts as solved at a budget if the proof took at most that many Lean calls. Searches on a theorem share Lean's answers
(rl/answers.py), which saves most of the time without changing a result, so utilisation is measured separately (overlap.py). Proofs
are not audited.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from curricula.library import library_set
from prover.errors import UserError
from prover.lean.pool import LeanPool
from prover.lean.runtime import find_runtime
from prover.lean.server import Limits
from prover.lean.steps import SEARCH_HEARTBEATS
from prover.lean.theorem import Theorem
from prover.models.base import Policy, Value
from prover.models.manifest import find_checkpoint
from prover.models.mixture import EXPLORER_WEIGHT, ExploringPolicy
from prover.models.ranker import TacticRanker
from prover.models.size_value import SizeValue
from prover.models.tactic_templates import FLOOR, Explorer
from prover.premises.index import LibraryIndex, library_index
from prover.premises.retrieve import PremiseSource
from prover.search import SearchConfig
from prover.solve.attempt import Prover
from rl.answers import Answers
from rl.bench import Quick, call_budgets
from rl.bench.attempts import Attempts, Entry
from rl.bench.curves import curves
from rl.bench.models import CachedModel, RecordedTactics, load_model
from rl.bench.overlap import no_overlap, overlap
from rl.bench.variants import SEARCHES, SearchVariant, variants

PREMISES = 6
LIMITS = Limits(heartbeats=SEARCH_HEARTBEATS)


@dataclass(frozen=True)
class Comparison:
    """Settings of a comparison."""

    theorems: Sequence[Theorem]
    index: LibraryIndex
    checkpoint: Path | None = None
    """A trained model's folder. The policy is a mixture of model and explorer. None: the explorer alone."""
    searches: Sequence[str] = ()
    """Searches as `variants` parses them. Empty: all that the policy supports."""
    budgets: Sequence[int] = (16, 64, 256, 1024)
    seeds: Sequence[int] = (0, 1, 2)
    record: Path | None = None
    """A folder for answers and results, from which a comparison resumes."""
    recorded: bool = False
    """Do not use Lean: searches see only tactics whose answers are in `record`. This compares many settings in minutes; verify the
    best ones with Lean. Theorems without a proof in the record are skipped."""
    minutes: float | None = None
    """Start no theorem later than this. The totals cover the finished theorems."""
    overlap_theorems: int = 12
    processes: int = 2
    concurrent: int = 4
    """Concurrent theorems, so that each Lean process has work."""


class Models:
    """The policy and the values of a comparison."""

    def __init__(self, index: LibraryIndex, checkpoint: Path | None) -> None:
        self.index = index
        self.trained: Any = None
        self._ranker: TacticRanker | None = None
        self._explorers: dict[int, Explorer] = {}
        self.tag = "explorer"
        if checkpoint is not None:
            self.trained, self._ranker = load_model(checkpoint)
            weights = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
            self.tag = f"model {weights[:16]}"

    @property
    def base(self) -> SearchConfig:
        """Search settings for the policy. Simulations run one at a time, so that a search is deterministic."""
        trained = self.trained is not None
        return SearchConfig(in_flight=1, suggestions=32 if trained else 64, model_thread=trained)

    def policy(self, seed: int, trained: Any) -> Policy:
        if seed not in self._explorers:
            self._explorers[seed] = Explorer(self.index, seed, PREMISES, self._ranker)
        explorer = self._explorers[seed]
        if trained is None:
            return explorer
        return ExploringPolicy(trained, explorer)

    def value(self, kind: str, trained: Any) -> Value | None:
        return {"none": None, "model": trained, "size": SizeValue()}[kind]


def bench_search(
    *,
    quick: Quick = False,
    checkpoint: Path | None = None,
    theorems: int = 300,
    seeds: int = 3,
    searches: str = "",
    budgets: str = "16,64,256,1024",
    split: Literal["held-out", "validation", "train"] = "held-out",
    record: Path | None = None,
    recorded: bool = False,
    minutes: float | None = None,
) -> dict[str, Any]:
    """Prints the keys of docs/benchmark.md (see `compared`).

    Args:
        checkpoint: a trained model's folder. Default: the explorer.
        theorems: number of theorems.
        seeds: number of seeds.
        searches: comma-separated searches, e.g. puct_value,best_first:length_penalty=0.5 (a rule, `_value` or `_size`, settings
            of SearchConfig). Default: every rule.
        budgets: Lean calls, comma-separated.
        split: split of the theorems. Tune on validation, report held-out.
        record: a folder that stores Lean's answers and the attempts, so that a run can be resumed.
        recorded: do not start Lean; search only among tactics whose answers are in --record. For tuning.
        minutes: start no theorem later than this. The totals cover the finished theorems.
    """
    calls = call_budgets(budgets, quick)
    if theorems < 1 or seeds < 1:
        raise UserError("--theorems and --seeds must be at least 1")
    if minutes is not None and not minutes > 0:
        raise UserError(f"--minutes {minutes:g}: must be more than 0")
    if record is not None and record.exists() and not record.is_dir():
        raise UserError(f"--record {record}: is a file; name a folder")
    index = library_index()
    comparison = Comparison(
        library_set(index, split, per_module=28, limit=min(theorems, 40) if quick else theorems),
        index,
        find_checkpoint(checkpoint, "--checkpoint") if checkpoint else None,
        searches.split(",") if searches else (),
        calls,
        range(1 if quick else seeds),
        record,
        recorded,
        minutes,
    )
    return asyncio.run(compared(comparison))


async def compared(c: Comparison) -> dict[str, Any]:
    """Figures: those of `curves`, those of `overlap` by search name (empty if not measured), `lean_steps` (steps that Lean ran for the
    searches), and the settings. Raises UserError for invalid searches, and for `recorded` without a record."""
    models = Models(c.index, c.checkpoint)
    chosen = _chosen(c, models)
    if c.recorded and (c.record is None or not (c.record / "answers").is_dir()):
        raise UserError("--recorded uses the answers of an earlier run: give its --record FOLDER")
    lean = find_runtime().name
    attempts = _attempts(c, models, chosen, lean)
    busy, steps = no_overlap(), 0
    if c.recorded:
        await attempts.run(None, None, c.concurrent, c.minutes)
    else:
        async with LeanPool(c.processes, limits=LIMITS, constants=True, terse=True) as pool:
            await attempts.run(pool, None, c.concurrent, c.minutes)
            steps = pool.steps
            if c.overlap_theorems:
                sample = c.theorems[: c.overlap_theorems]
                busy = await overlap(sample, models, chosen, pool, PremiseSource(c.index, PREMISES), max(c.budgets))
    results = {key: mine for key, mine in attempts.results(c.theorems).items() if mine}
    figures = curves(results, c.budgets)
    return {
        **figures,
        "policy": str(c.checkpoint or "explorer"),
        "lean": lean,
        "recorded": c.recorded,
        "left_out": len(c.theorems) - figures["theorems"] - attempts.failed,
        "failed": attempts.failed,
        "lean_calls": sum(a.lean_calls for mine in results.values() for a in mine),
        "lean_steps": steps,
        "seconds": round(attempts.seconds, 1),
        **busy,
    }


def _chosen(c: Comparison, models: Models) -> list[SearchVariant]:
    names = c.searches or [s for s in SEARCHES if models.trained is not None or s != "puct_value"]
    chosen = variants(names, models.base)
    if models.trained is None and any(v.value == "model" for v in chosen):
        raise UserError("a search with the model's value needs a model: give --checkpoint FOLDER, or use puct_size")
    return chosen


def _attempts(c: Comparison, models: Models, chosen: Sequence[SearchVariant], lean: str) -> Attempts[tuple[str, int]]:
    """The attempts of a comparison by (search, seed). With `recorded`, only theorems whose recorded answers prove them: no search on the
    others can."""

    def answers_file(theorem: Theorem) -> Path | None:
        if c.record is None:
            return None
        name = hashlib.sha256(f"{lean} {LIMITS} {theorem}".encode()).hexdigest()[:24]
        return c.record / "answers" / f"{name}.msgpack.gz"

    def provable(theorem: Theorem) -> bool:
        answers = Answers(theorem, None)
        if (file := answers_file(theorem)) is not None:
            answers.load(file)
        return answers.holds_proof()

    def entry(v: SearchVariant, seed: int) -> Entry:
        what = (lean, models.tag, LIMITS, PREMISES, EXPLORER_WEIGHT, FLOOR, v.config, v.value, max(c.budgets))
        digest = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
        return Entry(f"search {digest}, seed {seed}", lambda answers: _prover(c, models, answers, v, seed))

    ledger = None
    if c.record is not None and not c.recorded:
        c.record.mkdir(parents=True, exist_ok=True)
        ledger = c.record / "ledger.sqlite"
    theorems = [t for t in c.theorems if not c.recorded or provable(t)]
    entries = {(v.name, seed): entry(v, seed) for seed in c.seeds for v in chosen}
    return Attempts(theorems, entries, max(c.budgets), ledger, PremiseSource(c.index, PREMISES), answers_file)


def _prover(c: Comparison, models: Models, answers: Answers, v: SearchVariant, seed: int) -> Prover:
    trained = None if models.trained is None else CachedModel(models.trained, answers, models.tag)
    policy = models.policy(seed, trained)
    if c.recorded:
        policy = RecordedTactics(policy, answers)
    value = models.value(v.value, trained)
    return Prover(v.name, policy, replace(v.config, seed=seed), value, wants_premises=True)
