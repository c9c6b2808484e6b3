"""Propagates the statuses solved, failed and relevant in an AND-OR graph with cycles.

Three least fixed points are updated at every change:

- solved: some tactic left only solved goals. Marked bottom-up, so no proof depends on itself. Sizes of shortest proofs
  propagate by label correction; every step costs one tactic, so sizes strictly shrink along best edges, which form no
  cycle (Knuth 1977, "A generalization of Dijkstra's algorithm").
- possible (not failed): a goal with something left to try, or with a tactic all of whose goals are possible, without
  circular reasoning. Each possible node has a `support` as its reason: True for itself, or an edge; supports form no
  cycle. After a loss only the nodes that depend on it are examined (source pointers: Simons, Niemelä, Soininen 2002).
- relevant: reachable from the root over open goals and live tactics. `reach` is the edge that reaches a node; these
  edges form a spanning tree, repaired in the same way.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prover.search.graph import Edge, Graph, Node

OPEN: Final = 0
SOLVED: Final = 1
FAILED: Final = 2


def alive(graph: Graph, node: Node) -> bool:
    """Whether work on a node may still be useful."""
    return node.status == OPEN or (node.status == SOLVED and graph.config.keep_improving)


def _conveys(graph: Graph, edge: Edge) -> bool:
    """Whether an edge makes its goals relevant."""
    return edge.status <= SOLVED and edge.parent.relevant and alive(graph, edge.parent)


def attach(graph: Graph, edge: Edge) -> None:
    """Update the statuses of a newly applied edge and of everything above it."""
    if any(c.status == FAILED for c in edge.children):
        fail_edge(graph, edge)
        return
    if all(c.status == SOLVED for c in edge.children):
        propagate_solved(graph, edge)
    if _conveys(graph, edge):
        propagate_relevance(graph, edge.parent)


def propagate_solved(graph: Graph, edge: Edge) -> None:
    """Propagate upward that all goals of an edge are solved, or that one has a shorter proof."""
    discount = graph.config.discount
    queue = deque((edge,))
    while queue:
        e = queue.popleft()
        if e.status > SOLVED:
            continue
        steps = 1 + sum(c.steps for c in e.children)
        if steps == math.inf:
            continue
        e.status = SOLVED
        e.value = discount**steps
        node = e.parent
        if steps >= node.steps:
            continue
        node.steps = steps
        node.best = e
        node.value = discount**steps
        if node.status != SOLVED:
            node.status = SOLVED
            node.support = True
            _leave(graph, node)
        queue.extend(node.parents)


def fail_edge(graph: Graph, edge: Edge) -> None:
    """Mark an edge that can no longer be part of a proof."""
    node = edge.parent
    if edge.children:
        node.live.remove(edge)
    edge.status = FAILED
    node.mass -= edge.prior
    for child in edge.children:
        if child.reach is edge:
            graph.lost.append(child)
    if node.support is edge:
        lose_support(graph, node)


def lose_support(graph: Graph, start: Node) -> None:
    """`start` lost its support: find new supports for all nodes that depended on it, and fail the others."""
    resting = [start]
    start.support = None
    for node in resting:
        for e in node.parents:
            p = e.parent
            if p.support is e:
                p.support = None
                resting.append(p)
    queue = deque(resting)
    while queue:
        node = queue.popleft()
        if node.support is not None:
            continue
        for e in node.live:
            if all(c.support is not None for c in e.children):
                node.support = e
                queue.extend(q.parent for q in node.parents if q.parent.support is None)
                break
    failed = [n for n in resting if n.support is None]
    for node in failed:
        node.status = FAILED
        node.value = 0.0
        _leave(graph, node)
    for node in failed:
        for e in node.parents:
            if e.status == OPEN:
                fail_edge(graph, e)


def _leave(graph: Graph, node: Node) -> None:
    """Mark a solved or failed node, and the nodes that it reaches, as possibly irrelevant."""
    if alive(graph, node):
        return
    graph.lost.append(node)
    for e in node.live:
        for c in e.children:
            if c.reach is e:
                graph.lost.append(c)


def propagate_relevance(graph: Graph, start: Node) -> None:
    """Make everything relevant that a relevant node leads to."""
    stack = [start]
    while stack:
        node = stack.pop()
        if not alive(graph, node):
            continue
        for e in node.live:
            for c in e.children:
                if not c.relevant and alive(graph, c):
                    c.relevant = True
                    c.reach = e
                    graph.entered.append(c)
                    stack.append(c)


def repair_relevance(graph: Graph) -> None:
    """Find new paths from the root to the nodes in `graph.lost`, and drop nodes without one."""
    if not graph.lost:
        return
    unreached: list[Node] = []

    def drop(node: Node) -> None:
        if node.relevant and node is not graph.root:
            node.relevant = False
            node.reach = None
            unreached.append(node)

    for node in graph.lost:
        drop(node)
    graph.lost.clear()
    for node in unreached:
        for e in node.live:
            for c in e.children:
                if c.reach is e:
                    drop(c)
    for node in unreached:
        if node.relevant or not alive(graph, node):
            continue
        edge = next((e for e in node.parents if _conveys(graph, e)), None)
        if edge is not None:
            node.relevant = True
            node.reach = edge
            propagate_relevance(graph, node)
    graph.dropped.extend(n for n in unreached if not n.relevant)
