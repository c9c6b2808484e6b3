"""The leaf of a simulation: ask the policy about a goal, try a tactic in Lean, record and evaluate the result."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Protocol

from prover.lean.theorem import ProofState, StepResult
from prover.models.base import Policy, Query, Value, ValueEstimate, count_tokens
from prover.models.inference_client import Answers, InferenceClient, LocalModel
from prover.search.backward import goal_between, with_backward_steps
from prover.search.extract import last_call
from prover.search.graph import DUPLICATE, FAILED, OPEN, SOLVED, Edge, Graph, Node
from prover.search.lean_queries import (
    MAX_ANSWERS,
    answers,
    as_suggestions,
    parse_questions,
    premises_in,
    with_questions,
)
from prover.search.select import backup, edge_value, update_value
from prover.search.states import StateManager
from prover.search.stats import StatsRecorder


class Environment(Protocol):
    """The environment of a search: Lean, or anything that steps like it."""

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        """Run each tactic on `state`, one Lean call each. Results are in order."""
        ...

    async def free(self, states: Sequence[ProofState]) -> None:
        """Release states that the search no longer uses."""
        ...


Premises = Callable[[ProofState], Sequence[str]]
"""Names of library constants to offer for a state, best first."""


class Expander:
    """Expands goals and tries tactics, over one graph, one environment, one policy and one value.

    Every method leaves the graph consistent when it is cancelled or a model raises.
    """

    def __init__(
        self,
        graph: Graph,
        env: Environment,
        policy: Policy,
        value: Value | None,
        premises: Premises | None,
        recorder: StatsRecorder,
    ) -> None:
        config = graph.config
        self.premises = premises
        self.recorder = recorder
        self.models = InferenceClient(self._call_models, config.suggestions)
        self.states = StateManager(graph, self._step, env.free, recorder.counts)
        self.limit: int | None = None
        """Total Lean calls that the current run may reach."""
        self.reserved = 0
        """Lean calls that simulations under way are about to make."""
        self.stopping = False
        """The run is ending: start nothing new."""
        self.fatal_error = ""
        """The environment's last exception, once `max_exceptions` came in a row."""
        self.last_error = ""
        """The environment's last exception."""
        self._questions = parse_questions(config.questions)
        self._graph = graph
        self._config = config
        self._env = env
        self._policy = policy
        self._value = value
        self._local = LocalModel(policy, value, thread=config.model_thread)
        self._exceptions = 0

    def begin(self, limit: int | None) -> None:
        self.limit = limit
        self.stopping = False
        self.fatal_error = ""
        self._exceptions = 0

    async def close(self) -> None:
        self._local.close()
        await self.states.close()

    def may_call(self) -> bool:
        """Whether the budget has a Lean call that no other simulation has reserved."""
        return self.limit is None or self.recorder.counts["lean_calls"] + self.reserved < self.limit

    def solved_enough(self) -> bool:
        return self._graph.root.status == SOLVED and not self._config.keep_improving

    async def restore_state(self, edge: Edge) -> bool:
        """Restore the state that a claimed tactic applies to. Fails the tactic where that is not possible."""
        try:
            if await self.states.restore(edge.parent):
                return True
        except BaseException:
            self._graph.release(edge)
            raise
        self.recorder.errors["replay"] += 1
        self._graph.fail(edge, "replay", "the state could not be restored by replay")
        return False

    async def expand(self, node: Node) -> Edge | None:
        """Ask the policy about a node. Claims and returns its first tactic, unless there is no reason to try it."""
        began = perf_counter()
        node.expanding = True
        done = False
        try:
            query = self._query(node)
            backward = self._config.backward if query.attempt == 0 else 0  # later expansions do not insist on it
            if backward:
                query = replace(query, towards=goal_between(node))
            self.recorder.own_s += perf_counter() - began
            (suggestions,) = await self.models.suggest([query], self._config.suggestions)
            began = perf_counter()
            self.recorder.counts["expansions"] += 1
            self.recorder.counts["model_tokens"] += count_tokens(self._policy, query, suggestions)
            if backward:
                suggestions = with_backward_steps(suggestions, node.state.goals[0], backward)
            if self._questions and query.attempt == 0:
                suggestions = with_questions(suggestions, self._questions)
            self._graph.add_suggestions(node, suggestions)
            done = True
        finally:
            if not done:
                node.expanding = False
            if node.relevant:
                self._graph.entered.append(node)  # a frontier drops nodes that are being expanded
        self.states.free_unused()
        edge = None
        if node.untried and node.relevant and not self.stopping and not self.solved_enough():
            edge = node.untried[-1]
            self._graph.claim(edge)
        self.recorder.own_s += perf_counter() - began
        return edge

    def _query(self, node: Node) -> Query:
        if self.premises is not None and not node.premises:
            node.premises = tuple(self.premises(node.state))
        return Query(node.state, node.premises, node.expansions)

    async def try_edge(self, edge: Edge) -> list[Node]:
        """Send a claimed tactic to Lean and record the result. Returns the new nodes, evaluated if there is a value."""
        self.recorder.counts["lean_calls"] += 1
        edge.call = self.recorder.counts["lean_calls"]
        try:
            result = await self._step(edge.parent.state, edge.tactic)
        except BaseException:  # cancelled: do not count the call
            self._graph.release(edge)
            raise
        began = perf_counter()
        fresh = self._record(edge, result)
        self.states.free_unused()
        if self._graph.root.status == SOLVED and self.recorder.lean_calls_to_solve is None:
            # Not the number of calls so far: some of those in flight are not part of the proof.
            self.recorder.lean_calls_to_solve = last_call(self._graph)
        fresh_open = [n for n in fresh if n.status == OPEN] if self._value is not None else []
        if fresh_open and not self.solved_enough():
            queries = [self._query(n) for n in fresh_open]
            self.recorder.own_s += perf_counter() - began
            estimates = await self._evaluate(fresh_open, queries)
            began = perf_counter()
            if self._value is not None and hasattr(self._value, "count_tokens"):  # only language models have it
                self.recorder.counts["model_tokens"] += sum(count_tokens(self._value, q) for q in queries)
            for child, estimate in zip(fresh_open, estimates, strict=True):
                self._set_value(child, min(1.0, estimate.value(self._config.discount)))
        self.recorder.own_s += perf_counter() - began
        return fresh

    async def _evaluate(self, nodes: Sequence[Node], queries: Sequence[Query]) -> Sequence[ValueEstimate]:
        """Ask the value about new goals. No simulation expands them before their values are known."""
        for node in nodes:
            node.expanding = True
        try:
            return await self.models.evaluate(queries)
        finally:
            for node in nodes:
                node.expanding = False
            self._graph.entered.extend(n for n in nodes if n.relevant)  # a frontier drops nodes that are being expanded

    def _record(self, edge: Edge, result: StepResult) -> list[Node]:
        graph = self._graph
        if edge.tactic in self._questions:
            self._record_answers(edge, result)
            return []
        if not result.ok:
            self.recorder.errors[result.status] += 1
            graph.fail(edge, result.status, result.message)
            return []
        fresh, surplus = graph.apply(edge, result)
        self.states.surplus += surplus
        if edge.status == DUPLICATE:
            self.recorder.counts["duplicates"] += 1
        elif edge.error == "cycle":
            self.recorder.errors["cycle"] += 1
        elif edge.status == OPEN:
            edge.value = edge_value(edge, self._config)
        return fresh

    def _record_answers(self, edge: Edge, result: StepResult) -> None:
        """Put Lean's answers to a question before the goal's other tactics and premises, and fail the question itself."""
        node = edge.parent
        self.states.surplus += result.states
        found = answers(result.said)[:MAX_ANSWERS]
        node.premises = tuple(dict.fromkeys([*premises_in(found, node.state), *node.premises]))
        best = max(e.logprob for e in node.edges)
        if self._graph.add_tactics(node, as_suggestions(found, best)) and node.relevant:
            self._graph.entered.append(node)
        self._graph.fail(edge, "question", result.message or f"{len(found)} answers")

    def _set_value(self, node: Node, value: float) -> None:
        node.initial = value
        update_value(node)

    async def roll_out(self, fresh: list[Node]) -> None:
        """Follow tactics sampled from the policy, starting at one of the new goals.

        A proof at the end is worth discount ** tactics to every goal on the way; any other end is worth 0.
        """
        rng = random.Random(f"{self._config.seed}/{self.recorder.counts['lean_calls']}")
        path: list[tuple[Node, Edge]] = []
        reward = 0.0
        open_ = [n for n in fresh if n.status == OPEN]
        while len(path) < self._config.rollout_depth and not self.stopping and self.may_call():
            open_ = [n for n in open_ if n.relevant]  # a sibling may have failed meanwhile
            if not open_ or self._graph.root.status == FAILED or self.solved_enough():
                break
            node = rng.choice(open_)
            edge = await self._sample(node, rng)
            if edge is None:
                break
            path.append((node, edge))
            fresh = await self.try_edge(edge)
            backup([node], [edge], float(bool(fresh)), self._config)
            if edge.status == SOLVED:
                reward = 1.0
                break
            open_ = [n for n in fresh if n.status == OPEN]
        if path and not reward:
            for node in open_:
                self._set_value(node, 0.0)
        for node, edge in reversed(path):
            if edge.status == OPEN:
                edge.value = edge_value(edge, self._config)  # the children's values changed in this rollout
            reward *= self._config.discount
            self._set_value(node, reward)

    async def _sample(self, node: Node, rng: random.Random) -> Edge | None:
        """Sample a tactic by the policy's probabilities, claim it and restore its state; None if there is none."""
        self.reserved += 1
        edge = None
        try:
            if node.expansions == 0:
                if node.expanding:
                    return None
                first = await self.expand(node)
                if first is not None:
                    self._graph.release(first)
            if not node.untried or self.stopping:
                return None
            # Log-probabilities, not priors: the temperature of PUCT would distort the sample.
            top = max(e.logprob for e in node.untried)
            edge = rng.choices(node.untried, [math.exp(e.logprob - top) for e in node.untried])[0]
            self._graph.claim(edge)
            if node.has_state or await self.restore_state(edge):
                return edge
            return None
        finally:
            self.reserved -= 1

    async def _call_models(self, policy: list[Query], value: list[Query], n: int) -> Answers:
        with self.recorder.model, self.recorder.either:
            return await self._local(policy, value, n)

    async def _step(self, state: ProofState, tactic: str) -> StepResult:
        """One Lean call. An exception fails the tactic as a crash; `max_exceptions` in a row end the search."""
        with self.recorder.lean, self.recorder.either:
            try:
                (result,) = await self._env.step(state, (tactic,))
            except Exception as error:
                self._exceptions += 1
                self.recorder.counts["raised"] += 1
                self.last_error = message = f"{type(error).__name__}: {error}"
                if self._exceptions >= self._config.max_exceptions:
                    self.fatal_error = message
                return StepResult("crash", message=message)
            self._exceptions = 0
            return result
