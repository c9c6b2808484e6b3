"""One attempt at one theorem, before the audit. Training and evaluation share it."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from curricula.library import assert_for_training
from prover.lean.pool import LeanPool
from prover.lean.server import LeanDied, LeanError
from prover.lean.theorem import ProofState, Theorem
from prover.models.base import Query, Suggestion, ValueEstimate
from prover.models.inference_client import InferenceClient
from prover.models.mixture import EXPLORER_WEIGHT, mix_with_explorer
from prover.models.tactic_templates import Portfolio
from prover.premises.dense import DenseWeights
from prover.premises.index import LibraryIndex
from prover.premises.retrieve import PremiseSource, trained_source
from prover.search import Budget, Search, SearchConfig, SearchResult, checker
from prover.search.actions import bounded, permitted
from prover.search.graph import SOLVED, Graph
from prover.search.script import checked_script
from prover.solve.ray_start import LOST
from rl.config import ProverConfig
from rl.rollouts import rollouts
from rl.whole_proofs import Draft, Writer, whole_proofs

T = TypeVar("T")
_log = logging.getLogger(__name__)
OPENINGS = 3
"""Tries to open a theorem when the Lean process dies."""
PREDICTIONS_KEPT = 32
"""Maximum number of value predictions recorded per search, for calibration."""
ENOUGH_VISITS = 8
"""Visits after which an open goal counts as not provable, for calibration."""


@dataclass(frozen=True)
class Task:
    """A theorem to attempt."""

    theorem: Theorem
    policy: str
    """`portfolio`, `shuffled` (the explorer with uniform template weights), `explorer` or `model` (mixed with the explorer)."""
    lean_calls: int
    explorer_weight: float = EXPLORER_WEIGHT
    harvest: int = 0
    """Further tactics to try on the first goal after a proof."""
    learn: bool = False
    """Whether to collect examples. Raises HeldOutLeak for a theorem outside the training split."""
    value: bool = True
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


@dataclass(frozen=True)
class Found:
    """Result of a task, before the audit."""

    theorem: Theorem
    outcome: str
    lean_calls: int
    """Lean calls of the search and of the tactics tried after a proof."""
    calls_to_solve: int | None
    seconds: float
    script: str | None = None
    reason: str = ""
    examples: list[Any] = field(default_factory=list)
    stats: dict[str, Any] = field(default_factory=dict)
    """Input of the metrics (rl/metrics/compute.py)."""
    model_version: int = 0
    """Version of the oldest weights that it used; 0: none."""
    rollouts: list[dict[str, Any]] = field(default_factory=list)
    """Rows with `script` (None without a claimed proof), `decisions` of (state, premises, tactic, logprob), `steps` as in Rollout, `calls` of (prompt,
    answer, logprobs) as in Sampled, `ended`, `closed`, and for whole proofs `size` (tactics)."""


Examples = tuple[list[Any], list[dict[str, Any]]]
"""`examples` and `rollouts` of a Found."""


def split(found: Found, learn: bool) -> tuple[Found, Examples | None]:
    """(the result without its examples, the examples; None without `learn`). Of rollouts, what the audit needs stays."""
    kept = [
        {"script": r["script"], "ended": r["ended"], "closed": r["closed"], "size": r.get("size", len(r["decisions"]))}
        for r in found.rollouts
    ]
    return replace(found, examples=[], rollouts=kept), (found.examples, found.rollouts) if learn else None


def join(found: Found, examples: Examples | None) -> Found:
    """The result with its examples."""
    return found if examples is None else replace(found, examples=examples[0], rollouts=examples[1])


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

    def environment(self, task: Task) -> Any:
        """Lean, bounded to the configured actions. The portfolio is not, unless the run would learn from it."""
        c = self.config
        return bounded(self.pool, c.actions, c.strict and (task.learn or task.policy != "portfolio"))


class Asked:
    """A shared model as one attempt asks it."""

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
        # Of calls that end at once while the version changes, all may count as the newer one.
        version = self._client.version
        self._oldest = version if self._oldest is None else min(version, self._oldest)
        return answer


class ModelWithExplorer:
    """Mixes the suggestions of a shared model with those of a local explorer."""

    def __init__(self, model: Asked, explorer: Any, weight: float) -> None:
        self.model, self.explorer, self.weight = model, explorer, weight

    async def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        learned = await self.model.suggest(queries, n)
        return mix_with_explorer(learned, queries, self.explorer, self.weight, n)


def premise_source(index: LibraryIndex, config: ProverConfig, learned: DenseWeights | None = None) -> PremiseSource:
    """The configured retriever; the symbolic one until weights are trained."""
    return trained_source(index, config.premises, config.retriever, learned)


async def attempt(task: Task, bench: Workbench) -> Found:
    """Search for a proof. Never raises: faults of Lean or the model give the outcome `error`, with the reason `crash: …` if an actor or
    an object of Ray was lost."""
    began = time.monotonic()
    try:
        return await _attempt(task, bench, began)
    except LeanError as e:
        return Found(task.theorem, "error", 0, None, time.monotonic() - began, reason=f"open: {e}")
    except Exception as e:  # must not end the run; the task is retried
        _log.exception("%s: the attempt failed", task.theorem.name)
        reason = f"{'crash: ' * isinstance(e, LOST)}{type(e).__name__}: {e}"
        return Found(task.theorem, "error", 0, None, time.monotonic() - began, reason=reason)


async def _attempt(task: Task, bench: Workbench, began: float) -> Found:
    root = await _open(task.negated or task.theorem, bench.pool)
    env = bench.environment(task)
    if task.turns:
        return await _whole_proofs(task, bench, env, root, began)
    if task.rollouts:
        return await _rollouts(task, bench, env, root, began)
    value: Any = None
    asked = Asked(bench.model)
    in_flight = bench.config.in_flight
    if task.policy == "portfolio":
        policy: Any = bench.portfolio
        suggestions, in_flight, expansions = 16, 1, 1
    elif task.policy in ("explorer", "shuffled"):
        policy = bench.explorer if task.policy == "explorer" else bench.explorer.unweighted()
        suggestions, expansions = 64, 4
    else:
        if bench.model is None:
            raise ValueError("policy `model` needs a model, but none is loaded")
        policy = ModelWithExplorer(asked, bench.trained_explorer.reseeded(task.draw), task.explorer_weight)
        suggestions, expansions = bench.config.suggestions, 4
        value = asked if task.value else None  # its coroutines are awaited by the search
    c = bench.config
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
    search = Search(root, env, policy, value, config=config, premises=bench.premises.for_theorem(task.theorem))
    try:
        result = await search.run(Budget(lean_calls=task.lean_calls))
        script = await checked_script(result.proof, checker(env, root)) if result.proof is not None else None
        examples, harvested = search.examples() if task.learn else [], 0
        if script is not None and task.harvest and examples:
            examples, harvested = await _try_more_tactics(task, bench, env, root, examples)
    finally:
        await search.close()
        await bench.pool.free([root])
    recorded = _search_stats(task, root, search, result, value is not None)
    if harvested:
        recorded["harvested"] = harvested
    return Found(
        task.theorem,
        result.outcome,
        result.lean_calls + harvested,
        result.lean_calls_to_solve,
        time.monotonic() - began,
        script,
        result.message or "",
        examples,
        recorded,
        asked.version,
    )


def _search_stats(task: Task, root: ProofState, search: Search, result: SearchResult, valued: bool) -> dict[str, Any]:
    """Input of the metrics. `valued`: whether the search had a value."""
    stats = result.stats
    bound = [name for g in root.goals for name, _ in g.hypotheses] if task.theorem.library is not None else []
    expanded = [n for n in search.graph.nodes.values() if n.expansions]
    recorded: dict[str, Any] = {
        "nodes": stats.nodes,
        "edges": stats.edges,
        "errors": dict(stats.errors),
        "lean_s": round(stats.lean_s, 4),
        "model_s": round(stats.model_s, 4),
        "own_s": round(stats.own_s, 4),
        "neither_s": round(stats.neither_s, 4),
        "model_tokens": stats.model_tokens,
        "bound": bound,
        "closed": round(sum(n.status == SOLVED for n in expanded) / max(1, len(expanded)), 4),
    }
    if result.proof is not None:
        recorded["steps"] = result.proof.size
    if task.policy == "model":
        recorded["entropy"] = entropy(search.graph)
    if valued:
        recorded["values"] = predictions(search.graph)
    return recorded


async def _rollouts(task: Task, bench: Workbench, env: Any, root: ProofState, began: float) -> Found:
    if bench.sampler is None:
        raise ValueError("rollouts need a model, but none is loaded")
    asked = Asked(bench.sampler)
    first = 1 + task.draw * task.rollouts
    try:
        premises = bench.premises.for_theorem(task.theorem)
        found, calls = await rollouts(root, env, asked, premises, task.rollouts, task.max_tactics, first)
        check = checker(env, root)
        written_out = [await checked_script(r.proof, check) if r.proof is not None else None for r in found]
    finally:
        await bench.pool.free([root])
    rows = [
        {
            "script": script,
            "decisions": [(d.state, d.premises, d.tactic, d.logprob) for d in r.decisions if d.tactic],
            "steps": [n for d, n in zip(r.decisions, r.steps, strict=True) if d.tactic],
            "calls": [(d.sampled.prompt, d.sampled.answer, d.sampled.logprobs) for d in r.decisions if d.sampled],
            "ended": r.ended,
            "closed": r.closed,
        }
        for r, script in zip(found, written_out, strict=True)
    ]
    return _of_rollouts(task, root, rows, calls, calls, asked.version, began)


async def _whole_proofs(task: Task, bench: Workbench, env: Any, root: ProofState, began: float) -> Found:
    if bench.writer is None:
        raise ValueError("whole proofs need a model, but none is loaded")
    asked = Asked(bench.writer)
    try:
        rows, calls, first = await whole_proofs(task.theorem, root, env, asked, task.rollouts, task.turns)
    finally:
        await bench.pool.free([root])
    return _of_rollouts(task, root, rows, calls, first, asked.version, began)


def _of_rollouts(
    task: Task, root: ProofState, rows: list[dict[str, Any]], calls: int, first: int | None, version: int, began: float
) -> Found:
    """The result of a group of rollouts. `first`: Lean calls until the first proof."""
    bound = [name for g in root.goals for name, _ in g.hypotheses] if task.theorem.library is not None else []
    scripts = [r["script"] for r in rows if r["script"] is not None]
    ended = Counter(r["ended"] for r in rows)
    return Found(
        task.theorem,
        "proved" if scripts else "exhausted",
        calls,
        first if scripts else None,
        time.monotonic() - began,
        min(scripts, key=len, default=None),
        stats={"rollouts": len(rows), "ended": dict(ended), "claimed": len(scripts), "bound": bound},
        model_version=version,
        rollouts=rows,
    )


async def _open(theorem: Theorem, pool: LeanPool) -> ProofState:
    for chance in range(1, OPENINGS + 1):
        try:
            return await pool.open(theorem)
        except LeanDied:
            if chance == OPENINGS:
                raise
    raise AssertionError("unreachable")


async def _try_more_tactics(
    task: Task, bench: Workbench, env: Any, root: ProofState, examples: list[Any]
) -> tuple[list[Any], int]:
    """Try further tactics on the first goal and add those that close it. Returns (examples, Lean calls)."""
    first = examples[0]
    known = {t for t, _ in first.best} | {t for t, _ in first.errors}
    query = Query(root, bench.premises.for_theorem(task.theorem)(root))
    tactics = [s.tactic for s in bench.portfolio.suggest([query], 16)[0]]
    tactics += [s.tactic for s in bench.explorer.suggest([query], 3 * task.harvest)[0]]
    actions = bench.config.actions if bench.config.strict else "full"
    fresh = [t for t in dict.fromkeys(tactics) if t not in known and permitted(t, actions)][: task.harvest]
    results = await env.step(root, fresh)
    closing = [(t, 1) for t, r in zip(fresh, results, strict=True) if r.solved]
    await bench.pool.free([s for r in results for s in r.states])
    best = tuple(sorted([*first.best, *closing], key=lambda p: p[1]))
    return [replace(first, best=best, steps=best[0][1], tried=(*first.tried, *fresh)), *examples[1:]], len(fresh)


def entropy(graph: Graph) -> float | None:
    """Mean entropy, in nats, of the policy over the model's suggestions at the expanded goals.

    Uses the mixture's probabilities, renormalised without the explorer's tactics. None if the model suggested nothing.
    """
    found = []
    for node in graph.nodes.values():
        said = [math.exp(e.logprob) for e in node.edges if e.source == "model"]  # priors are flattened
        if said and (total := sum(said)) > 0:
            found.append(-sum(p / total * math.log(p / total) for p in said if p > 0))
    return round(sum(found) / len(found), 4) if found else None


def predictions(graph: Graph) -> list[tuple[float, int | None]]:
    """(predicted value in [0, 1], tactics in the shortest proof found; None if open after `ENOUGH_VISITS` visits) per goal.

    Skips other open goals, and the root, for which the search requests no value.
    """
    found: list[tuple[float, int | None]] = []
    for node in graph.nodes.values():
        if node is graph.root or node.initial == graph.config.unknown_value:
            continue
        if node.status == SOLVED:
            found.append((round(node.initial, 4), int(node.steps)))
        elif node.visits >= ENOUGH_VISITS:
            found.append((round(node.initial, 4), None))
        if len(found) == PREDICTIONS_KEPT:
            break
    return found
