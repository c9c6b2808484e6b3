"""A search tree as a self-contained HTML page: an icicle chart of goals and tactics, with a panel for details."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from string import Template

import msgspec
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from prover.search.graph import FAILED, OPEN, SOLVED, STATUS_NAMES, UNTRIED, Edge, Graph, Node

DEPTH_SHOWN = 12
"""Most levels drawn at a time; a click goes deeper."""
SLICES_SHOWN = 1500
"""Approximate limit of slices drawn at a time: browsers are slow with more."""
TEXT_LIMIT = 4000
"""Characters of a goal on the page."""

_PAGE = Template(Path(__file__).with_name("tree.html").read_text(encoding="utf-8"))
_COLOURS = {"proof": "#1a7f37", "solved": "#7fcf8f", "open": "#8fb8e8", "failed": "#d9a0a0", "untried": "#cccccc"}
_LEGEND = {
    "proof": "shortest proof",
    "solved": "solved",
    "open": "open",
    "failed": "failed",
    "untried": "no longer relevant",
}


def tree_page(graph: Graph, title: str = "proof search", limit: int = 5000) -> str:
    """The page as HTML, with plotly.js inside, so that it opens without a network.

    A goal is drawn once, where it was first met. Of more than `limit` goals, those of the proof and then the most visited
    are drawn. The panel of a goal also lists failed and untried tactics.
    """
    proof = set(_proof_edges(graph))
    shown = _most_useful(graph, proof, limit)
    ids: list[str] = []
    parents: list[str] = []
    labels: list[str] = []
    colours: list[str] = []
    values: list[int] = []
    panel: dict[str, object] = {}
    first_met: dict[Edge, list[Node]] = {}
    for node in shown:
        if node.origin is not None:
            first_met.setdefault(node.origin, []).append(node)
    sizes = _sizes(graph, shown, first_met)
    proof_nodes = {e.parent for e in proof}
    for node in shown:
        ids.append(f"g{node.id}")
        parents.append(
            "" if node.origin is None else f"t{node.origin.parent.id}.{node.origin.parent.edges.index(node.origin)}"
        )
        target = node.state.goals[0].target if node.state.goals else ""
        labels.append(_label("⊢ " + (target or node.state.text.split("⊢")[-1].strip())))
        colours.append(_COLOURS[_goal_colour(node, proof_nodes)])
        values.append(sizes[node])
        panel[ids[-1]] = _goal_panel(node)
        for i, edge in enumerate(node.edges):
            if edge.status not in (OPEN, SOLVED, FAILED) or edge.error is not None:
                continue
            ids.append(f"t{node.id}.{i}")
            parents.append(f"g{node.id}")
            labels.append(_label(edge.tactic))
            colours.append(_COLOURS["proof" if edge in proof else STATUS_NAMES[edge.status]])
            values.append(1 + sum(sizes[c] for c in first_met.get(edge, ())))
            panel[ids[-1]] = _tactic_panel(edge, shown_ids=shown)
    figure = go.Figure(
        go.Icicle(
            ids=ids,
            parents=parents,
            labels=labels,
            values=values,
            branchvalues="total",
            maxdepth=_levels(ids, parents),
            marker={"colors": colours, "line": {"width": 1}},
            hoverinfo="label",
            tiling={"orientation": "v", "pad": 1},
            sort=False,
            pathbar={"visible": True},
        )
    )
    figure.update_layout(margin={"l": 4, "r": 4, "t": 24, "b": 4}, uniformtext={"minsize": 9, "mode": "hide"})
    left_out = len(graph.nodes) - len(shown)
    note = f"{len(graph.nodes)} goals, {graph.edge_count} tactics, root {STATUS_NAMES[graph.root.status]}"
    if left_out:
        note += f"; the {left_out} least visited goals are omitted"
    return _PAGE.substitute(
        title=html.escape(title),
        note=html.escape(note),
        plotly=get_plotlyjs(),
        figure=_script(figure.to_json() or "{}"),
        panel=_script(msgspec.json.encode(panel).decode()),
        legend="".join(f'<span><i style="background:{c}"></i>{_LEGEND[k]}</span>' for k, c in _COLOURS.items()),
    )


def _levels(ids: list[str], parents: list[str]) -> int:
    """Number of levels to draw at a time. Parents may come before or after their children."""
    above = dict(zip(ids, parents, strict=True))
    depth: dict[str, int] = {"": 0}
    for id in ids:
        chain = [id]
        while above[chain[-1]] not in depth:
            chain.append(above[chain[-1]])
        for one in reversed(chain):
            depth[one] = depth[above[one]] + 1
    counts = Counter(depth.values())
    shown, slices = 2, counts[1] + counts[2]
    while shown < DEPTH_SHOWN and slices + counts[shown + 1] <= SLICES_SHOWN:
        shown += 1
        slices += counts[shown]
    return shown


def _proof_edges(graph: Graph) -> Iterator[Edge]:
    stack = [graph.root] if graph.root.status == SOLVED else []
    seen: set[Node] = set(stack)
    while stack:
        edge = stack.pop().best
        assert edge is not None
        yield edge
        for child in edge.children:
            if child not in seen:
                seen.add(child)
                stack.append(child)


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


def _sizes(graph: Graph, shown: dict[Node, None], first_met: dict[Edge, list[Node]]) -> dict[Node, int]:
    """Width of a goal in the chart: itself and the tactics drawn at and below it. Parents precede children in `shown`."""
    sizes: dict[Node, int] = {}
    for node in reversed(shown):
        drawn = [e for e in node.edges if e.status in (OPEN, SOLVED, FAILED) and e.error is None]
        sizes[node] = 1 + sum(1 + sum(sizes[c] for c in first_met.get(e, ())) for e in drawn)
    return sizes


def _goal_colour(node: Node, proof: set[Node]) -> str:
    if node in proof:
        return "proof"
    if node.status == OPEN and not node.relevant:
        return "untried"
    return STATUS_NAMES[node.status]


def _label(text: str) -> str:
    """An escaped label, because Plotly interprets some HTML in labels."""
    line = " ".join(text.split())
    return html.escape(line if len(line) <= 80 else line[:79] + "…", quote=False)


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


def _script(json: str) -> str:
    """JSON that cannot close its script element."""
    return json.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
