"""Compares searches at equal Lean calls: `turnstile bench search`.

Theorems, policy and seeds are the same; only the search differs. One search with the largest budget gives the whole curve: a
theorem counts as solved at a budget if the proof took at most that many Lean calls. Searches on a theorem share Lean's answers
(answers.py), which saves most of the time without changing a result, so utilisation is measured separately (overlap.py). Proofs
are not audited.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from prover.concurrency import each
from prover.errors import UserError
from prover.lean.answer_cache import Lean
from prover.lean.pool import LeanPool
from prover.lean.runtime import find_runtime
from prover.lean.server import LeanDied, LeanError, Limits
from prover.lean.steps import SEARCH_HEARTBEATS
from prover.lean.theorem import Theorem
from prover.models.base import Policy, Value
from prover.models.mixture import EXPLORER_WEIGHT, ExploringPolicy
from prover.models.ranker import TacticRanker
from prover.models.size_value import SizeValue
from prover.models.tactic_templates import FLOOR, Explorer
from prover.premises.index import LibraryIndex
from prover.premises.retrieve import PremiseSource
from prover.search import Budget, Search, SearchConfig
from prover.solve.executor import twice
from rl.bench.answers import Answers, NoLean
from rl.bench.curves import curves
from rl.bench.models import CachedModel, RecordedTactics, cached_premises, load_model
from rl.bench.overlap import no_overlap, overlap
from rl.bench.records import SearchResult, append, read
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
    say: Callable[[str], None] = field(default=lambda text: None)


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


async def bench_search(c: Comparison) -> dict[str, Any]:
    """Figures: those of `curves`, those of `overlap` by search name (empty if not measured), `lean_steps` (steps that Lean ran for the
    searches), and the settings. Raises UserError for invalid searches, and for `recorded` without a record."""
    models = Models(c.index, c.checkpoint)
    chosen = _chosen(c, models)
    if c.recorded:
        if c.record is None or not (c.record / "answers").is_dir():
            raise UserError("--recorded uses the answers of an earlier run: give its --record FOLDER")
        run = _Run(c, models, chosen, NoLean(), find_runtime().name)
        await run.all()
        return {**run.figures(), **no_overlap()}
    async with LeanPool(c.processes, limits=LIMITS, constants=True, terse=True) as pool:
        run = _Run(c, models, chosen, pool, pool.runtime.name)
        await run.all()
        busy = no_overlap()
        if c.overlap_theorems:
            sample = c.theorems[: c.overlap_theorems]
            busy = await overlap(sample, models, chosen, pool, PremiseSource(c.index, PREMISES), max(c.budgets))
    return {**run.figures(), **busy}


def _chosen(c: Comparison, models: Models) -> list[SearchVariant]:
    names = c.searches or [s for s in SEARCHES if models.trained is not None or s != "puct_value"]
    chosen = variants(names, models.base)
    if models.trained is None and any(v.value == "model" for v in chosen):
        raise UserError("a search with the model's value needs a model: give --checkpoint FOLDER, or use puct_size")
    return chosen


class _Run:
    """Runs every search on every theorem, except those with stored results."""

    def __init__(
        self, c: Comparison, models: Models, chosen: Sequence[SearchVariant], lean: Lean, lean_name: str
    ) -> None:
        self.c, self.models, self.chosen, self.lean, self.lean_name = c, models, chosen, lean, lean_name
        self.source = PremiseSource(c.index, PREMISES)
        self.results: list[SearchResult] = []
        self.failed = 0
        """Theorems that Lean did not open, or on which its processes kept dying."""
        self.asked = 0
        self.seconds = 0.0
        self._digests = {v.name: self._digest(v) for v in chosen}
        self._done: dict[tuple[str, str, int], SearchResult] = {}
        self._record = c.record / "results.jsonl" if c.record is not None and not c.recorded else None
        if self._record is not None:
            self._record.parent.mkdir(parents=True, exist_ok=True)
            self._done = {(x.theorem, x.settings, x.seed): x for x in read(self._record, SearchResult)}

    def _digest(self, v: SearchVariant) -> str:
        what = (self.lean_name, self.models.tag, LIMITS, PREMISES, EXPLORER_WEIGHT, FLOOR, v.config, v.value)
        return hashlib.sha256(repr((*what, max(self.c.budgets))).encode()).hexdigest()[:16]

    def figures(self) -> dict[str, Any]:
        """The figures of `bench_search` without those of `overlap`."""
        figures = curves(self.results, self.c.budgets)
        return {
            **figures,
            "policy": str(self.c.checkpoint or "explorer"),
            "lean": self.lean_name,
            "recorded": self.c.recorded,
            "left_out": len(self.c.theorems) - figures["theorems"] - self.failed,
            "failed": self.failed,
            "lean_calls": sum(x.calls for x in self.results),
            "lean_steps": self.asked,
            "seconds": round(self.seconds, 1),
        }

    async def all(self) -> None:
        began = time.monotonic()

        async def work(numbered: tuple[int, Theorem]) -> None:
            i, theorem = numbered
            kept = self._answers_file(theorem)
            if self.c.recorded and not _provable(theorem, kept):
                return
            results = await self._theorem(theorem, kept)
            if results is None:
                self.failed += 1
                return
            self.results += results
            minutes = (time.monotonic() - began) / 60
            solved = sum(x.solved_at is not None for x in results)
            self.c.say(f"{i}/{len(self.c.theorems)}  {theorem.name}: {solved} of {len(results)}  ({minutes:.1f} min)")

        seconds = math.inf if self.c.minutes is None else 60 * self.c.minutes
        await each(enumerate(self.c.theorems, 1), work, self.c.concurrent, seconds)
        self.seconds = time.monotonic() - began

    async def _theorem(self, theorem: Theorem, kept: Path | None) -> list[SearchResult] | None:
        """All searches on one theorem; None if Lean fails. Stores the results when all are complete."""
        wanted = [(v, s) for s in self.c.seeds for v in self.chosen]
        results: list[SearchResult] = []
        fresh: list[SearchResult] = []
        answers = Answers(theorem, self.lean)
        premises = cached_premises(await self.source.for_theorem(theorem))
        model = self.models.trained
        trained = CachedModel(model, answers, self.models.tag) if model is not None else None
        try:
            for v, seed in wanted:
                known = self._done.get((theorem.name, self._digests[v.name], seed))
                if known is not None:
                    results.append(msgspec.structs.replace(known, search=v.name))
                    continue
                if kept is not None and not fresh:
                    answers.load(kept)
                result = await self._search(theorem, answers, v, seed, trained, premises)
                if result is None:
                    return None
                results.append(result)
                fresh.append(result)
        finally:
            self.asked += answers.asked
            if kept is not None and answers.changed and not self.c.recorded:
                answers.save(kept)
            await answers.close()
        append(self._record, fresh)
        return results

    async def _search(
        self, theorem: Theorem, answers: Answers, v: SearchVariant, seed: int, trained: Any, premises: Any
    ) -> SearchResult | None:
        try:
            root = await twice(answers.root)
        except (LeanError, LeanDied) as e:
            self.c.say(f"{theorem.name}: {e}")
            return None
        policy = self.models.policy(seed, trained)
        if self.c.recorded:
            policy = RecordedTactics(policy, answers)
        value = self.models.value(v.value, trained)
        search = Search(root, answers, policy, value, config=replace(v.config, seed=seed), premises=premises)
        try:
            result = await search.run(Budget(lean_calls=max(self.c.budgets)))
        finally:
            await search.close()
        if result.outcome == "error":
            self.c.say(f"{theorem.name}: {result.message}")
            return None
        steps = result.proof.size if result.proof is not None else None
        return SearchResult(
            theorem.name,
            v.name,
            seed,
            self._digests[v.name],
            result.outcome,
            result.lean_calls,
            result.lean_calls_to_solve,
            steps,
        )

    def _answers_file(self, theorem: Theorem) -> Path | None:
        if self.c.record is None:
            return None
        name = hashlib.sha256(f"{self.lean_name} {LIMITS} {theorem}".encode()).hexdigest()[:24]
        return self.c.record / "answers" / f"{name}.msgpack.gz"


def _provable(theorem: Theorem, kept: Path | None) -> bool:
    """Whether the recorded answers prove the theorem. If not, no search on them can."""
    answers = Answers(theorem, NoLean())
    if kept is not None:
        answers.load(kept)
    return answers.holds_proof()
