"""Invariants of search graphs."""

from __future__ import annotations

import math

from prover.search.graph import FAILED, OPEN, RUNNING, SOLVED, UNTRIED, Edge, Graph, Node
from prover.search.search import Search


def check_graph(graph: Graph, at_rest: bool) -> None:
    nodes = list(graph.nodes.values())
    for n in nodes:
        assert n.visits == sum(e.visits for e in n.edges)
        assert 0.0 <= n.value <= 1.0 and 0.0 <= n.initial <= 1.0
        assert n.virtual >= 0 and n.pending >= sum(e.status == RUNNING for e in n.edges)
        assert n.mass > -1e-9 and n.mass < 1 + 1e-9
        assert len(set(n.untried)) == len(n.untried) == sum(e.status == UNTRIED for e in n.edges)
        assert [e.prior for e in n.untried] == sorted(e.prior for e in n.untried)
        assert n.live == [e for e in n.live if e.status in (OPEN, SOLVED)]
        assert len(n.live) == sum(e.status in (OPEN, SOLVED) for e in n.edges)
        effects = [tuple(sorted(c.id for c in e.children)) for e in n.live]
        assert len(set(effects)) == len(effects)
        assert len({e.tactic for e in n.edges}) == len(n.edges)
        assert (n.status == SOLVED) == (n.best is not None) == (n.steps < math.inf)
        if n.best is not None:
            assert n.steps == n.best.steps == min(e.steps for e in n.live)
            assert all(c.steps < n.steps for c in n.best.children)
        for e in n.edges:
            assert 0.0 <= e.value <= 1.0 and e.virtual >= 0
            if e.status in (OPEN, SOLVED):
                assert all(c.status != FAILED for c in e.children)
                assert n not in e.children
            applied = e.status <= FAILED and e.error is None
            assert (e.status == SOLVED) == (applied and all(c.status == SOLVED for c in e.children))
            if e.status == FAILED:
                assert e.error is not None or any(c.status == FAILED for c in e.children)
        if at_rest:
            assert n.virtual == n.pending == 0 and not n.expanding
            assert all(e.virtual == 0 and e.status != RUNNING for e in n.edges)
    possible = _possible(graph)
    for n in nodes:
        assert (n.status == FAILED) == (n not in possible), (n.key, n.status)
    relevant = _relevant(graph)
    for n in nodes:
        assert n.relevant == (n in relevant), (n.key, n.status, n.relevant)
    assert graph.root.status != OPEN or graph.root.has_state or graph.root.state.id == -1


def _possible(graph: Graph) -> set[Node]:
    nodes = list(graph.nodes.values())
    possible = {n for n in nodes if n.status == SOLVED or (n.status == OPEN and graph.has_option(n))}
    while True:
        more = {n for n in nodes if n not in possible and any(all(c in possible for c in e.children) for e in n.live)}
        if not more:
            return possible
        possible |= more


def _relevant(graph: Graph) -> set[Node]:
    def alive(n: Node) -> bool:
        return n.status == OPEN or (n.status == SOLVED and graph.config.keep_improving)

    found = {graph.root}
    stack = [graph.root]
    while stack:
        n = stack.pop()
        if alive(n):
            for e in n.edges:
                for c in e.children if e.status <= SOLVED else ():
                    if c not in found and alive(c):
                        found.add(c)
                        stack.append(c)
    return found


def watch(search: Search) -> list[tuple[str, str]]:
    """Check the graph before and after each Lean call of a search; the list of (goal, tactic) sent grows."""
    sent: list[tuple[str, str]] = []
    inner = search.expander.try_edge

    async def checked(edge: Edge) -> list[Node]:
        node = edge.parent
        assert node.has_state
        assert search.graph.root.status == OPEN or search.config.keep_improving or search.config.in_flight > 1
        if search.config.in_flight == 1 and search.config.selection != "rollout":
            assert node.relevant and node.status != FAILED, "a subtree that does not matter is touched"
        check_graph(search.graph, at_rest=False)
        sent.append((node.key, edge.tactic))
        fresh = await inner(edge)
        check_graph(search.graph, at_rest=False)
        return fresh

    search.expander.try_edge = checked  # type: ignore[method-assign]
    return sent
