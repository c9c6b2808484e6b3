"""Lifetime of the environment's states: freed when irrelevant, restored by replay when needed again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from prover.lean.theorem import ProofState, StepResult
from prover.search.graph import Graph, Node

FREE_AT_ONCE: Final = 64
"""States collected before the environment is told to free them."""


class StateManager:
    """Frees and restores the environment's states of one graph. Counts `freed` and `replay_calls` in `counts`."""

    def __init__(
        self,
        graph: Graph,
        step: Callable[[ProofState, str], Awaitable[StepResult]],
        free: Callable[[Sequence[ProofState]], Awaitable[None]],
        counts: Counter[str],
    ) -> None:
        self.surplus: list[ProofState] = []
        """States that no node needs."""
        self._graph = graph
        self._step = step
        self._free = free
        self._counts = counts
        self._replays: dict[Node, asyncio.Task[bool]] = {}
        self._frees: set[asyncio.Future[None]] = set()

    def free_unused(self, at_least: int = FREE_AT_ONCE) -> None:
        """Free irrelevant states once there are more than `at_least`. Skips states that Lean is working on."""
        graph = self._graph
        if len(graph.dropped) + len(self.surplus) <= at_least:
            return
        busy: list[Node] = []
        states, self.surplus = self.surplus, []
        for node in graph.dropped:
            if node.has_state and not node.relevant:
                if node.pending or node.expanding:
                    busy.append(node)
                else:
                    node.has_state = False
                    states.append(node.state)
        graph.dropped = busy
        if states:
            self._counts["freed"] += len(states)
            task = asyncio.ensure_future(self._free(states))
            self._frees.add(task)
            task.add_done_callback(self._frees.discard)

    async def flush(self) -> None:
        """Free all irrelevant states and wait for completion."""
        self.free_unused(0)
        await asyncio.gather(*self._frees)

    async def close(self) -> None:
        """Free everything."""
        await asyncio.gather(*self._frees, return_exceptions=True)
        alive = [n for n in self._graph.nodes.values() if n.has_state]
        for node in alive:
            node.has_state = False
        states = [n.state for n in alive] + self.surplus
        self.surplus = []
        if states:
            self._counts["freed"] += len(states)
            await self._free(states)

    async def restore(self, node: Node) -> bool:
        """Restore a node's state by replay from its nearest ancestor that has one.

        False if a tactic on the path gives another result than before.
        """
        task = self._replays.get(node)
        if task is None:
            task = self._replays[node] = asyncio.get_running_loop().create_task(self._replay(node))
            task.add_done_callback(lambda _: self._replays.pop(node, None))
        return await asyncio.shield(task)

    async def _replay(self, node: Node) -> bool:
        graph = self._graph
        edge = node.origin
        if edge is None:
            return False
        parent = edge.parent
        parent.pending += 1  # so that its state is not freed
        try:
            if not parent.has_state and not await self.restore(parent):
                return False
            self._counts["replay_calls"] += 1
            result = await self._step(parent.state, edge.tactic)
        finally:
            parent.pending -= 1
            graph.update_status(parent)
        for state in result.states:
            other = graph.nodes.get(state.shared)
            if other is not None and not other.has_state and (other is node or other.relevant):
                other.set_state(state)
            else:
                self.surplus.append(state)
        graph.dropped += (parent, node)
        return node.has_state
