"""The AND-OR graph of a search. Goals are OR nodes, shared by key; tactics are AND edges."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from prover.lean.theorem import ProofState, StepResult, renamed_in
from prover.models.base import Suggestion, softmax, valid_text
from prover.search import status
from prover.search.config import SearchConfig

OPEN: Final = status.OPEN
SOLVED: Final = status.SOLVED
FAILED: Final = status.FAILED
UNTRIED: Final = 3
RUNNING: Final = 4
DUPLICATE: Final = 5
STATUS_NAMES: Final = ("open", "solved", "failed", "untried", "running", "duplicate")

LEAST_LOGPROB: Final = -1e6
"""Replaces the logarithm of zero, for which softmax is undefined."""
MESSAGE_LIMIT: Final = 300
"""Characters of Lean's error message that are kept."""


@dataclass(eq=False, repr=False, slots=True)
class Edge:
    """A tactic on a goal: untried, running, or applied with its subgoals as children (AND)."""

    parent: Node
    tactic: str
    logprob: float
    source: str
    prior: float = 0.0
    status: int = UNTRIED
    call: int = 0
    """Number of the Lean call that tried it, from 1; 0 if untried."""
    children: tuple[Node, ...] = ()
    order: tuple[tuple[int, int], ...] = ()
    renamed: tuple[tuple[tuple[str, ...], ...], ...] = ()
    """`ProofNode.renamed` of each child after this tactic."""
    visits: int = 0
    virtual: int = 0
    value: float = 0.0
    twin: Edge | None = None
    """The live edge with the same effect, for a duplicate."""
    error: str | None = None
    """The kind of failure if the tactic itself failed: a StepStatus, `cycle` or `replay`. None if a subgoal failed."""
    message: str = ""
    reward: float = 0.0
    weight: float = 0.0

    @property
    def steps(self) -> float:
        """Tactics in the shortest known proof that starts with this one; inf without a proof."""
        if self.status != SOLVED:
            return math.inf
        return 1 + sum(c.steps for c in self.children)


@dataclass(eq=False, repr=False, slots=True)
class Node:
    """A group of goals to prove (OR), shared by key in the whole graph."""

    id: int
    state: ProofState
    origin: Edge | None
    """The edge that first led here. Origins form a tree."""
    initial: float
    """Estimate of the value model in [0, 1]."""
    key: str = field(init=False)
    has_state: bool = True
    """Whether the environment keeps `state` alive under its id. Otherwise it is restored by replay."""
    status: int = OPEN
    edges: list[Edge] = field(default_factory=list[Edge])
    untried: list[Edge] = field(default_factory=list[Edge])
    """Untried edges, the most probable last."""
    live: list[Edge] = field(default_factory=list[Edge])
    """Applied edges that are neither failed nor duplicates."""
    parents: list[Edge] = field(default_factory=list[Edge])
    depth: int = 0
    logprob: float = 0.0
    """Summed log-probability of the tactics from the root, on the best path known so far."""
    visits: int = 0
    """Simulations that tried a tactic here or below: always the sum of the visits of `edges`."""
    virtual: int = 0
    pending: int = 0
    """Running edges of this node."""
    expansions: int = 0
    expanding: bool = False
    exhausted: bool = False
    """The policy has no further suggestions."""
    value: float = field(init=False)
    steps: float = math.inf
    """Tactics in the shortest known proof."""
    best: Edge | None = None
    support: Edge | bool | None = True
    reach: Edge | bool | None = None
    relevant: bool = False
    """Whether the root can still use this node: open goals and tactics lead to it from the root."""
    exhausted_within: float = 0
    """No untried option can give a proof of at most this many tactics."""
    mass: float = 0.0
    """Prior mass of the edges that have not failed."""
    premises: tuple[str, ...] = ()
    try_reward: float = 0.0
    try_weight: float = 0.0

    def __post_init__(self) -> None:
        self.key = self.state.shared
        self.value = self.initial
        if self.origin is not None:
            self.depth = self.origin.parent.depth + 1
            self.logprob = self.origin.parent.logprob + self.origin.logprob

    def set_state(self, state: ProofState) -> None:
        """Record that the environment keeps this goal alive as `state`. Models keep reading the original text: its case
        names depend on the path here, and a search must not depend on which states were freed."""
        self.state = replace(state, goals=self.state.goals)
        self.has_state = True


class Graph:
    """All goals reached from one root.

    The search empties two lists: `entered` (nodes that became relevant or regained an untried tactic) and `dropped`
    (nodes that ceased to be relevant).
    """

    def __init__(self, root: ProofState, config: SearchConfig) -> None:
        self.config = config
        self.nodes: dict[str, Node] = {}
        self.edge_count = 0
        self.entered: list[Node] = []
        self.dropped: list[Node] = []
        self.lost: list[Node] = []
        """Nodes that may have ceased to be relevant; `status.repair_relevance` empties it."""
        self.root = self._node(root, None)
        self.root.reach = True
        self.root.relevant = True
        self.entered.append(self.root)

    def _node(self, state: ProofState, origin: Edge | None) -> Node:
        node = Node(len(self.nodes), state, origin, self.config.unknown_value)
        self.nodes[state.shared] = node
        return node

    def can_expand(self, node: Node) -> bool:
        return not node.exhausted and node.expansions < self.config.max_expansions

    def has_option(self, node: Node) -> bool:
        """Whether this node itself, apart from its subgoals, can be expanded or has a tactic that is untried or running."""
        return bool(node.untried or node.pending or node.expanding) or self.can_expand(node)

    def add_suggestions(self, node: Node, suggestions: Sequence[Suggestion]) -> int:
        """Record one expansion of `node` and return the number of new tactics. Without a new one the node is exhausted."""
        added = self.add_tactics(node, suggestions)
        node.expansions += 1
        node.expanding = False
        if not added:
            node.exhausted = True
        self.update_status(node)
        return added

    def add_tactics(self, node: Node, suggestions: Sequence[Suggestion]) -> int:
        """Add tactics from any source to `node` and return the number of new ones."""
        known = {e.tactic for e in node.edges}
        added = 0
        for s in suggestions:
            if (tactic := valid_text(s.tactic)) in known:
                continue
            known.add(tactic)
            node.edges.append(Edge(node, tactic, max(s.logprob, LEAST_LOGPROB), s.source))
            added += 1
        if added:
            self._set_priors(node)
            self.edge_count += added
        return added

    def _set_priors(self, node: Node) -> None:
        """Softmax over all tactics of a node. Selection divides by the mass, to which failed tactics do not count."""
        config = self.config
        scores = [e.logprob for e in node.edges]
        if config.length_power:
            scores = [s / max(1, len(e.tactic)) ** config.length_power for s, e in zip(scores, node.edges, strict=True)]
        for e, prior in zip(node.edges, softmax([s / config.temperature for s in scores]), strict=True):
            e.prior = prior
        node.mass = sum(e.prior for e in node.edges if e.status not in (FAILED, DUPLICATE))
        # A stable sort of the reverse: among equals the policy's first choice is popped first.
        node.untried = sorted((e for e in reversed(node.edges) if e.status == UNTRIED), key=lambda e: e.prior)

    def claim(self, edge: Edge) -> None:
        """Mark an untried edge as running in Lean."""
        node = edge.parent
        if node.untried[-1] is edge:
            node.untried.pop()
        else:
            node.untried.remove(edge)
        edge.status = RUNNING
        node.pending += 1

    def release(self, edge: Edge) -> None:
        """Undo `claim` for a cancelled call."""
        edge.status = UNTRIED
        edge.parent.pending -= 1
        insort(edge.parent.untried, edge, key=lambda e: e.prior)
        self.entered.append(edge.parent)

    def fail(self, edge: Edge, error: str, message: str = "") -> None:
        """Record that a running tactic failed by itself."""
        edge.error = error
        edge.message = message[:MESSAGE_LIMIT]
        edge.parent.pending -= 1
        status.fail_edge(self, edge)
        self.update_status(edge.parent)

    def apply(self, edge: Edge, result: StepResult) -> tuple[list[Node], list[ProofState]]:
        """Record the successful result of a running tactic.

        Returns the new nodes, and the states of known goals, which the graph does not need.
        """
        node = edge.parent
        surplus: list[ProofState] = []
        if any(s.key == node.state.key for s in result.states):
            self.fail(edge, "cycle", "leads back to the same goals")
            return [], list(result.states)
        fresh: list[Node] = []
        children: list[Node] = []
        for state in result.states:
            child = self.nodes.get(state.shared)
            if child is None:
                child = self._node(state, edge)
                fresh.append(child)
            elif not child.has_state and status.alive(self, child):
                child.set_state(state)
            else:
                surplus.append(state)
            children.append(child)
        edge.children = tuple(children)
        edge.order = result.order
        edge.renamed = tuple(map(renamed_in, result.states))
        node.pending -= 1
        effect = sorted(c.id for c in children)
        twins = (e for e in node.live if len(e.children) == len(effect) and sorted(c.id for c in e.children) == effect)
        edge.twin = next(twins, None)
        if edge.twin is not None:
            edge.status = DUPLICATE
            edge.children = edge.renamed = ()
            node.mass -= edge.prior
        else:
            edge.status = OPEN
            node.live.append(edge)
            for child in dict.fromkeys(children):
                child.parents.append(edge)
                better = node.logprob + edge.logprob
                if better > child.logprob and child.depth:
                    child.logprob = better
                    if child.relevant:
                        self.entered.append(child)  # a frontier has it at its old priority
            status.attach(self, edge)
        self.update_status(node)
        for child in children:  # states of irrelevant nodes are freed soon
            if child.has_state and not child.relevant:
                self.dropped.append(child)
        return fresh, surplus

    def update_status(self, node: Node) -> None:
        """Propagate statuses after `node` lost an option."""
        if node.status == OPEN and node.support is True and not self.has_option(node):
            status.lose_support(self, node)
        status.repair_relevance(self)
