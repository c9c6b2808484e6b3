"""Selection: paths from the root to a tactic to try. They avoid cycles, dead ends and goals that are being worked on."""

from __future__ import annotations

from typing import NamedTuple

from prover.search.config import SearchConfig
from prover.search.graph import OPEN, SOLVED, UNTRIED, Edge, Graph, Node
from prover.search.select import EdgeSelector


class SearchPath(NamedTuple):
    """`edges[i]` leads from `nodes[i]` to `nodes[i + 1]`.

    With as many edges as nodes, the last edge is untried; with one fewer, the last node is to be expanded.
    """

    nodes: list[Node]
    edges: list[Edge]


def wants_expansion(graph: Graph, node: Node) -> bool:
    """Whether this goal is to be expanded before the path continues: for the first time, or to widen it."""
    if node.expansions == 0:
        return not node.expanding
    if node.untried or node.expanding or not graph.can_expand(node):
        return False
    config = graph.config
    return node.visits > config.widen_base * node.expansions**config.widen_power


def _difficulty(node: Node) -> tuple[bool, float, int]:
    """Sort key: first the subgoals that no simulation is working on, and among them the hardest, because all have to be proved."""
    return node.virtual > 0, node.value, node.visits


def descend(graph: Graph, rule: EdgeSelector, config: SearchConfig, waits_for_work: bool = False) -> SearchPath | None:
    """A path to something to try, for an unsolved root; None while it depends on work in flight.

    With `waits_for_work`, a simulation waits if it leads to a goal that is being expanded or evaluated, or to the next tactic of a
    goal whose last one still runs: its choice depends on the result. Otherwise it would spend calls on tactics that a search with one
    simulation at a time does not try. Concurrent simulations then work on different subgoals of a tactic, the hardest first
    (AlphaProof). A path never returns to a goal on it, because a shortest proof does not repeat a goal on a branch. A goal without
    anything to try at or below it is widened early, unless work in flight may change that: policy queries must not depend on the
    number of simulations in flight.
    """
    root = graph.root
    nodes: list[Node] = [root]
    edges: list[Edge] = []
    path = {root}
    banned: set[Edge] = set()
    dead: dict[Node, bool] = {}  # dead ends; True if because of work in flight
    waits = [False]  # for each goal on the path, whether a branch below ended at work in flight
    while True:
        node = nodes[-1]
        if wants_expansion(graph, node):
            return SearchPath(nodes, edges)
        if waits_for_work and node.expanding and not node.untried:
            return None
        edge = rule(node, config, banned)
        if edge is None:
            waiting = waits.pop() or node.expanding or node.pending > 0
            if graph.can_expand(node) and not waiting:
                return SearchPath(nodes, edges)
            dead[node] = waiting
            path.remove(node)
            nodes.pop()
            if not edges:
                return None
            edges.pop()
            continue
        if edge.status == UNTRIED:
            if waits_for_work and node.pending:
                return None
            edges.append(edge)
            return SearchPath(nodes, edges)
        children = edge.children
        if len(children) == 1:
            child = children[0]
            if child in dead or child in path:
                waits[-1] |= dead.get(child, False)
                banned.add(edge)
                continue
        else:
            open_ = [c for c in children if c.status == OPEN]
            usable = [c for c in open_ if c not in dead]
            if not usable or any(c in path for c in open_):
                waits[-1] |= any(dead.get(c, False) for c in open_)
                banned.add(edge)
                continue
            child = min(usable, key=_difficulty)
        edges.append(edge)
        nodes.append(child)
        path.add(child)
        waits.append(False)


def follow_supports(graph: Graph) -> SearchPath | None:
    """The path of supports from the root (see `status`). With nothing in flight it ends at something to try.

    `descend` visits each goal on one path only and may miss the only way where there are cycles; this finds it.
    """
    node = graph.root
    nodes = [node]
    edges: list[Edge] = []
    while isinstance(node.support, Edge):
        edges.append(node.support)
        node = min((c for c in node.support.children if c.status == OPEN), key=_difficulty)
        nodes.append(node)
    if node.untried:
        edges.append(node.untried[-1])
        return SearchPath(nodes, edges)
    return SearchPath(nodes, edges) if graph.can_expand(node) and not node.expanding else None


def descend_shorter(graph: Graph, rule: EdgeSelector, config: SearchConfig) -> SearchPath | None:
    """A path to something that may shorten the root's proof; None when nothing can, or only work in flight.

    Each goal on the path has a room: the most tactics that a useful proof of it may have. The root's room is one less
    than its best proof. Below a tactic, the room shrinks by that tactic and by one for each sibling. Rooms and options
    only ever shrink, so a goal without anything to try within its room is recorded in `exhausted_within`.
    """
    root = graph.root
    nodes: list[Node] = [root]
    edges: list[Edge] = []
    room: list[float] = [root.steps - 1]
    if root.exhausted_within >= room[0]:
        return None
    banned: list[set[Edge]] = [set()]
    waiting = 0  # branches stopped by work in flight; a dead end above one is not final
    marks = [0]
    dead: dict[Node, float] = {}
    while True:
        node = nodes[-1]
        if wants_expansion(graph, node):
            return SearchPath(nodes, edges)
        edge = rule(node, config, banned[-1])
        if edge is None:
            waiting += bool(node.pending or node.expanding)
            if waiting == marks[-1] and graph.can_expand(node):
                return SearchPath(nodes, edges)
            if waiting == marks.pop():
                node.exhausted_within = max(node.exhausted_within, room[-1])
            dead[node] = max(dead.get(node, 0), room[-1])
            nodes.pop()
            room.pop()
            banned.pop()
            if not edges:
                return None
            edges.pop()
            continue
        if edge.status == UNTRIED:
            edges.append(edge)
            return SearchPath(nodes, edges)
        left = room[-1] - len(edge.children)
        chosen: Node | None = None
        for child in edge.children:
            allowed = min(left, child.steps - 1)
            if allowed <= child.exhausted_within:
                continue
            if dead.get(child, 0) >= allowed:
                waiting += 1
                continue
            if chosen is None or (child.status == SOLVED, *_difficulty(child)) < (
                chosen.status == SOLVED,
                *_difficulty(chosen),
            ):
                chosen = child
        if chosen is None:
            banned[-1].add(edge)
            continue
        edges.append(edge)
        nodes.append(chosen)
        room.append(min(left, chosen.steps - 1))
        banned.append(set())
        marks.append(waiting)
