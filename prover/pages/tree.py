"""A search tree as a self-contained HTML page: an icicle chart of goals and tactics, with a panel for details."""

from __future__ import annotations

from pathlib import Path

from prover.console import one_line
from prover.pages import templates
from prover.search.extract import proof_edges
from prover.search.graph import FAILED, OPEN, SOLVED, STATUS_NAMES, UNTRIED, Edge, Graph, Node

TEXT_LIMIT = 4000
"""Maximum number of characters of a goal on the page."""
LABEL = 80
"""Maximum number of characters in the chart."""

_PAGE = templates(Path(__file__).parent).get_template("tree.html")
_LEGEND = {
    "proof": "shortest proof",
    "solved": "solved",
    "open": "open",
    "failed": "failed",
    "untried": "no longer relevant",
}


def tree_page(graph: Graph, title: str = "proof search", limit: int = 5000) -> str:
    """The page as HTML. It needs no other file and no network.

    A goal is drawn once, where it was first met. Of more than `limit` goals, those of the proof and then the most visited
    are drawn. The panel of a goal also lists failed and untried tactics.
    """
    proof = set(proof_edges(graph))
    shown = _most_useful(graph, proof, limit)
    slices: list[tuple[str, str, str, str, int]] = []
    panel: dict[str, object] = {}
    first_met: dict[Edge, list[Node]] = {}
    for node in shown:
        if node.origin is not None:
            first_met.setdefault(node.origin, []).append(node)
    sizes = _sizes(shown, first_met)
    proof_nodes = {e.parent for e in proof}
    for node in shown:
        origin = node.origin
        above = "" if origin is None else f"t{origin.parent.id}.{origin.parent.edges.index(origin)}"
        target = node.state.goals[0].target if node.state.goals else ""
        label = one_line("⊢ " + (target or node.state.text.split("⊢")[-1].strip()), LABEL)
        slices.append((f"g{node.id}", above, label, _goal_kind(node, proof_nodes), sizes[node]))
        panel[f"g{node.id}"] = _goal_panel(node)
        for i, edge in _drawn(node):
            kind = "proof" if edge in proof else STATUS_NAMES[edge.status]
            size = 1 + sum(sizes[c] for c in first_met.get(edge, ()))
            slices.append((f"t{node.id}.{i}", f"g{node.id}", one_line(edge.tactic, LABEL), kind, size))
            panel[f"t{node.id}.{i}"] = _tactic_panel(edge, shown_ids=shown)
    left_out = len(graph.nodes) - len(shown)
    note = f"{len(graph.nodes)} goals, {graph.edge_count} tactics, root {STATUS_NAMES[graph.root.status]}"
    if left_out:
        note += f"; the {left_out} least visited goals are omitted"
    return _PAGE.render(title=title, note=note, slices=slices, panel=panel, legend=_LEGEND)


def _most_useful(graph: Graph, proof: set[Edge], limit: int) -> dict[Node, None]:
    """About `limit` nodes, closed under origins, in order of creation."""
    nodes = list(graph.nodes.values())
    if len(nodes) > limit:
        needed = {c for e in proof for c in e.children}
        chosen: set[Node] = set()
        for node in sorted(nodes, key=lambda n: (n not in needed, -n.visits, n.id)):
            if len(chosen) >= limit:
                break
            while node not in chosen:
                chosen.add(node)
                if node.origin is None:
                    break
                node = node.origin.parent
        nodes = [n for n in nodes if n in chosen]
    return dict.fromkeys(nodes)


def _drawn(node: Node) -> list[tuple[int, Edge]]:
    """The tactics in the chart, with their numbers."""
    return [(i, e) for i, e in enumerate(node.edges) if e.status in (OPEN, SOLVED, FAILED) and e.error is None]


def _sizes(shown: dict[Node, None], first_met: dict[Edge, list[Node]]) -> dict[Node, int]:
    """Width of a goal in the chart: itself and the tactics drawn at and below it. Parents precede children in `shown`."""
    sizes: dict[Node, int] = {}
    for node in reversed(shown):
        sizes[node] = 1 + sum(1 + sum(sizes[c] for c in first_met.get(e, ())) for _, e in _drawn(node))
    return sizes


def _goal_kind(node: Node, proof: set[Node]) -> str:
    if node in proof:
        return "proof"
    if node.status == OPEN and not node.relevant:
        return "untried"
    return STATUS_NAMES[node.status]


def _goal_panel(node: Node) -> dict[str, object]:
    return {
        "head": f"goal {node.id}, {STATUS_NAMES[node.status]}",
        "facts": f"{node.visits} visits, value {node.value:.3f} (at first {node.initial:.3f}), "
        + f"asked {node.expansions} times"
        + (f", shortest proof {node.steps:.0f} tactics" if node.status == SOLVED else ""),
        "text": node.state.text[:TEXT_LIMIT],
        "rows": [
            [
                e.tactic,
                e.error or STATUS_NAMES[e.status],
                f"{e.prior:.4f}",
                f"{e.value:.3f}" if e.visits else "",
                e.visits,
                e.message,
            ]
            for e in sorted(node.edges, key=lambda e: (-e.visits, e.status == UNTRIED, -e.prior))
        ],
    }


def _tactic_panel(edge: Edge, shown_ids: dict[Node, None]) -> dict[str, object]:
    names = [f"goal {c.id}" + ("" if c in shown_ids else " (omitted)") for c in edge.children]
    return {
        "head": f"tactic, {STATUS_NAMES[edge.status]}",
        "facts": f"{edge.visits} visits, value {edge.value:.3f}, prior {edge.prior:.4f}, logprob {edge.logprob:.3f}"
        + (f", from {edge.source}" if edge.source else ""),
        "text": edge.tactic,
        "rows": [
            [n, STATUS_NAMES[c.status], "", f"{c.value:.3f}", c.visits, ""]
            for n, c in zip(names, edge.children, strict=True)
        ],
    }
