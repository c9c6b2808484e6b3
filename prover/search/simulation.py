"""The way down from the root to a tactic to try, round cycles and past what is dead or busy."""

from __future__ import annotations

from typing import NamedTuple

from prover.search.config import SearchConfig
from prover.search.graph import OPEN, SOLVED, UNTRIED, Edge, Graph, Node
from prover.search.select import EdgeSelector


class SearchPath(NamedTuple):
    """A path: `edges[i]` leads from `nodes[i]` to `nodes[i + 1]`, and to nothing yet if it is the last and untried.

    With as many edges as nodes, the last edge is to be tried; with one fewer, the last node is to be expanded.
    """

    nodes: list[Node]
    edges: list[Edge]


def wants_expansion(graph: Graph, node: Node) -> bool:
    """Whether the policy is to be asked about this goal before going on: never asked, or due for widening."""
    if node.expansions == 0:
        return not node.expanding
    if node.untried or node.expanding or not graph.can_expand(node):
        return False
    config = graph.config
    return node.visits > config.widen_base * node.expansions**config.widen_power


def _difficulty(node: Node) -> tuple[float, int]:
    return node.value, node.visits + node.virtual


def descend(graph: Graph, rule: EdgeSelector, config: SearchConfig) -> SearchPath | None:
    """A walk to something to try, for a root not solved yet; None when all there is waits for Lean or a model.

    Of the goals that a tactic left the hardest comes first (AlphaProof). An edge back to a goal on the path is never
    taken: a shortest proof does not repeat a goal on a branch. A goal with nothing to try at or below it is widened
    early, unless something in flight may soon change that: how much is in flight must not decide what is asked.
    """
    root = graph.root
    nodes: list[Node] = [root]
    edges: list[Edge] = []
    path = {root}
    banned: set[Edge] = set()
    dead: dict[Node, bool] = {}  # whether what is in flight made it so
    waits = [False]  # of each goal on the path, whether a way down from it ended at something in flight
    while True:
        node = nodes[-1]
        if wants_expansion(graph, node):
            return SearchPath(nodes, edges)
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
    """The way that proves the root still possible: it ends at something to try whenever nothing is in flight.

    `descend` looks at each goal once, on one path to it; where cycles make that miss the only way, this finds it.
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
    """A walk to something that may yet make the root's proof shorter; None when nothing can, or all that can is in
    flight.

    On the way each goal has room: the most tactics that a proof of it may have to be of use. The root has one less
    than its best proof; below a tactic, that tactic and one for each sibling are taken off. A goal without anything to
    try in its room stays so (its room only shrinks, its options only go), and is remembered as exhausted_within.
    """
    root = graph.root
    nodes: list[Node] = [root]
    edges: list[Edge] = []
    room: list[float] = [root.steps - 1]
    if root.exhausted_within >= room[0]:
        return None
    banned: list[set[Edge]] = [set()]
    waiting = 0  # how often something in flight stopped us: then a dead end is not final
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
