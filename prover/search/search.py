"""The search loop: concurrent simulations on one graph, each with one Lean call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter

from prover.lean.theorem import ProofState
from prover.models.base import Policy, Value
from prover.search import store
from prover.search.budget import Budget
from prover.search.config import SearchConfig
from prover.search.examples import Example, examples
from prover.search.expansion import Environment, Expander, Premises
from prover.search.extract import proof_tree
from prover.search.graph import FAILED, OPEN, SOLVED, Graph
from prover.search.select import Frontier, backup, rule_named
from prover.search.simulation import SearchPath, descend, descend_shorter, follow_supports
from prover.search.stats import SearchOutcome, SearchResult, SearchStats, StatsRecorder


class Search:
    """A search for a proof of `root`. It can be run repeatedly, each time with a further budget, and saved between runs.

    `config.selection` names the selection rule. With `in_flight=1` and equal seed, models and budget in Lean calls, a
    search is deterministic. The search owns `root`; `close` frees it with all other states.
    """

    def __init__(
        self,
        root: ProofState,
        env: Environment,
        policy: Policy,
        value: Value | None = None,
        *,
        config: SearchConfig | None = None,
        premises: Premises | None = None,
    ) -> None:
        self.config = config or SearchConfig()
        self.graph = Graph(root, self.config)
        self._rule = rule_named(self.config.selection)
        self._frontier = Frontier(self._rule.priority, self.graph) if self._rule.priority else None
        self.recorder = StatsRecorder()
        self.expander = Expander(self.graph, env, policy, value, premises, self.recorder)
        self._outcome: SearchOutcome | None = None
        self._active = 0
        self._idle: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self._running = False

    async def run(self, budget: Budget | None = None) -> SearchResult:
        """Search until the root is solved, nothing is left to try, or the budget (None: no limit) is spent.

        Waits for simulations in flight, so that none of their marks remains. Exceptions of a model are raised here and leave
        the graph consistent. Raises RuntimeError if the search is closed or running.
        """
        if self._closed or self._running:
            raise RuntimeError("this search is closed" if self._closed else "this search is running already")
        budget = budget or Budget()
        self._running = True
        self._outcome = None
        recorder, counts = self.recorder, self.recorder.counts
        start = perf_counter()
        seconds, tokens, calls = recorder.seconds, counts["model_tokens"], counts["lean_calls"]
        self.expander.begin(None if budget.lean_calls is None else calls + budget.lean_calls)

        def spent() -> bool:
            used = perf_counter() - start
            recorder.seconds = seconds + used
            return budget.exhausted(counts["lean_calls"] - calls, counts["model_tokens"] - tokens, used)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.config.in_flight):
                    group.create_task(self._work(spent))
            await self.expander.states.flush()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            self._running = False
            recorder.seconds = seconds + perf_counter() - start
        return self.result()

    def result(self) -> SearchResult:
        """The current state of the search."""
        outcome: SearchOutcome = self._outcome or "budget"
        if self.graph.root.status != OPEN and outcome != "error":
            outcome = "proved" if self.graph.root.status == SOLVED else "exhausted"
        recorder, message = self.recorder, self.expander.fatal_error
        if outcome == "exhausted":  # an error if some tactics could not be tried
            if recorder.counts["raised"]:
                outcome, message = "error", self.expander.last_error or "Lean calls raised in an earlier run"
            elif lost := recorder.errors["replay"]:
                outcome, message = (
                    "error",
                    f"{lost} tactics were not tried: their goals could not be restored by replay",
                )
        return SearchResult(
            outcome,
            proof_tree(self.graph),
            recorder.counts["lean_calls"],
            recorder.lean_calls_to_solve,
            self.stats(),
            message,
        )

    def stats(self) -> SearchStats:
        """Counts and times so far."""
        return self.recorder.stats(len(self.graph.nodes), self.graph.edge_count, self.expander.models.calls)

    def examples(self) -> list[Example]:
        """A training example for each expanded goal."""
        return examples(self.graph)

    async def close(self) -> None:
        """Free all states of this search. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        await self.expander.close()

    def to_bytes(self) -> bytes:
        """The whole search as bytes. Raises RuntimeError during a run."""
        if self._running:
            raise RuntimeError("a running search cannot be saved; wait for run() to return")
        return store.dump(self)

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        root: ProofState,
        env: Environment,
        policy: Policy,
        value: Value | None = None,
        *,
        premises: Premises | None = None,
    ) -> Search:
        """Restore a search from `to_bytes`. `root` is a newly opened state of the same theorem.

        Other states are restored by replay when they are first needed. Raises ValueError if `root` is another theorem.
        """
        config, restore = store.load(data, root)
        search = cls(root, env, policy, value, config=config, premises=premises)
        restore(search)
        return search

    async def _work(self, spent: Callable[[], bool]) -> None:
        """One of `in_flight` workers: runs simulations until the search ends."""
        expander = self.expander
        while self._outcome is None:
            began = perf_counter()
            path = None
            if expander.fatal_error:
                self._end("error")
            elif expander.solved_enough():
                self._end("proved")
            elif spent():
                self._end("budget")
            elif expander.may_call():
                path = self._select()
            self.recorder.own_s += perf_counter() - began
            if self._outcome is not None:
                break
            if path is None:
                if not self._active:
                    self._end("exhausted")
                    break
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._idle.append(waiter)
                await waiter
                continue
            self._active += 1
            self._mark(path, 1)
            self._wake()
            try:
                await self._simulate(path)
            finally:
                self._mark(path, -1)
                self._active -= 1
                self._wake()

    def _end(self, outcome: SearchOutcome) -> None:
        if self._outcome is None:
            self._outcome = outcome
            self.expander.stopping = True
        while self._idle:
            self._wake()

    def _wake(self) -> None:
        """Let one idle worker select a path; if it finds one, it wakes the next worker."""
        while self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _select(self) -> SearchPath | None:
        graph = self.graph
        if graph.root.status == FAILED:
            return None
        if self._frontier is not None:
            self._frontier.push(graph.entered)
            graph.entered.clear()
            found = self._frontier.next()
            return None if found is None else SearchPath([found[0]], [found[1]] if found[1] else [])
        graph.entered.clear()
        assert self._rule.select_edge is not None
        if graph.root.status == SOLVED:
            return descend_shorter(graph, self._rule.select_edge, self.config)
        path = descend(graph, self._rule.select_edge, self.config, self._rule.waits)
        if path is None and not self._active:
            path = follow_supports(graph)
        return path

    def _mark(self, path: SearchPath, by: int) -> None:
        """Add `by` to the counts of simulations in flight on a path. With `by` > 0, also claim an untried tactic at its end."""
        for node in path.nodes:
            node.virtual += by
        for edge in path.edges:
            edge.virtual += by
        if by > 0 and len(path.edges) == len(path.nodes):
            self.graph.claim(path.edges[-1])

    async def _simulate(self, path: SearchPath) -> None:
        """Expand the last node of a path if necessary, try a tactic, roll out if the rule says so, and back up."""
        nodes, edges = path
        if not await self._prepare(path):
            return
        self._wake()  # the expanded node may have more tactics to try
        edge = edges[-1]
        fresh = await self.expander.try_edge(edge)
        self._wake()  # a rollout takes many calls
        solved = edge.status == SOLVED
        if self._rule.rollouts and fresh and not solved:
            await self.expander.roll_out(fresh)
        began = perf_counter()
        backup(nodes, edges, 1.0 if fresh or solved else 0.0, self.config)
        self.recorder.own_s += perf_counter() - began

    async def _prepare(self, path: SearchPath) -> bool:
        """Reserve a Lean call, claim a tactic and restore its state. False where the path leads to nothing to try."""
        nodes, edges = path
        node = nodes[-1]
        expander = self.expander
        expander.reserved += 1
        try:
            if len(edges) < len(nodes):
                edge = await expander.expand(node)
                if edge is None:
                    return False
                edges.append(edge)
                edge.virtual += 1
            return node.has_state or await expander.restore_state(edges[-1])
        finally:
            expander.reserved -= 1
