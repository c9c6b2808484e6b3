"""Serialises a search, without its models and the environment's states, which are restored by replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from prover.lean.theorem import Goal, ProofState
from prover.search import status
from prover.search.config import SearchConfig
from prover.search.graph import OPEN, SOLVED, Edge, Graph, Node

if TYPE_CHECKING:
    from prover.search.search import Search

VERSION = 5


class _Edge(msgspec.Struct, array_like=True):
    parent: int
    tactic: str
    logprob: float
    prior: float
    source: str
    status: int
    call: int
    children: tuple[int, ...]
    order: tuple[tuple[int, int], ...]
    renamed: tuple[tuple[tuple[str, ...], ...], ...]
    visits: int
    value: float
    error: str | None
    message: str
    reward: float
    weight: float
    twin: int


class _Node(msgspec.Struct, array_like=True):
    key: str
    goals: tuple[Goal, ...]
    origin: int
    status: int
    depth: int
    logprob: float
    visits: int
    expansions: int
    exhausted: bool
    initial: float
    value: float
    steps: float
    best: int
    exhausted_within: float
    premises: tuple[str, ...]
    try_reward: float
    try_weight: float
    mass: float
    untried: tuple[int, ...]
    live: tuple[int, ...]
    parents: tuple[int, ...]


class _Search(msgspec.Struct):
    version: int
    config: SearchConfig
    nodes: list[_Node]
    edges: list[_Edge]
    counts: dict[str, int]
    errors: dict[str, int]
    seconds: float
    own_s: float
    busy_s: tuple[float, float, float]
    """Busy seconds of Lean, of models, and of either."""
    lean_calls_to_solve: int | None


_NODE_LINKS = ("key", "goals", "origin", "steps", "best", "exhausted_within", "untried", "live", "parents")
_EDGE_LINKS = ("parent", "children", "twin")
_NODE_FIELDS = tuple(f for f in _Node.__struct_fields__ if f not in _NODE_LINKS)
_EDGE_FIELDS = tuple(f for f in _Edge.__struct_fields__ if f not in _EDGE_LINKS)
"""Attributes that are saved as they are."""


def dump(search: Search) -> bytes:
    """Serialise a search that is not running."""
    nodes = list(search.graph.nodes.values())
    edges = [e for n in nodes for e in n.edges]
    index: dict[Edge | None, int] = {e: i for i, e in enumerate(edges)} | {None: -1}
    recorder = search.recorder
    document = _Search(
        VERSION,
        search.config,
        [
            _Node(
                key=n.state.key,
                goals=n.state.goals,
                origin=index[n.origin],
                steps=float(n.steps),
                best=index[n.best],
                exhausted_within=float(n.exhausted_within),
                untried=tuple(index[e] for e in n.untried),
                live=tuple(index[e] for e in n.live),
                parents=tuple(index[e] for e in n.parents),
                **{f: getattr(n, f) for f in _NODE_FIELDS},
            )
            for n in nodes
        ],
        [
            _Edge(
                parent=e.parent.id,
                children=tuple(c.id for c in e.children),
                twin=index[e.twin],
                **{f: getattr(e, f) for f in _EDGE_FIELDS},
            )
            for e in edges
        ],
        {**recorder.counts, "model_calls": search.expander.models.calls},
        dict(recorder.errors),
        recorder.seconds,
        recorder.own_s,
        (recorder.lean.busy_s, recorder.model.busy_s, recorder.either.busy_s),
        recorder.lean_calls_to_solve,
    )
    return msgspec.msgpack.encode(document)


def _decoded(data: bytes) -> _Search:
    """Raises ValueError if the bytes are not a search of this format."""
    try:
        document = msgspec.msgpack.decode(data, type=_Search)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a search saved by this version: {error}") from error
    if document.version != VERSION:
        raise ValueError(f"the search has format {document.version}; this version reads format {VERSION}")
    return document


def load(data: bytes, root: ProofState) -> tuple[SearchConfig, Callable[[Search], None]]:
    """The configuration of a serialised search, and a function that fills a new search on `root`.

    Raises ValueError if the bytes are not a search of this format, or are a search of another theorem.
    """
    document = _decoded(data)
    first = document.nodes[0]
    if ProofState(-1, first.key, first.goals).shared != root.shared:  # including names, which tactics refer to
        raise ValueError("the search belongs to another theorem: the root's key or the names of its hypotheses differ")

    def restore(search: Search) -> None:
        _fill(search.graph, document)
        recorder = search.recorder
        recorder.counts.update(document.counts)
        search.expander.models.calls = recorder.counts.pop("model_calls", 0)
        recorder.errors.update(document.errors)
        recorder.seconds, recorder.own_s = document.seconds, document.own_s
        recorder.lean.busy_s, recorder.model.busy_s, recorder.either.busy_s = document.busy_s
        recorder.lean_calls_to_solve = document.lean_calls_to_solve

    return document.config, restore


def _fill(graph: Graph, document: _Search) -> None:
    nodes = [graph.root]
    for record in document.nodes[1:]:
        node = Node(len(nodes), ProofState(-1, record.key, record.goals), None, record.initial)
        node.has_state = False
        graph.nodes[node.key] = node
        nodes.append(node)
    edges: list[Edge] = []
    for record in document.edges:
        edge = Edge(nodes[record.parent], record.tactic, record.logprob, record.source)
        _copy(record, edge, _EDGE_FIELDS)
        edge.children = tuple(nodes[i] for i in record.children)
        edge.parent.edges.append(edge)
        edges.append(edge)
    for edge, record in zip(edges, document.edges, strict=True):
        edge.twin = edges[record.twin] if record.twin >= 0 else None
    for node, record in zip(nodes, document.nodes, strict=True):
        _copy(record, node, _NODE_FIELDS)
        node.origin = edges[record.origin] if record.origin >= 0 else None
        node.steps, node.exhausted_within = record.steps, record.exhausted_within
        node.best = edges[record.best] if record.best >= 0 else None
        node.untried = [edges[i] for i in record.untried]
        node.live = [edges[i] for i in record.live]
        node.parents = [edges[i] for i in record.parents]
    graph.edge_count = len(edges)
    _rebuild_supports(graph, nodes)
    graph.entered.append(graph.root)
    status.propagate_relevance(graph, graph.root)
    graph.entered.sort(key=lambda n: n.id)  # creation order breaks ties


def _copy(source: msgspec.Struct, target: Node | Edge, fields: tuple[str, ...]) -> None:
    for field in fields:
        setattr(target, field, getattr(source, field))


def _rebuild_supports(graph: Graph, nodes: list[Node]) -> None:
    """Compute all supports from scratch (see `status`)."""
    for node in nodes:
        node.support = True if node.status == SOLVED or (node.status == OPEN and graph.has_option(node)) else None
    found = [n for n in nodes if n.support is not None]
    for node in found:
        for e in node.parents:
            p = e.parent
            if p.support is not None or p.status != OPEN or e.status > SOLVED:
                continue
            if all(c.support is not None for c in e.children):
                p.support = e
                found.append(p)


def open_goals(data: bytes) -> list[tuple[int, Goal]]:
    """(visits, goal) of the goals of a serialised search that have no proof, besides the root, most visited first.

    Raises ValueError as `load` does.
    """
    document = _decoded(data)
    found = [(n.visits, n.goals[0]) for n in document.nodes[1:] if n.status != SOLVED and len(n.goals) == 1]
    return sorted(found, key=lambda x: -x[0])
