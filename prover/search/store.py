"""A search as bytes: everything but the models and the environment's states, which are obtained again by replay."""

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

VERSION = 3


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
    busy_s: tuple[float, float, float, float]
    """Of Lean, of its calls summed, of the models, of either."""
    lean_calls_to_solve: int | None


def dump(search: Search) -> bytes:
    """All of a search at rest."""
    nodes = list(search.graph.nodes.values())
    edges = [e for n in nodes for e in n.edges]
    index = {e: i for i, e in enumerate(edges)}
    recorder = search.recorder

    def place(edge: Edge | None) -> int:
        return -1 if edge is None else index[edge]

    document = _Search(
        VERSION,
        search.config,
        [
            _Node(
                n.state.key,
                n.state.goals,
                place(n.origin),
                n.status,
                n.depth,
                n.logprob,
                n.visits,
                n.expansions,
                n.exhausted,
                n.initial,
                n.value,
                float(n.steps),
                place(n.best),
                float(n.exhausted_within),
                n.premises,
                n.try_reward,
                n.try_weight,
                n.mass,
                tuple(index[e] for e in n.untried),
                tuple(index[e] for e in n.live),
                tuple(index[e] for e in n.parents),
            )
            for n in nodes
        ],
        [
            _Edge(
                e.parent.id,
                e.tactic,
                e.logprob,
                e.prior,
                e.source,
                e.status,
                e.call,
                tuple(c.id for c in e.children),
                e.order,
                e.renamed,
                e.visits,
                e.value,
                e.error,
                e.message,
                e.reward,
                e.weight,
            )
            for e in edges
        ],
        {**recorder.counts, "model_calls": search.expander.models.calls},
        dict(recorder.errors),
        recorder.seconds,
        recorder.own_s,
        (recorder.lean.busy_s, recorder.lean.summed_s, recorder.model.busy_s, recorder.either.busy_s),
        recorder.lean_calls_to_solve,
    )
    return msgspec.msgpack.encode(document)


def load(data: bytes, root: ProofState) -> tuple[SearchConfig, Callable[[Search], None]]:
    """The configuration of a written search, and what fills a new search on `root` with the rest.

    ValueError where the bytes are not a search, or one of another theorem.
    """
    try:
        document = msgspec.msgpack.decode(data, type=_Search)
    except msgspec.DecodeError as error:
        raise ValueError(f"these bytes are not a search written by this version: {error}") from error
    if document.version != VERSION:
        raise ValueError(f"search written in format {document.version}; this version reads format {VERSION}")
    first = document.nodes[0]
    if ProofState(-1, first.key, first.goals).shared != root.shared:  # names count: tactics say them
        raise ValueError(
            "the search was written for another theorem: the root's key or the names of its hypotheses differ"
        )

    def restore(search: Search) -> None:
        _fill(search.graph, document)
        recorder = search.recorder
        recorder.counts.update(document.counts)
        search.expander.models.calls = recorder.counts.pop("model_calls", 0)
        recorder.errors.update(document.errors)
        recorder.seconds, recorder.own_s = document.seconds, document.own_s
        recorder.lean.busy_s, recorder.lean.summed_s, recorder.model.busy_s, recorder.either.busy_s = document.busy_s
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
        edge.prior, edge.status, edge.call = record.prior, record.status, record.call
        edge.order, edge.renamed = record.order, record.renamed
        edge.children = tuple(nodes[i] for i in record.children)
        edge.visits, edge.value, edge.error, edge.message = record.visits, record.value, record.error, record.message
        edge.reward, edge.weight = record.reward, record.weight
        edge.parent.edges.append(edge)
        edges.append(edge)
    for node, r in zip(nodes, document.nodes, strict=True):
        node.origin = edges[r.origin] if r.origin >= 0 else None
        node.status, node.depth, node.logprob, node.visits = r.status, r.depth, r.logprob, r.visits
        node.expansions, node.exhausted, node.initial, node.value = r.expansions, r.exhausted, r.initial, r.value
        node.steps, node.best, node.exhausted_within = (
            r.steps,
            edges[r.best] if r.best >= 0 else None,
            r.exhausted_within,
        )
        node.premises, node.try_reward, node.try_weight, node.mass = r.premises, r.try_reward, r.try_weight, r.mass
        node.untried = [edges[i] for i in r.untried]
        node.live = [edges[i] for i in r.live]
        node.parents = [edges[i] for i in r.parents]
    graph.edge_count = len(edges)
    _rebuild_supports(graph, nodes)
    graph.entered.append(graph.root)
    status.propagate_relevance(graph, graph.root)
    graph.entered.sort(key=lambda n: n.id)  # as they were met: among equals, that decides


def _rebuild_supports(graph: Graph, nodes: list[Node]) -> None:
    """Supports from nothing: the fixed point of which `status` keeps up to date."""
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
