"""Attempts with a trace, before the audit. Training and evaluation share them."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from curricula.library import assert_for_training
from prover.lean.pool import LeanPool
from prover.lean.server import LeanError
from prover.lean.theorem import ProofState, Theorem
from prover.models.assessor import AssessedValue, Assessor
from prover.models.base import Query, Suggestion, ValueEstimate
from prover.models.inference_client import InferenceClient
from prover.models.mixture import EXPLORER_WEIGHT, mix_with_explorer
from prover.models.tactic_templates import Portfolio
from prover.premises.dense import DenseWeights
from prover.premises.index import LibraryIndex
from prover.premises.retrieve import PremiseSource, trained_source
from prover.search import Search, SearchConfig, SearchResult, checker
from prover.search.actions import bounded, permitted
from prover.search.script import checked_script
from prover.solve.attempt import Prover, attempt
from prover.solve.executor import twice
from prover.solve.job import Found, Trace
from prover.solve.ray_start import LOST
from rl.config import ProverConfig
from rl.rollouts import rollouts
from rl.search_stats import entropy, predictions, search_stats
from rl.whole_proofs import Draft, Writer, whole_proofs

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """A theorem to attempt."""

    theorem: Theorem
    policy: str
    """`portfolio`, `shuffled` (the explorer with uniform template weights), `explorer` or `model` (mixed with the explorer)."""
    lean_calls: int
    explorer_weight: float = EXPLORER_WEIGHT
    harvest: int = 0
    """Number of further tactics to try on the first goal after a proof."""
    learn: bool = False
    """Whether to collect examples. The constructor then raises HeldOutLeak for a theorem outside the training split."""
    value: bool = True
    """Whether the policy `model` searches with the model's value."""
    rollouts: int = 0
    """Number of rollouts to sample from the model instead of a search; 0: search."""
    max_tactics: int = 12
    """Maximum length of a rollout."""
    turns: int = 0
    """0: rollouts go tactic by tactic. Else a rollout is a conversation of at most this many whole proofs."""
    draw: int = 0
    """Varies the randomness, so that a repeated theorem is tried differently."""
    negated: Theorem | None = None
    """The negation, to attempt instead of the theorem. Its proof disproves the theorem."""

    def __post_init__(self) -> None:
        if self.learn:
            assert_for_training(self.theorem.name)


def split(found: Found, learn: bool) -> tuple[Found, Trace | None]:
    """(the result without its examples, the trace with them or None without `learn`). Rollouts keep only the fields that the audit needs."""
    kept = [
        {"script": r["script"], "ended": r["ended"], "closed": r["closed"], "size": r.get("size", len(r["decisions"]))}
        for r in found.trace.rollouts
    ]
    small = replace(found, trace=replace(found.trace, examples=[], rollouts=kept))
    return small, found.trace if learn else None


@dataclass
class Workbench:
    """Resources shared by the attempts of one process."""

    pool: LeanPool
    premises: PremiseSource
    config: ProverConfig
    seed: int
    explorer: Any
    """The policy `explorer`."""
    trained_explorer: Any
    """The explorer with the trained ranker, if there is one. Mixed with the model."""
    model: InferenceClient | None = None
    sampler: InferenceClient | None = None
    """The same model for rollouts. Samples one tactic per query, because a beam would repeat in every rollout."""
    writer: Writer | None = None
    """The same model for whole proofs."""
    portfolio: Any = field(default_factory=Portfolio)
    assessor: Assessor | None = None
    """Predicts whether a theorem will be proved, and guides searches that do not use the model's value (`prover.assess`)."""

    def environment(self, task: Task) -> Any:
        """Lean, bounded to the configured actions. The portfolio is bounded only if the run learns from it."""
        c = self.config
        return bounded(self.pool, c.actions, c.strict and (task.learn or task.policy != "portfolio"))


class VersionedModel:
    """A shared model for one attempt, with the version of the weights that answered."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._oldest: int | None = None

    @property
    def version(self) -> int:
        """Version of the oldest weights that answered; 0 if none did."""
        return self._oldest or 0

    async def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return self._noted(await self._client.suggest(queries, n))

    async def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        return self._noted(await self._client.evaluate(queries))

    async def write(self, values: dict[str, Any], n: int) -> list[Draft]:
        return self._noted(await self._client.write(values, n))

    def _noted(self, answer: T) -> T:
        # If several calls end at once while the version changes, all of them may count as the newer one.
        version = self._client.version
        self._oldest = version if self._oldest is None else min(version, self._oldest)
        return answer


class ModelWithExplorer:
    """Mixes the suggestions of a shared model with those of a local explorer."""

    def __init__(self, model: VersionedModel, explorer: Any, weight: float) -> None:
        self.model, self.explorer, self.weight = model, explorer, weight

    async def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        learned = await self.model.suggest(queries, n)
        return mix_with_explorer(learned, queries, self.explorer, self.weight, n)


def premise_source(index: LibraryIndex, config: ProverConfig, learned: DenseWeights | None = None) -> PremiseSource:
    """The configured retriever; the symbolic one until weights are trained."""
    return trained_source(index, config.premises, config.retriever, learned)


async def collect(task: Task, bench: Workbench) -> Found:
    """Attempt a theorem, with a trace. Never raises: faults of Lean or the model give the outcome `error`, with the reason `crash: …` if a
    Ray actor or object was lost."""
    began = time.monotonic()
    try:
        found = await _collect(task, bench)
    except LeanError as e:
        found = Found("error", reason=f"open: {e}")
    except Exception as e:  # must not end the run; the task is retried
        _log.exception("%s: the attempt failed", task.theorem.name)
        found = Found("error", reason=f"{'crash: ' * isinstance(e, LOST)}{type(e).__name__}: {e}")
    return replace(found, seconds=time.monotonic() - began)


async def _collect(task: Task, bench: Workbench) -> Found:
    root = await twice(lambda: bench.pool.open(task.negated or task.theorem))
    try:
        if task.turns:
            return await _whole_proofs(task, bench, root)
        if task.rollouts:
            return await _rollouts(task, bench, root)
        return await _search(task, bench, root)
    finally:
        await bench.pool.free([root])


def _prover(task: Task, bench: Workbench, model: VersionedModel) -> Prover:
    """The policy, value and search settings of a task."""
    c = bench.config
    value: Any = None
    in_flight, suggestions, expansions = c.in_flight, c.suggestions, 4
    if task.policy == "portfolio":
        policy: Any = bench.portfolio
        in_flight, suggestions, expansions = 1, 16, 1
    elif task.policy in ("explorer", "shuffled"):
        policy, suggestions = bench.explorer if task.policy == "explorer" else bench.explorer.unweighted(), 64
    else:
        if bench.model is None:
            raise ValueError("policy `model` needs a model, but none is loaded")
        policy = ModelWithExplorer(model, bench.trained_explorer.reseeded(task.draw), task.explorer_weight)
        value = model if task.value else None  # its coroutines are awaited by the search
        if value is None and bench.assessor is not None and "goals" in c.assess:
            value = AssessedValue(bench.assessor)
    config = SearchConfig(
        selection=c.rule,
        in_flight=in_flight,
        suggestions=suggestions,
        max_expansions=expansions,
        temperature=c.temperature,
        root_breadth=c.root_breadth,
        model_thread=False,
        seed=bench.seed,
    )
    return Prover(task.policy, policy, config, value, wants_premises=True, source=bench.premises)


async def _search(task: Task, bench: Workbench, root: ProofState) -> Found:
    env = bench.environment(task)
    model = VersionedModel(bench.model)
    prover = _prover(task, bench, model)
    trace = Trace()

    def observe(search: Search, result: SearchResult) -> None:
        nonlocal trace
        examples = search.examples() if task.learn else []
        stats = search_stats(search, result) | {"bound": _bound(task, root)}
        if task.policy == "model":
            stats["entropy"] = entropy(search.graph)
        if prover.value is not None:
            stats["values"] = predictions(search.graph)
        if bench.assessor is not None and task.policy == "model" and task.negated is None:
            stats["expected"] = round(bench.assessor.assess(root.goals[0]).provable(task.lean_calls), 4)
        trace = Trace(result.lean_calls_to_solve, stats, examples)

    found = await attempt(task.theorem, root, env, [prover], task.lean_calls, checks=0, observe=observe)
    if found.outcome == "found" and task.harvest and trace.examples:
        examples, harvested = await _try_more_tactics(task, bench, env, root, trace.examples)
        stats = trace.stats | ({"harvested": harvested} if harvested else {})
        trace = replace(trace, examples=examples, stats=stats)
        found = replace(found, lean_calls=found.lean_calls + harvested)
    return replace(found, trace=replace(trace, model_version=model.version))


def _bound(task: Task, root: ProofState) -> list[str]:
    """Names that the statement of a library theorem binds."""
    return [name for g in root.goals for name, _ in g.hypotheses] if task.theorem.library is not None else []


async def _rollouts(task: Task, bench: Workbench, root: ProofState) -> Found:
    if bench.sampler is None:
        raise ValueError("rollouts need a model, but none is loaded")
    model, env = VersionedModel(bench.sampler), bench.environment(task)
    first = 1 + task.draw * task.rollouts
    premises = await bench.premises.for_theorem(task.theorem)
    theorem = task.negated or task.theorem
    found, calls = await rollouts(theorem, root, env, model, premises, task.rollouts, task.max_tactics, first)
    check = checker(env, root)
    rows = [
        {
            "script": await checked_script(r.proof, check) if r.proof is not None else None,
            "decisions": [(d.state, d.premises, d.tactic, d.logprob) for d in r.decisions if d.tactic],
            "steps": [n for d, n in zip(r.decisions, r.steps, strict=True) if d.tactic],
            "calls": [(d.sampled.prompt, d.sampled.answer, d.sampled.logprobs) for d in r.decisions if d.sampled],
            "ended": r.ended,
            "closed": r.closed,
        }
        for r in found
    ]
    return _of_rollouts(task, root, rows, calls, calls, model.version)


async def _whole_proofs(task: Task, bench: Workbench, root: ProofState) -> Found:
    if bench.writer is None:
        raise ValueError("whole proofs need a model, but none is loaded")
    model = VersionedModel(bench.writer)
    env = bench.environment(task)
    rows, calls, first = await whole_proofs(task.theorem, root, env, model, task.rollouts, task.turns)
    return _of_rollouts(task, root, rows, calls, first, model.version)


def _of_rollouts(
    task: Task, root: ProofState, rows: list[dict[str, Any]], calls: int, first: int | None, version: int
) -> Found:
    """The result of a group of rollouts. `first`: Lean calls until the first proof."""
    scripts = [r["script"] for r in rows if r["script"] is not None]
    ended = Counter(r["ended"] for r in rows)
    stats = {"rollouts": len(rows), "ended": dict(ended), "claimed": len(scripts), "bound": _bound(task, root)}
    trace = Trace(first if scripts else None, stats, rollouts=rows, model_version=version)
    script = min(scripts, key=len, default="")
    return Found("found" if scripts else "exhausted", script, calls, trace=trace)


async def _try_more_tactics(
    task: Task, bench: Workbench, env: Any, root: ProofState, examples: list[Any]
) -> tuple[list[Any], int]:
    """Try further tactics on the first goal and add those that close it. Returns (examples, Lean calls)."""
    first = examples[0]
    known = {t for t, _ in first.best} | {t for t, _ in first.errors}
    premises = await bench.premises.for_theorem(task.theorem)
    query = Query(root, premises(root))
    tactics = [s.tactic for s in bench.portfolio.suggest([query], 16)[0]]
    tactics += [s.tactic for s in bench.explorer.suggest([query], 3 * task.harvest)[0]]
    actions = bench.config.actions if bench.config.strict else "full"
    fresh = [t for t in dict.fromkeys(tactics) if t not in known and permitted(t, actions)][: task.harvest]
    results = await env.step(root, fresh)
    closing = [(t, 1) for t, r in zip(fresh, results, strict=True) if r.solved]
    await bench.pool.free([s for r in results for s in r.states])
    best = tuple(sorted([*first.best, *closing], key=lambda p: p[1]))
    failed = [(t, r.status) for t, r in zip(fresh, results, strict=True) if not r.ok]
    tried, errors = (*first.tried, *fresh), (*first.errors, *failed)
    return [replace(first, best=best, steps=best[0][1], tried=tried, errors=errors), *examples[1:]], len(fresh)
