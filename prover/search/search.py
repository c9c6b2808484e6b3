"""The search loop: walks in flight over one graph, each good for one Lean call, models and Lean at work together."""

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
    """A search for a proof of `root`. Run it, run it again with more budget, or write it out while no run is under way.

    `config.selection` names the rule; everything else is shared. With `in_flight=1`, and the same seed, models and
    budget in Lean calls, a search repeats itself exactly. `forbidden`: names that no answer to a question may say. The
    search owns `root` and frees it, with all else, in `close`.
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
        forbidden: frozenset[str] = frozenset(),
    ) -> None:
        self.config = config or SearchConfig()
        self.graph = Graph(root, self.config)
        self._rule = rule_named(self.config.selection)
        self._frontier = Frontier(self._rule.priority, self.graph) if self._rule.priority else None
        self.recorder = StatsRecorder()
        self.expander = Expander(self.graph, env, policy, value, premises, self.recorder, forbidden)
        self._outcome: SearchOutcome | None = None
        self._active = 0
        self._idle: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self._running = False

    async def run(self, budget: Budget | None = None) -> SearchResult:
        """Search until solved, exhausted, or the budget is spent, and say how it stands. None: no limit.

        Returns when what was in flight has come back, so that a search at rest holds no virtual loss. What a model
        raises is raised here, with the graph left sound. RuntimeError if the search is closed or running.
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
        """How the search stands."""
        outcome: SearchOutcome = self._outcome or "budget"
        if self.graph.root.status != OPEN and outcome != "error":
            outcome = "proved" if self.graph.root.status == SOLVED else "exhausted"
        recorder, message = self.recorder, self.expander.fatal_error
        if outcome == "exhausted":  # but not everything was tried
            if recorder.counts["raised"]:
                outcome, message = "error", self.expander.last_error or "Lean calls raised in an earlier run"
            elif lost := recorder.errors["replay"]:
                outcome, message = "error", f"{lost} tactics were not tried: their goals could not be obtained again"
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
        """What the search teaches: an example for each goal that was expanded."""
        return examples(self.graph)

    async def close(self) -> None:
        """Free every state that the environment holds for this search. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        await self.expander.close()

    def to_bytes(self) -> bytes:
        """The whole search as bytes. RuntimeError while a run is under way."""
        if self._running:
            raise RuntimeError("a running search cannot be written; wait for run() to return")
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
        forbidden: frozenset[str] = frozenset(),
    ) -> Search:
        """A search as `to_bytes` wrote it, on the same theorem opened anew.

        Other states are obtained by replay when they are first needed. ValueError if `root` is another theorem.
        """
        config, restore = store.load(data, root)
        search = cls(root, env, policy, value, config=config, premises=premises, forbidden=forbidden)
        restore(search)
        return search

    async def _work(self, spent: Callable[[], bool]) -> None:
        """One of `in_flight` workers: walk after walk until the search ends."""
        expander = self.expander
        while self._outcome is None:
            began = perf_counter()
            walk = None
            if expander.fatal_error:
                self._end("error")
            elif expander.solved_enough():
                self._end("proved")
            elif spent():
                self._end("budget")
            elif expander.may_call():
                walk = self._select()
            self.recorder.own_s += perf_counter() - began
            if self._outcome is not None:
                break
            if walk is None:
                if not self._active:
                    self._end("exhausted")
                    break
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._idle.append(waiter)
                await waiter
                continue
            self._active += 1
            self._mark(walk, 1)
            self._wake()
            try:
                await self._simulate(walk)
            finally:
                self._mark(walk, -1)
                self._active -= 1
                self._wake()

    def _end(self, outcome: SearchOutcome) -> None:
        if self._outcome is None:
            self._outcome = outcome
            self.expander.stopping = True
        while self._idle:
            self._wake()

    def _wake(self) -> None:
        """Let one idle worker look for a walk; if it finds one it wakes the next."""
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
        walk = descend(graph, self._rule.select_edge, self.config)
        if walk is None and not self._active:
            walk = follow_supports(graph)
        return walk

    def _mark(self, walk: SearchPath, by: int) -> None:
        """Put virtual loss on a walk's path, or take it off. A tactic to be tried is taken, so that nobody else tries
        it."""
        for node in walk.nodes:
            node.virtual += by
        for edge in walk.edges:
            edge.virtual += by
        if by > 0 and len(walk.edges) == len(walk.nodes):
            self.graph.claim(walk.edges[-1])

    async def _simulate(self, walk: SearchPath) -> None:
        """Finish a walk: expand its last node if need be, try a tactic there, roll out if the rule does, back up."""
        nodes, edges = walk
        if not await self._prepare(walk):
            return
        self._wake()  # what was expanded may have more to try
        edge = edges[-1]
        fresh = await self.expander.try_edge(edge)
        self._wake()  # a rollout is many calls
        solved = edge.status == SOLVED
        if self._rule.rollouts and fresh and not solved:
            await self.expander.roll_out(fresh)
        began = perf_counter()
        backup(nodes, edges, 1.0 if fresh or solved else 0.0, self.config)
        self.recorder.own_s += perf_counter() - began

    async def _prepare(self, walk: SearchPath) -> bool:
        """Bring a walk to where a taken tactic and a held state are ready for Lean; its Lean call is reserved."""
        nodes, edges = walk
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
