"""Selection rules decide which tactic to try next. All searches share the rest of the loop.

The registry `RULES` has two kinds. A tree rule selects an edge at each goal on the path down from the root, among the live
edges and the most probable untried one without those banned in this simulation, or None. A frontier rule gives the priority
of a goal in one queue over the whole graph.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prover import plugins
from prover.search.config import SearchConfig
from prover.search.graph import OPEN, SOLVED, Edge, Graph, Node

EdgeSelector = Callable[[Node, SearchConfig, "set[Edge]"], "Edge | None"]
Priority = Callable[[Node, SearchConfig], float]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named selection rule: `select_edge` or `priority` is set, never both."""

    name: str
    select_edge: EdgeSelector | None = None
    priority: Priority | None = None
    rollouts: bool = False
    """Whether new goals are evaluated by rollouts."""
    waits: bool = False
    """Whether a simulation waits for work in flight that its choice depends on. Other tree rules count simulations in flight as visits."""

    @property
    def counts_calls(self) -> bool:
        """Whether a goal's visits equal the Lean calls spent below it, because each simulation makes one call."""
        return self.select_edge is not None and not self.rollouts


def puct(node: Node, config: SearchConfig, banned: set[Edge]) -> Edge | None:
    """argmax Q + c(N) P sqrt(N) / (1 + n) (Silver et al. 2018, AlphaZero, c(N) as in its pseudocode).

    N: visits of the tactics, plus one for the goal's own first visit. Simulations in flight do not count: a simulation that depends
    on one waits (see `simulation.descend`), so the choice equals that of a search with one simulation at a time. An untried tactic has
    Q = goal's value - fpu_reduction, so only the most probable one is considered. Priors are renormalised over the tactics that have
    not failed. `root_breadth` reserves calls for the root's own tactics.
    """
    if node.origin is None and node.untried and node.untried[-1] not in banned:
        calls = node.visits
        if len(node.edges) - len(node.untried) < calls * calls / (calls + config.root_breadth):
            return node.untried[-1]
    total = node.visits + 1.0
    scale = math.log((total + config.c_base) / config.c_base) + config.c_init
    scale *= math.sqrt(total) / max(node.mass, 1e-9)
    best = None
    best_score = -1.0
    for edge in node.live:
        if edge in banned:
            continue
        score = edge.value + scale * edge.prior / (1.0 + edge.visits)
        if score > best_score:
            best, best_score = edge, score
    if node.untried:
        edge = node.untried[-1]
        if edge not in banned:
            score = max(0.0, node.value - config.fpu_reduction) + scale * edge.prior
            if score > best_score:
                best = edge
    return best


def _best(node: Node, banned: set[Edge], score: Callable[[Edge], float], untried: float) -> Edge | None:
    """The live edge with the highest score, or the most probable untried one, whose score is `untried`; the first of equals."""
    arms = [(score(e), e) for e in node.live if e not in banned]
    if node.untried and node.untried[-1] not in banned:
        arms.append((untried, node.untried[-1]))
    return max(arms, key=lambda arm: arm[0])[1] if arms else None


def rollout(node: Node, config: SearchConfig, banned: set[Edge]) -> Edge | None:
    """UCT (Kocsis, Szepesvári 2006): argmax Q + c sqrt(ln N / n), with Q from rollouts only.

    The untried tactics are one arm with as many draws as tactics were tried here: the search need not try all of them
    before it goes deeper.
    """
    log_total = math.log(node.visits + node.virtual + 1.0)

    def score(value: float, n: int) -> float:
        return value + config.c_uct * math.sqrt(log_total / n)

    def tried(edge: Edge) -> float:
        n = max(1, edge.visits + edge.virtual)
        return score(edge.value * edge.visits / n, n)

    draws = len(node.edges) - len(node.untried)
    return _best(node, banned, tried, score(max(0.0, node.value - config.fpu_reduction), draws) if draws else math.inf)


def rmax(node: Node, config: SearchConfig, banned: set[Edge]) -> Edge | None:
    """RMaxTS (Xin et al. 2024, DeepSeek-Prover-V1.5, section 3.3): rewards new states only and discounts old rewards.

    DUCB: W_g(s,a) / N_g(s,a) + sqrt(2 ln(sum_b N_g(s,b)) / N_g(s,a)). An untried tactic is one more arm, as the virtual
    child of each node in the paper. Simulations in flight count as draws without reward.
    """
    total = node.try_weight + node.pending + sum(e.weight + e.virtual for e in node.live)
    log_total = 2.0 * math.log(max(1.0, total))

    def score(reward: float, n: float) -> float:
        return reward / n + math.sqrt(log_total / n)

    draws = node.try_weight + node.pending
    untried = score(node.try_reward, draws) if draws else math.inf
    return _best(node, banned, lambda e: score(e.reward, max(e.weight + e.virtual, 1e-9)), untried)


def uniform(node: Node, config: SearchConfig, banned: set[Edge]) -> Edge | None:
    """The least visited live edge, or an untried tactic where every live edge has as many visits as tactics were tried."""
    tried = len(node.edges) - len(node.untried)
    return _best(node, banned, lambda e: -(e.visits + e.virtual), 0.5 - tried)  # between whole numbers: no ties


def best_first(node: Node, config: SearchConfig) -> float:
    """Log-probability of the tactics from the root (ReProver, Yang et al. 2023), divided by depth ** length_penalty
    (BFS-Prover, Xin et al. 2025, section 3.1)."""
    return node.logprob / max(1, node.depth) ** config.length_penalty


def best_tactic(node: Node, config: SearchConfig) -> float:
    """Best-first over tactics: log-probability of the tactics from the root, including the one to try next.

    ReProver tries all suggestions for the best goal first. This rule moves on as soon as a tactic elsewhere is more
    probable, which makes it a stronger baseline for policies with many suggestions.
    """
    return node.logprob + (node.untried[-1].logprob if node.untried else 0.0)


def breadth(node: Node, config: SearchConfig) -> float:
    """Shallow goals first, in order of creation; at most `config.suggestions` tactics each in the first round."""
    return -float(node.depth)


RULES: dict[str, Rule] = {
    r.name: r
    for r in (
        Rule("puct", select_edge=puct, waits=True),
        Rule("best_first", priority=best_first),
        Rule("best_tactic", priority=best_tactic),
        Rule("breadth", priority=breadth),
        Rule("rollout", select_edge=rollout, rollouts=True),
        Rule("rmax", select_edge=rmax),
        Rule("uniform", select_edge=uniform),
    )
}


def rule_named(name: str) -> Rule:
    """The rule with this name, from `RULES` or the entry points `turnstile.rules`. Raises UserError, which lists the known names, if
    there is none."""
    return plugins.chosen("turnstile.rules", RULES, name)


def edge_value(edge: Edge, config: SearchConfig) -> float:
    """Value of a tactic in [0, 1] from its subgoals; solved subgoals count as 1.

    `min`: discount * value of the hardest open subgoal (Hubert et al. 2025, AlphaProof). `product`: product of values,
    not discounted (Lample et al. 2022, HTPS). `sum`: discount ** (1 + sum of steps).
    """
    if edge.status == SOLVED:
        return config.discount**edge.steps
    children = edge.children
    if len(children) == 1:
        value = children[0].value
    elif config.combine == "min":
        value = min((c.value for c in children if c.status != SOLVED), default=1.0)
    else:
        value = math.prod(c.value for c in children if c.status != SOLVED)
    return value if config.combine == "product" else config.discount * value


def backup(nodes: list[Node], edges: list[Edge], reward: float, config: SearchConfig) -> None:
    """Count a finished simulation on its path and update values from the leaf up.

    A goal's value is (initial + sum n q) / (1 + sum n) over the tactics that have not failed. It is recomputed from the
    children, not accumulated, so that it stays correct where paths meet (Czech et al. 2021, Monte-Carlo Graph Search).
    `reward`, for `rmax`: 1 if the simulation reached a new state, else 0.
    """
    decay = config.rmax_discount
    for depth in range(len(edges) - 1, -1, -1):
        edge = edges[depth]
        node = nodes[depth]
        edge.visits += 1
        node.visits += 1
        if edge is edges[-1]:
            node.try_weight = decay * node.try_weight + 1.0
            node.try_reward = decay * node.try_reward + reward
        edge.weight = decay * edge.weight + 1.0
        edge.reward = decay * edge.reward + reward
        if edge.status == OPEN:
            edge.value = edge_value(edge, config)
        update_value(node)


def update_value(node: Node) -> None:
    """Recompute an open goal's value: the mean of its tactics' values weighted by visits, and its initial value once."""
    if node.status != OPEN:
        return
    value = node.initial
    n = 1
    for e in node.live:
        value += e.visits * e.value
        n += e.visits
    node.value = value / n


class Frontier:
    """Priority queue of the goals with something to try, for the rules with a priority.

    Goals come in rounds: all first expansions precede any second one.
    """

    def __init__(self, priority: Priority, graph: Graph) -> None:
        self._priority = priority
        self._graph = graph
        self._heap: list[tuple[int, float, int, int, Node]] = []
        """(round, cost, id, entry number, goal). The id breaks ties in the same way after a resume."""
        self._pushed = 0

    def push(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            round_ = node.expansions - 1 if node.untried else node.expansions
            heapq.heappush(self._heap, (round_, -self._priority(node, self._graph.config), node.id, self._pushed, node))
            self._pushed += 1

    def next(self) -> tuple[Node, Edge | None] | None:
        """The best goal and its next tactic (None: expand the goal); None when the queue is empty."""
        graph = self._graph
        while self._heap:
            round_, cost, _, _, node = self._heap[0]
            if -self._priority(node, graph.config) > cost:  # its best tactic was tried meanwhile
                heapq.heappop(self._heap)
                self.push((node,))
                continue
            if node.relevant and not node.expanding:
                if node.untried:
                    return node, node.untried[-1]
                if graph.can_expand(node):
                    if round_ >= node.expansions:
                        return node, None
                    heapq.heappop(self._heap)
                    self.push((node,))
                    continue
            heapq.heappop(self._heap)
        return None
