"""Figures of a search, for the metrics of a run."""

from __future__ import annotations

import math
from typing import Any

from prover.search import Search, SearchResult
from prover.search.graph import SOLVED, Graph

PREDICTIONS_KEPT = 32
"""Maximum number of value predictions recorded per search, for calibration."""
ENOUGH_VISITS = 8
"""Visits after which an open goal counts as not provable, for calibration."""


def search_stats(search: Search, result: SearchResult) -> dict[str, Any]:
    """Counts and times of a search, and the share of the expanded goals that it closed."""
    stats = result.stats
    expanded = [n for n in search.graph.nodes.values() if n.expansions]
    recorded: dict[str, Any] = {
        "nodes": stats.nodes,
        "edges": stats.edges,
        "errors": dict(stats.errors),
        "lean_s": round(stats.lean_s, 4),
        "model_s": round(stats.model_s, 4),
        "own_s": round(stats.own_s, 4),
        "neither_s": round(stats.neither_s, 4),
        "model_tokens": stats.model_tokens,
        "closed": round(sum(n.status == SOLVED for n in expanded) / max(1, len(expanded)), 4),
    }
    return recorded | ({"steps": result.proof.size} if result.proof is not None else {})


def entropy(graph: Graph) -> float | None:
    """Mean entropy, in nats, of the policy over the model's suggestions at the expanded goals.

    Uses the mixture's probabilities, renormalised without the explorer's tactics. None if the model suggested nothing.
    """
    found = []
    for node in graph.nodes.values():
        said = [math.exp(e.logprob) for e in node.edges if e.source == "model"]  # not priors, which have a temperature
        if said and (total := sum(said)) > 0:
            found.append(-sum(p / total * math.log(p / total) for p in said if p > 0))
    return round(sum(found) / len(found), 4) if found else None


def predictions(graph: Graph) -> list[tuple[float, int | None]]:
    """(predicted value in [0, 1], tactics in the shortest proof found) of up to PREDICTIONS_KEPT goals. None instead of the tactics for a
    goal that is open after `ENOUGH_VISITS` visits.

    Skips other open goals, and the root, for which the search requests no value.
    """
    found: list[tuple[float, int | None]] = []
    for node in graph.nodes.values():
        if node is graph.root or node.initial == graph.config.unknown_value:
            continue
        if node.status == SOLVED:
            found.append((round(node.initial, 4), int(node.steps)))
        elif node.visits >= ENOUGH_VISITS:
            found.append((round(node.initial, 4), None))
        if len(found) == PREDICTIONS_KEPT:
            break
    return found
