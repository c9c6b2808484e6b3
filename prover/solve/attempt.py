"""One attempt at one goal: search with one policy after another, and the shortest script that Lean still takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from prover.errors import PromptTooLong
from prover.lean.theorem import ProofState, Theorem
from prover.models.base import Policy
from prover.pages.tree import tree_page
from prover.search import Budget, Environment, Search, SearchConfig, SearchResult, checker, minimise
from prover.search.budget import NO_LIMIT
from prover.search.interleave import search_both
from prover.search.tree_summary import tree_summary
from prover.solve.whole_proof import Seeded, write_proofs

if TYPE_CHECKING:
    from prover.premises.retrieve import PremiseSource

Premises = Callable[[ProofState], Sequence[str]] | None


@dataclass(frozen=True)
class Prover:
    """A policy and how to search with it."""

    name: str
    policy: Policy
    config: SearchConfig
    value: Any = None
    wants_premises: bool = False
    source: PremiseSource | None = None
    """Where its premises come from, as it was trained; None: where everybody's do."""
    writer: Any = None
    """Writes whole proofs (whole_proof.Writer); `policy` then goes on from what was right in them."""


@dataclass(frozen=True)
class Negated:
    """The negation of a theorem, opened, and the share of the Lean calls that goes to it."""

    theorem: Theorem
    root: ProofState
    rate: float


@dataclass(frozen=True)
class Found:
    """How an attempt ended, before the audit."""

    outcome: str
    """`found`, `refuted` (the script proves the negation), `exhausted`, `budget` or `error`."""
    script: str = ""
    lean_calls: int = 0
    seconds: float = 0.0
    message: str = ""
    prover: str = ""
    page: str = ""
    """The last search as an HTML page, if asked for."""
    outline: dict[str, Any] = field(default_factory=dict)
    """The last search, small (see prover.search.tree_summary)."""
    used_up: tuple[str, ...] = ()
    """Provers that have nothing left to try here, whatever the budget."""


async def attempt(
    theorem: Theorem,
    root: ProofState,
    env: Environment,
    provers: Sequence[Prover],
    budget: int,
    premises: Premises = None,
    page: bool = False,
    negated: Negated | None = None,
    skip: Collection[str] = (),
    within: Budget = NO_LIMIT,
) -> Found:
    """Search for a proof of `root` with at most `budget` Lean calls in all, spent on the provers in turn.

    `within`: limits besides, of wall time (minimising included) and of the searches' model tokens. `negated`: its negation is searched beside it,
    on the same budget. `skip`: provers to leave out. Roots stay open. Minimising makes up to 32 Lean calls more. Where Lean itself is gone, the outcome is `error`.
    """
    began = perf_counter()
    calls = tokens = 0
    crashed = False
    failed = ""
    """Why a prover did not get to search: then what the others exhausted is not all there was to try."""
    outcome, message, html = "exhausted", "", ""
    seen: dict[str, Any] = {}
    used_up = list(skip)
    for prover in provers:
        if prover.name in skip:
            continue
        if calls >= budget or within.exhausted(calls, tokens, perf_counter() - began):
            outcome = "budget"
            break
        policy = prover.policy
        if prover.writer is not None:
            try:
                written = await write_proofs(theorem, root, env, prover.writer, budget - calls)
            except PromptTooLong as e:
                outcome, message = "error", str(e)
                failed = failed or message
                continue
            calls += written.lean_calls
            if written.script is not None:
                return Found("found", written.script, calls, perf_counter() - began, "", prover.name)
            policy = Seeded(written.seeds, policy)
            outcome, message = "budget", written.error
            if calls >= budget:
                break
        offered = _offered(prover, theorem.imports, premises)
        searches = [_search(prover, policy, root, env, offered)]
        if negated is not None and negated.rate > 0:
            searches.append(_search(prover, prover.policy, negated.root, env, offered))
        try:
            # The wall clock only ends what would otherwise never end: a Lean call has its own limit.
            longest = 60.0 + 15.0 * budget
            left = within.remaining(calls, tokens, perf_counter() - began)
            seconds = longest if left.seconds is None else min(longest, left.seconds)
            limit = replace(left, lean_calls=budget - calls, seconds=seconds)
            results = await _run(searches, limit, negated.rate if negated else 0.0)
            calls += sum(r.lean_calls for r in results)
            tokens += sum(r.stats.model_tokens for r in results)
            crashed = crashed or any("crash" in r.stats.errors for r in results)
            outcome, message = results[0].outcome, results[0].message
            if outcome == "error":
                failed = failed or message
            proved = next((i for i, r in enumerate(results) if r.outcome == "proved" and r.proof is not None), None)
            shown = searches[proved or 0].graph
            html = tree_page(shown, theorem.name) if page else ""
            seen = tree_summary(shown)
            if proved is not None:
                target, state = (theorem, root) if proved == 0 or negated is None else (negated.theorem, negated.root)
                left = within.remaining(calls, tokens, perf_counter() - began)
                script = await _shortest(target, state, env, results[proved].proof, left.seconds)
                kind = "refuted" if proved else "found"
                return Found(kind, script, calls, perf_counter() - began, "", prover.name, html, seen, tuple(used_up))
            if all(r.outcome == "exhausted" for r in results):
                used_up.append(prover.name)
        except PromptTooLong as e:
            calls += sum(s.recorder.counts["lean_calls"] for s in searches)
            outcome, message = "error", str(e)
            failed = failed or message
        finally:
            for search in searches:
                await search.close()
    if failed and outcome == "exhausted":
        outcome, message = "error", failed
    if crashed and outcome in ("exhausted", "budget") and (gone := await _gone(root, env)):
        outcome, message, used_up = "error", gone, list(skip)
    return Found(outcome, "", calls, perf_counter() - began, message, "", html, seen, tuple(used_up))


async def _gone(root: ProofState, env: Environment) -> str:
    """Why Lean answers nothing any more; empty where it does. Crashes may be the tactics' fault, or all be its own."""
    (result,) = await env.step(root, ("skip",))
    await env.free(result.states)
    return result.message if result.status == "crash" else ""


def _offered(prover: Prover, imports: tuple[str, ...], premises: Premises) -> Premises:
    if not prover.wants_premises:
        return None
    return prover.source.for_theorem(imports) if prover.source is not None else premises


def _search(prover: Prover, policy: Policy, root: ProofState, env: Environment, premises: Premises) -> Search:
    return Search(root, _Shared(env, root), policy, prover.value, config=prover.config, premises=premises)


async def _run(searches: Sequence[Search], limit: Budget, rate: float) -> Sequence[SearchResult]:
    if len(searches) == 1:
        return [await searches[0].run(limit)]
    return await search_both(searches[0], searches[1], limit, rate, slice_calls=16)


async def _shortest(theorem: Theorem, root: ProofState, env: Environment, tree: Any, seconds: float | None) -> str:
    proof = await minimise(
        theorem, tree, checker(env, root), max_checks=32, seconds=math.inf if seconds is None else seconds
    )
    return proof.script


class _Shared:
    """An environment whose root outlives a search, so that the next search can start from it."""

    def __init__(self, env: Environment, root: ProofState) -> None:
        self._env = env
        self._root = root.id

    async def step(self, state: ProofState, tactics: Sequence[str]) -> Any:
        return await self._env.step(state, tactics)

    async def free(self, states: Sequence[ProofState]) -> None:
        await self._env.free([s for s in states if s.id != self._root])
