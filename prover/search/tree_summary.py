"""A compact summary of a search tree, for pages that show many searches."""

from __future__ import annotations

from typing import Any

from prover.search.graph import RUNNING, STATUS_NAMES, UNTRIED, Graph, Node

GOALS, TACTICS, TEXT = 60, 24, 600
"""Limits: goals, tactics per goal, characters per goal."""


def tree_summary(graph: Graph) -> dict[str, Any]:
    """`goals`: a list of `[text, status, [[tactic, status, message, [subgoal numbers]], …]]`, breadth first; `left_out`:
    number of goals omitted. Tactics of the proof come first, then the most visited. An omitted subgoal is -1.
    """
    numbers: dict[Node, int] = {graph.root: 0}
    queue = [graph.root]
    goals: list[list[Any]] = []
    for node in queue:  # grows in the loop
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
