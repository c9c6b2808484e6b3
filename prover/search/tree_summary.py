"""A search in few bytes, for pages that show many: goals, the tactics tried on them, and how each ended."""

from __future__ import annotations

from typing import Any

from prover.search.graph import RUNNING, STATUS_NAMES, UNTRIED, Graph, Node

GOALS, TACTICS, TEXT = 60, 24, 600
"""Most goals, tactics a goal, and characters a goal that are kept."""


def tree_summary(graph: Graph) -> dict[str, Any]:
    """`goals`: each `[text, status, [[tactic, status, message, [numbers of goals left]], …]]`, root first; `left_out`: goals
    that are not there. Goals near the root come first; tactics: those of the proof, then the most visited.
    """
    numbers: dict[Node, int] = {graph.root: 0}
    queue = [graph.root]
    goals: list[list[Any]] = []
    for node in queue:  # grows as it goes: breadth first
        tried = [e for e in node.edges if e.status not in (UNTRIED, RUNNING)]
        tried.sort(key=lambda e: (e is not node.best, -e.visits, -e.prior))
        rows: list[list[Any]] = []
        for edge in tried[:TACTICS]:
            for child in edge.children:
                if child not in numbers and len(numbers) < GOALS:
                    numbers[child] = len(numbers)
                    queue.append(child)
            status = edge.error or STATUS_NAMES[edge.status]
            rows.append([edge.tactic[:200], status, edge.message[:160], [numbers.get(c, -1) for c in edge.children]])
        goals.append([node.state.text[:TEXT], STATUS_NAMES[node.status], rows])
    return {"goals": goals, "left_out": len(graph.nodes) - len(numbers)}
