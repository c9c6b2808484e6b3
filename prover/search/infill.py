"""Infilling: a search from one goal to another one, which then counts as proved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from prover.lean.theorem import ProofState, StepResult
from prover.models.base import Policy, Query, Suggestion, count_tokens
from prover.search.expansion import Environment
from prover.search.extract import proof_edges
from prover.search.graph import Graph


class InfillPolicy:
    """A policy whose queries name the goal to reach."""

    def __init__(self, policy: Policy, goal: str) -> None:
        """`goal`: Goal.text."""
        self._policy = policy
        self._goal = goal

    def _told(self, query: Query) -> Query:
        return replace(query, towards=self._goal)

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return self._policy.suggest([self._told(q) for q in queries], n)

    def count_tokens(self, query: Query, suggestions: Sequence[Suggestion]) -> int:
        return count_tokens(self._policy, self._told(query), suggestions)


@dataclass
class InfillEnvironment:
    """An environment in which one goal needs no proof: steps omit it from their results. A search proves its root here if its tactics
    leave only that goal, or none.

    Goals are compared by `ProofState.shared`, as in a search's graph: up to the names of bound variables, so that the tactics that
    follow the goal in a proof still apply. The state to reach and the search's root belong to the caller.
    """

    env: Environment
    goal: ProofState
    arrivals: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """(`shared` of a state, tactic) of each step that led to the goal."""

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        results = await self.env.step(state, tactics)
        return [await self._without(state, t, r) for t, r in zip(tactics, results, strict=True)]

    async def _without(self, state: ProofState, tactic: str, result: StepResult) -> StepResult:
        left = {i: s for i, s in enumerate(result.states) if s.shared != self.goal.shared}
        if len(left) == len(result.states):
            return result
        self.arrivals.add((state.shared, tactic))
        await self.env.free([s for i, s in enumerate(result.states) if i not in left])
        place = {i: n for n, i in enumerate(left)}
        order = tuple((place[group], goal) for group, goal in result.order if group in place)
        return replace(result, states=tuple(left.values()), order=order)

    async def free(self, states: Sequence[ProofState]) -> None:
        await self.env.free(states)

    def reached(self, graph: Graph) -> bool:
        """Whether the shortest proof of a solved graph uses the goal. If not, it is a complete proof of the root."""
        return any((edge.parent.state.shared, edge.tactic) in self.arrivals for edge in proof_edges(graph))
