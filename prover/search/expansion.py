"""What walks end in: ask the policy about a goal, try a tactic in Lean, record and value what came back."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol

from prover.lean.theorem import ProofState, StepResult
from prover.models.base import Policy, Query, Value, tokens
from prover.search.extract import last_call
from prover.search.graph import DUPLICATE, FAILED, OPEN, SOLVED, Edge, Graph, Node
from prover.search.lean_queries import ANSWERS, answers, as_suggestions, parse_questions, premises_in, with_questions
from prover.search.model_queue import ModelQueue
from prover.search.select import backup, combine, renew
from prover.search.states import States
from prover.search.stats import Tally


class Environment(Protocol):
    """What a search runs on: Lean, or anything that steps like it."""

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        """One Lean call for each tactic; answers in order."""
        ...

    async def free(self, states: Sequence[ProofState]) -> None:
        """These states are not used any more."""
        ...


Premises = Callable[[ProofState], Sequence[str]]
"""Names of library constants to offer for a state, best first."""


class Attempts:
    """The actions that walks end in, over one graph, one environment and one pair of models.

    Each keeps the graph sound when it is cancelled or a model raises.
    """

    def __init__(
        self,
        graph: Graph,
        env: Environment,
        policy: Policy,
        value: Value | None,
        premises: Premises | None,
        tally: Tally,
        forbidden: frozenset[str] = frozenset(),
    ) -> None:
        config = graph.config
        self._questions = parse_questions(config.questions)
        self._forbidden = forbidden
        self._graph = graph
        self._config = config
        self._env = env
        self._value = value
        self._premises = premises
        self._policy = policy
        self._meters = (tally.lean, tally.either)
        self._exceptions = 0
        self.tally = tally
        self.models = ModelQueue(policy, value, config, (tally.model, tally.either))
        self.states = States(graph, self._step, env.free, tally.counts)
        self.limit: int | None = None
        """Lean calls that the current run may reach in all."""
        self.reserved = 0
        """Lean calls that walks under way are about to make."""
        self.over = False
        """The run is ending: begin nothing."""
        self.broken = ""
        """What the environment raised, once it raised too often in a row."""
        self.raised = ""
        """What the environment raised last."""

    def begin(self, limit: int | None) -> None:
        """A run begins."""
        self.limit = limit
        self.over = False
        self.broken = ""
        self._exceptions = 0

    def may_call(self) -> bool:
        """Whether the budget has a Lean call that no other walk has reserved."""
        return self.limit is None or self.tally.counts["lean_calls"] + self.reserved < self.limit

    def solved_enough(self) -> bool:
        return self._graph.root.status == SOLVED and not self._config.keep_improving

    async def hold(self, edge: Edge) -> bool:
        """Obtain again the state that a taken tactic is for; where that fails, so does the tactic."""
        try:
            if await self.states.obtain(edge.parent):
                return True
        except BaseException:
            self._graph.put_back(edge)
            raise
        self.tally.errors["replay"] += 1
        self._graph.fail(edge, "replay", "the state could not be obtained again")
        return False

    async def expand(self, node: Node) -> Edge | None:
        """Ask the policy about a node; take its first tactic, if there is still a reason to try it."""
        began = perf_counter()
        node.expanding = True
        done = False
        try:
            query = self._query(node)
            self.tally.own_s += perf_counter() - began
            offered = await self.models.suggest(query)
            began = perf_counter()
            self.tally.counts["expansions"] += 1
            self.tally.counts["model_tokens"] += tokens(self._policy, query, offered)
            if self._questions and query.attempt == 0:
                offered = with_questions(offered, self._questions)
            self._graph.add_suggestions(node, offered)
            done = True
        finally:
            if not done:
                node.expanding = False
                if node.relevant:
                    self._graph.entered.append(node)  # a frontier drops what is being expanded
        if node.relevant:
            self._graph.entered.append(node)
        self.states.tidy()
        edge = None
        if node.untried and node.relevant and not self.over and not self.solved_enough():
            edge = node.untried[-1]
            self._graph.take(edge)
        self.tally.own_s += perf_counter() - began
        return edge

    def _query(self, node: Node) -> Query:
        if self._premises is not None and not node.premises:
            node.premises = tuple(self._premises(node.state))
        return Query(node.state, node.premises, node.expansions)

    async def try_edge(self, edge: Edge) -> list[Node]:
        """Send a taken tactic to Lean and record what it gave: the new nodes, valued if there is a value model."""
        self.tally.counts["lean_calls"] += 1
        edge.call = self.tally.counts["lean_calls"]
        try:
            result = await self._step(edge.parent.state, edge.tactic)
        except BaseException:  # cancelled: as if never sent
            self._graph.put_back(edge)
            raise
        began = perf_counter()
        fresh = self._record(edge, result)
        self.states.tidy()
        if self._graph.root.status == SOLVED and self.tally.lean_calls_to_solve is None:
            # Not all made so far: what else was in flight had no part in it.
            self.tally.lean_calls_to_solve = last_call(self._graph)
        fresh_open = [n for n in fresh if n.status == OPEN] if self._value is not None else []
        if fresh_open and not self.solved_enough():
            queries = [self._query(n) for n in fresh_open]
            self.tally.own_s += perf_counter() - began
            estimates = await self.models.evaluate(queries)
            began = perf_counter()
            if self._value is not None and hasattr(self._value, "count_tokens"):  # others are no language models
                self.tally.counts["model_tokens"] += sum(tokens(self._value, q) for q in queries)
            for child, estimate in zip(fresh_open, estimates, strict=True):
                self._set_value(child, min(1.0, self._config.discount ** max(0.0, estimate.steps)))
        self.tally.own_s += perf_counter() - began
        return fresh

    def _record(self, edge: Edge, result: StepResult) -> list[Node]:
        graph = self._graph
        if edge.tactic in self._questions:
            self._hear(edge, result)
            return []
        if not result.ok:
            self.tally.errors[result.status] += 1
            graph.fail(edge, result.status, result.message)
            return []
        fresh, surplus = graph.apply(edge, result)
        self.states.surplus += surplus
        if edge.status == DUPLICATE:
            self.tally.counts["duplicates"] += 1
        elif edge.error == "cycle":
            self.tally.errors["cycle"] += 1
        elif edge.status == OPEN:
            edge.value = combine(edge, self._config)
        return fresh

    def _hear(self, edge: Edge, result: StepResult) -> None:
        """Put what Lean answered to a question before the goal's other tactics and premises. The question itself fails."""
        node = edge.parent
        self.states.surplus += result.states
        said = answers(result.said, self._forbidden)[:ANSWERS]
        node.premises = tuple(dict.fromkeys([*premises_in(said, node.state), *node.premises]))
        best = max(e.logprob for e in node.edges)
        if self._graph.offer(node, as_suggestions(said, best)) and node.relevant:
            self._graph.entered.append(node)
        self._graph.fail(edge, "question", result.message or f"{len(said)} answers")

    def _set_value(self, node: Node, value: float) -> None:
        node.initial = value
        renew(node)

    async def roll_out(self, fresh: list[Node]) -> None:
        """From one of the new goals follow tactics as the policy draws them; a proof of the goal followed to is worth
        discount ** tactics to every goal on the way, anything else 0."""
        rng = random.Random(f"{self._config.seed}/{self.tally.counts['lean_calls']}")
        met: list[tuple[Node, Edge]] = []
        worth = 0.0
        open_ = [n for n in fresh if n.status == OPEN]
        while len(met) < self._config.rollout_depth and not self.over and self.may_call():
            open_ = [n for n in open_ if n.relevant]  # not beside a goal that failed meanwhile
            if not open_ or self._graph.root.status == FAILED or self.solved_enough():
                break
            node = rng.choice(open_)
            edge = await self._draw(node, rng)
            if edge is None:
                break
            met.append((node, edge))
            fresh = await self.try_edge(edge)
            backup([node], [edge], float(bool(fresh)), self._config)
            if edge.status == SOLVED:
                worth = 1.0
                break
            open_ = [n for n in fresh if n.status == OPEN]
        if met and not worth:
            for node in open_:
                self._set_value(node, 0.0)
        for node, edge in reversed(met):
            if edge.status == OPEN:
                edge.value = combine(edge, self._config)  # of what the rollout says, not of what was taken before it
            worth *= self._config.discount
            self._set_value(node, worth)

    async def _draw(self, node: Node, rng: random.Random) -> Edge | None:
        """A tactic drawn for a rollout as the policy says it, taken and ready for Lean; None where there is none to try."""
        self.reserved += 1
        edge = None
        try:
            if node.expansions == 0:
                if node.expanding:
                    return None
                first = await self.expand(node)
                if first is not None:
                    self._graph.put_back(first)
            if not node.untried or self.over:
                return None
            # Not by priors: what flattens those for PUCT would spoil the sample.
            top = max(e.logprob for e in node.untried)
            edge = rng.choices(node.untried, [math.exp(e.logprob - top) for e in node.untried])[0]
            self._graph.take(edge)
            if node.held or await self.hold(edge):
                return edge
            return None
        finally:
            self.reserved -= 1

    async def _step(self, state: ProofState, tactic: str) -> StepResult:
        """One Lean call. What the environment raises fails the tactic as a crash; many in a row end the search."""
        for meter in self._meters:
            meter.enter()
        try:
            (result,) = await self._env.step(state, (tactic,))
        except Exception as error:
            self._exceptions += 1
            self.tally.counts["raised"] += 1
            self.raised = message = f"{type(error).__name__}: {error}"
            if self._exceptions >= self._config.max_exceptions:
                self.broken = message
            return StepResult("crash", message=message)
        else:
            self._exceptions = 0
            return result
        finally:
            for meter in self._meters:
                meter.leave()
