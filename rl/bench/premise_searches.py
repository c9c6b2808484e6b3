"""The variants that `bench premises` compares, their provers, and the attempts of every variant at every theorem."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prover.lean.audit import Auditor
from prover.lean.pool import LeanPool
from prover.lean.runtime import find_runtime
from prover.lean.server import Limits
from prover.lean.steps import SEARCH_HEARTBEATS
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
from prover.premises.retrieve import LEARNED, RETRIEVERS, PremiseSource
from prover.search import SearchConfig
from prover.solve.attempt import Prover
from rl.bench.attempts import Attempts, Entry
from rl.bench.models import load_model

LIMITS = Limits(heartbeats=SEARCH_HEARTBEATS, seconds=60)
"""Heartbeats are the effective limit. The generous time limit only stops steps that would never end."""
OFFERED = 16
"""Premises offered for each goal."""
FRESH = ", fresh names"


@dataclass(frozen=True)
class PremiseVariant:
    """A column of the comparison."""

    name: str
    retriever: str | None
    """None: no premises."""
    trained: bool = False
    """Whether the retriever uses the run's weights."""
    model: bool = False
    """Whether the policy is a mixture of the run's model and the explorer."""
    fresh: bool = False
    """Whether the model sees made-up names for the library's names."""
    questions: str = ""
    """Questions to Lean, as in SearchConfig."""
    local: bool = True
    """Whether the search sees the theorem's surroundings."""


def retrievers(has_weights: bool) -> list[tuple[str, str, bool]]:
    """(label, name, whether it uses the run's weights) of each retriever."""
    found = [(r + (" untrained" if r in LEARNED else ""), r, False) for r in RETRIEVERS]
    return found + [(f"{r} trained", r, True) for r in LEARNED if has_weights]


def variants(has_model: bool, has_weights: bool, questions: str = "") -> list[PremiseVariant]:
    """The variants that a run's folder supports. `questions`: if not empty, adds a variant that asks Lean these questions."""
    found = [PremiseVariant("explorer, no premises", None)]
    found += [PremiseVariant(f"explorer, {label}", r, trained) for label, r, trained in retrievers(has_weights)]
    if has_model:
        best = "hybrid" if has_weights else "symbols"
        with_model = [
            PremiseVariant("trained, no premises", None, model=True),
            PremiseVariant(f"trained, {best}", best, has_weights, True),
        ]
        found += with_model + [replace(v, name=v.name + FRESH, fresh=True) for v in with_model]
        if has_weights:
            found.append(PremiseVariant("trained, symbols", "symbols", model=True))
    if questions:
        found.append(PremiseVariant(f"explorer, symbols, asking {questions}", "symbols", questions=questions))
    return found


@dataclass(frozen=True)
class TrainedParts:
    """The learned parts of a run that the benchmark uses."""

    checkpoint: Path | None = None
    """The model's folder."""
    weights: DenseWeights | None = None
    """The retriever's weights."""
    hashes: Sequence[str] = ()
    """Hashes of the files."""


class PremiseProvers:
    """The provers of the variants."""

    def __init__(self, index: LibraryIndex, learned: TrainedParts, chosen: Sequence[PremiseVariant]) -> None:
        self.index = index
        self.explorer = self.ranked = Explorer(index, 0, OFFERED)
        self.model: Any = None
        self.value = False
        """Whether the run searched with the model's value."""
        self.ranker: TacticRanker | None = None
        if any(v.model for v in chosen):
            assert learned.checkpoint is not None
            self.value = read_manifest(learned.checkpoint).value
            self.model, self.ranker = load_model(learned.checkpoint)
            self.ranked = Explorer(index, 0, OFFERED, self.ranker)
        self.sources = {v.name: self._source(v, learned.weights) for v in chosen}

    def _source(self, v: PremiseVariant, weights: DenseWeights | None) -> Any:
        n = OFFERED if v.retriever else 0
        source = PremiseSource(self.index, n, v.retriever or "symbols", weights if v.trained else None)
        if v.fresh:
            source = source.renamed(NameObfuscator().translation.name)
        return source if v.local else _LibraryOnly(source)

    def prover(self, v: PremiseVariant) -> Prover:
        """The prover of a variant for one theorem."""
        model, ranked = self.model, self.ranked
        if v.fresh:
            model = FreshNamesPolicy(model, types=model.prompter.config.show_types)
            ranked = Explorer(self.index, 0, OFFERED, self.ranker, obfuscator=model.obfuscator)
        policy: Any = ExploringPolicy(model, ranked) if v.model else self.explorer
        config = SearchConfig(
            in_flight=1, suggestions=32 if v.model else 64, max_expansions=8, model_thread=False, questions=v.questions
        )
        value = model if v.model and self.value else None
        policy = policy if v.local else _Unaware(policy)
        return Prover(v.name, policy, config, value, wants_premises=True, source=self.sources[v.name])


async def attempted(
    index: LibraryIndex,
    learned: TrainedParts,
    chosen: Sequence[PremiseVariant],
    theorems: Sequence[Theorem],
    calls: int,
    ledger: Path | None,
    minutes: float | None,
    processes: int,
) -> tuple[Attempts[str], float]:
    """(the attempts of every variant at every theorem, or at as many as start within `minutes`; milliseconds of a Lean call)."""
    lean = find_runtime().name
    provers = PremiseProvers(index, learned, chosen)
    what = (lean, LIMITS, OFFERED, calls, SearchConfig(), EXPLORER_WEIGHT, list(learned.hashes), provers.value)
    settings = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
    entries = {v.name: Entry(f"{v.name}, {settings}", lambda _, v=v: provers.prover(v)) for v in chosen}
    # Sorting by imports saves environments. Sorting in blocks makes a partial run a fair sample.
    blocks = [sorted(theorems[i : i + 64], key=lambda t: t.imports) for i in range(0, len(theorems), 64)]
    attempts = Attempts([t for block in blocks for t in block], entries, calls, ledger)
    async with LeanPool(processes, limits=LIMITS, constants=True, terse=True) as pool, Auditor() as auditor:
        await attempts.run(pool, auditor, 2 * processes, minutes)
        return attempts, round(1000 * pool.lean_s / max(pool.steps, 1), 2)


def without_surroundings(state: ProofState) -> ProofState:
    """The state, as if there were no declarations before its theorem."""
    return replace(state, surroundings=NOTHING)


class _LibraryOnly:
    """A source of premises that does not see the surroundings."""

    def __init__(self, source: PremiseSource) -> None:
        self.source = source

    async def for_theorem(self, theorem: Theorem) -> Callable[[ProofState], Sequence[str]]:
        premises = await self.source.for_theorem(theorem)
        return lambda state: premises(without_surroundings(state))


class _Unaware:
    """A policy that does not see the surroundings."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return self.policy.suggest([replace(q, state=without_surroundings(q.state)) for q in queries], n)
