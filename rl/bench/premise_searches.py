"""The searches and audits of `bench premises`: every variant on every theorem, stored and resumed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prover.concurrency import each
from prover.lean.answer_cache import SharedAnswers
from prover.lean.audit import Auditor
from prover.lean.pool import LeanPool
from prover.lean.runtime import find_runtime
from prover.lean.server import LeanDied, LeanError
from prover.lean.surroundings import NOTHING
from prover.lean.theorem import ProofState, Theorem
from prover.models.base import Query, Suggestion
from prover.models.fresh_names import FreshNamesPolicy, NameObfuscator
from prover.models.manifest import read_manifest
from prover.models.mixture import EXPLORER_WEIGHT, ExploringPolicy
from prover.models.ranker import TacticRanker
from prover.models.tactic_templates import Explorer
from prover.premises.dense import DenseWeights
from prover.premises.index import LibraryIndex
from prover.premises.retrieve import PremiseSource
from prover.search import Budget, Search, SearchConfig, checker
from prover.search.script import checked_script
from rl.bench.models import load_model
from rl.bench.premise_variants import PremiseVariant
from rl.bench.recall import LIMITS
from rl.bench.records import PremiseResult, append, read

OFFERED = 16
"""Premises offered for each goal."""


@dataclass(frozen=True)
class TrainedParts:
    """The learned parts of a run that the benchmark uses."""

    checkpoint: Path | None = None
    """The model's folder."""
    weights: DenseWeights | None = None
    """The retriever's weights."""
    hashes: Sequence[str] = ()
    """Hashes of the files."""


def first_results(
    results: Iterable[PremiseResult], theorems: Sequence[Theorem], settings: str
) -> dict[tuple[str, str], PremiseResult]:
    """The first result of each (theorem, variant) for these theorems and settings."""
    names = {t.name for t in theorems}
    found: dict[tuple[str, str], PremiseResult] = {}
    for r in results:
        if r.settings == settings and r.theorem in names:
            found.setdefault((r.theorem, r.variant), r)
    return found


class PremiseSearches:
    """Searches one theorem after another with every variant, audits the proofs, and stores the results."""

    def __init__(
        self,
        index: LibraryIndex,
        learned: TrainedParts,
        chosen: Sequence[PremiseVariant],
        theorems: Sequence[Theorem],
        calls: int,
        record: Path | None = None,
        minutes: float | None = None,
        processes: int = 1,
    ) -> None:
        """`calls`: Lean calls of a search. `record`: a JSONL file with results, used if found under the same settings. `minutes`: no
        theorem starts later than this."""
        stored = read(record, PremiseResult)
        self.index, self.chosen, self.theorems, self.calls = index, chosen, theorems, calls
        self.record, self.processes = record, processes
        self.seconds = math.inf if minutes is None else 60 * minutes
        self.lean, self.steps, self.lean_s = "", 0, 0.0
        self.explorer = Explorer(index, 0, OFFERED)
        self.model: Any = None
        self.value = False
        """Whether the run searched with the model's value."""
        self.ranker: TacticRanker | None = None
        self.ranked = self.explorer
        if any(v.model for v in chosen):
            assert learned.checkpoint is not None
            self.value = read_manifest(learned.checkpoint).value
            self.model, self.ranker = load_model(learned.checkpoint)
            self.ranked = Explorer(index, 0, OFFERED, self.ranker)
        self.sources = {v.name: self._source(v, learned.weights) for v in chosen}
        runtime = find_runtime().name
        what = (runtime, LIMITS, OFFERED, calls, SearchConfig(), EXPLORER_WEIGHT, list(learned.hashes), self.value)
        self.settings = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
        self.results = first_results(stored, theorems, self.settings)

    def _source(self, v: PremiseVariant, weights: DenseWeights | None) -> PremiseSource:
        n = OFFERED if v.retriever else 0
        source = PremiseSource(self.index, n, v.retriever or "symbols", weights if v.trained else None)
        return source.renamed(NameObfuscator().translation.name) if v.fresh else source

    def missing(self, theorem: str) -> list[PremiseVariant]:
        """The variants without a result on a theorem."""
        return [v for v in self.chosen if (theorem, v.name) not in self.results]

    async def run(self) -> None:
        """Make all missing searches, or as many as start within `minutes`."""
        todo = [t for t in self.theorems if self.missing(t.name)]
        if not todo:
            return
        async with LeanPool(self.processes, limits=LIMITS, constants=True, terse=True) as pool, Auditor() as auditor:
            self.lean = pool.runtime.name
            # Sorting by imports saves environments. Sorting in blocks makes a partial run a fair sample.
            blocks = [sorted(todo[i : i + 64], key=lambda t: t.imports) for i in range(0, len(todo), 64)]
            order = [t for block in blocks for t in block]
            await each(order, lambda t: self._theorem(t, pool, auditor), 2 * self.processes, self.seconds)
            self.steps, self.lean_s = pool.steps, pool.lean_s

    async def _theorem(self, theorem: Theorem, pool: LeanPool, auditor: Auditor) -> None:
        missing = self.missing(theorem.name)
        shared = SharedAnswers(pool, again=("timeout", "memory", "crash"))
        try:
            root = await shared.open(theorem)
        except LeanDied:
            return  # the next run retries it
        except LeanError as e:
            found = [PremiseResult(theorem.name, v.name, None, 0, verdict=f"open: {e}") for v in missing]
        else:
            try:
                found = [await self._search(v, root, theorem, shared) for v in missing]
            finally:
                await shared.close()
        scripts = dict.fromkeys(r.script for r in found if r.script is not None)
        verdicts = {script: await auditor.audit(theorem, script) for script in scripts}
        for r in found:
            r.settings = self.settings
            if r.script is not None:
                v = verdicts[r.script]
                r.verdict, r.used = f"{v.verdict}: {v.reason}"[:300] if v.reason else v.verdict, list(v.premises)
        self.results |= {(r.theorem, r.variant): r for r in found}
        append(self.record, found)

    async def _search(self, v: PremiseVariant, root: Any, theorem: Theorem, shared: SharedAnswers) -> PremiseResult:
        model: Any = (
            FreshNamesPolicy(self.model, types=self.model.prompter.config.show_types) if v.fresh else self.model
        )
        ranked = Explorer(self.index, 0, OFFERED, self.ranker, obfuscator=model.obfuscator) if v.fresh else self.ranked
        policy: Any = ExploringPolicy(model, ranked) if v.model else self.explorer
        config = SearchConfig(
            in_flight=1, suggestions=32 if v.model else 64, max_expansions=8, model_thread=False, questions=v.questions
        )
        value = model if v.model and self.value else None
        if not v.local:
            policy = _Unaware(policy)
        premises = await self.sources[v.name].for_theorem(theorem)
        if not v.local:
            offered, premises = premises, lambda state: offered(without_surroundings(state))
        search = Search(root, shared, policy, value, config=config, premises=premises)
        try:
            result = await search.run(Budget(lean_calls=self.calls))
            script = await checked_script(result.proof, checker(shared, root)) if result.proof is not None else None
        finally:
            await search.close()
        return PremiseResult(theorem.name, v.name, result.lean_calls_to_solve, result.lean_calls, script)


def without_surroundings(state: ProofState) -> ProofState:
    """The state, as if there were no declarations before its theorem."""
    return replace(state, surroundings=NOTHING)


class _Unaware:
    """A policy that does not see the surroundings."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return self.policy.suggest([replace(q, state=without_surroundings(q.state)) for q in queries], n)
