"""Training examples from a search: one for each expanded goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prover.lean.names import names_in
from prover.premises.local import LocalCandidate, local_premises
from prover.search.graph import FAILED, RUNNING, SOLVED, UNTRIED, Edge, Graph, Node

UNJUDGED = frozenset({"crash", "replay", "question"})
"""Kinds of failure that say nothing about the tactic."""


@dataclass(frozen=True, slots=True)
class Example:
    """A goal with the search's results. Statuses are the search's; proofs still have to be audited."""

    text: str
    """The goal as models read it."""
    key: str
    premises: tuple[str, ...]
    """Premises last offered to the policy."""
    visits: tuple[tuple[str, float], ...]
    """Distribution over the visited tactics, a policy target (AlphaZero); sums to 1 unless empty."""
    total_visits: int
    solved: bool
    failed: bool
    """Nothing was left to try. This does not disprove the goal."""
    steps: int | None
    """Tactics in the shortest proof found; a value target."""
    value: float
    """The search's own estimate in [0, 1], discount ** steps."""
    best: tuple[tuple[str, int], ...]
    """Every tactic that starts a proof, with the size of that proof, shortest first. A tactic with the same effect as another
    one counts like it."""
    errors: tuple[tuple[str, str], ...]
    """Tactics that failed by themselves, or that Lean did not judge, with the kind of failure."""
    depth: int
    """Tactics from the root when the goal was first met."""
    initial: float = 0.5
    """First estimate of the value model in [0, 1]; without a model the search's default."""
    next: tuple[str, ...] = ()
    """Keys of the best tactic's subgoals. Best: it starts the shortest proof, else it has the most visits."""
    leading: str = ""
    """The best tactic, as in `next`; empty if none was applied."""
    constants: tuple[str, ...] = ()
    """Constants in the goal, by which premises are retrieved."""
    tried: tuple[str, ...] = ()
    """Every tactic sent to Lean."""
    local: tuple[LocalCandidate, ...] = ()
    """For a solved goal, theorems of its surroundings that its retriever may learn from."""

    @property
    def unjudged(self) -> frozenset[str]:
        """Tactics of `tried` that Lean did not judge: neither a success nor a failure."""
        return frozenset(tactic for tactic, kind in self.errors if kind in UNJUDGED)

    @property
    def failures(self) -> list[str]:
        """Tactics of `errors` that Lean judged."""
        return [tactic for tactic, kind in self.errors if kind not in UNJUDGED]


def examples(graph: Graph) -> list[Example]:
    """An example for each expanded node, in the order in which nodes were created."""
    found: list[Example] = []
    for node in graph.nodes.values():
        if not node.expansions:
            continue
        effects = [(e, e.twin or e) for e in node.edges]
        solving = sorted(((e.tactic, int(t.steps)) for e, t in effects if t.status == SOLVED), key=lambda p: p[1])
        visits = node.visits
        constants = tuple(dict.fromkeys(c for g in node.state.goals for c in g.constants))
        leading = node.best or max(node.live, key=lambda e: e.visits, default=None)
        found.append(
            Example(
                text=node.state.text,
                key=node.key,
                premises=node.premises,
                visits=tuple((e.tactic, e.visits / visits) for e in node.edges if e.visits),
                total_visits=visits,
                solved=node.status == SOLVED,
                failed=node.status == FAILED,
                steps=int(node.steps) if node.status == SOLVED else None,
                value=node.value,
                best=tuple(solving),
                errors=tuple((e.tactic, e.error) for e in node.edges if e.error is not None),
                depth=node.depth,
                initial=node.initial,
                next=tuple(c.key for c in leading.children) if leading is not None else (),
                leading=leading.tactic if leading is not None else "",
                constants=constants,
                tried=tuple(e.tactic for e in node.edges if _tried(e)),
                local=_local(node, constants, [t for t, _ in solving]) if node.status == SOLVED else (),
            )
        )
    return found


def _local(node: Node, constants: Sequence[str], solving: Sequence[str]) -> tuple[LocalCandidate, ...]:
    named = {name for tactic in solving for name in names_in(tactic)}
    return local_premises(node.state.surroundings).candidates(constants, named | set(node.premises))


def _tried(edge: Edge) -> bool:
    return edge.call > 0 and edge.status not in (UNTRIED, RUNNING)
