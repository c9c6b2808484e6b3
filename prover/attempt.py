"""One attempt at one goal: search with one policy after another, and the shortest script that Lean still takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from prover.lean.theorem import ProofState, Theorem
from prover.models.base import Policy
from prover.search import Budget, Environment, Search, SearchConfig, minimise, to_script, tree_page


@dataclass(frozen=True)
class Prover:
    """A policy and how to search with it."""

    name: str
    policy: Policy
    config: SearchConfig
    value: Any = None
    wants_premises: bool = False


@dataclass(frozen=True)
class Found:
    """How an attempt ended, before the audit."""

    outcome: str
    """`found`, `exhausted`, `budget` or `error`."""
    script: str = ""
    lean_calls: int = 0
    seconds: float = 0.0
    message: str = ""
    prover: str = ""
    page: str = ""
    """The last search as an HTML page, if asked for."""


async def attempt(
    theorem: Theorem,
    root: ProofState,
    env: Environment,
    provers: Sequence[Prover],
    budget: int,
    premises: Callable[[ProofState], Sequence[str]] | None = None,
    page: bool = False,
) -> Found:
    """Search for a proof of `root` with at most `budget` Lean calls in all, spent on the provers in turn.

    `root` stays open. Minimising makes up to 32 Lean calls more.
    """
    began = perf_counter()
    calls = 0
    outcome, message, html = "exhausted", "", ""
    for prover in provers:
        if calls >= budget:
            outcome = "budget"
            break
        held = _Shared(env, root)
        search = Search(
            root, held, prover.policy, prover.value, config=prover.config,
            premises=premises if prover.wants_premises else None,
        )  # fmt: skip
        try:
            # The wall clock only ends what would otherwise never end: a Lean call has its own limit.
            result = await search.run(Budget(lean_calls=budget - calls, seconds=60.0 + 15.0 * budget))
            calls += result.lean_calls
            outcome, message = result.outcome, result.message
            html = tree_page(search.graph, theorem.name) if page else ""
            if result.outcome == "proved" and result.proof is not None:
                script = await _shortest(theorem, root, env, result.proof)
                return Found("found", script, calls, perf_counter() - began, "", prover.name, html)
        finally:
            await search.close()
    return Found(outcome, "", calls, perf_counter() - began, message, "", html)


async def _shortest(theorem: Theorem, root: ProofState, env: Environment, tree: Any) -> str:
    async def check(script: str) -> bool:
        (result,) = await env.step(root, (script,))
        await env.free([s for s in result.states])
        return result.solved

    if tree.size == 1 and "<;>" not in tree.tactic and "[" not in tree.tactic:
        return to_script(tree)
    return (await minimise(theorem, tree, check, max_checks=32)).script


class _Shared:
    """An environment whose root outlives a search, so that the next search can start from it."""

    def __init__(self, env: Environment, root: ProofState) -> None:
        self._env = env
        self._root = root.id

    async def step(self, state: ProofState, tactics: Sequence[str]) -> Any:
        return await self._env.step(state, tactics)

    async def free(self, states: Sequence[ProofState]) -> None:
        await self._env.free([s for s in states if s.id != self._root])
