"""Statistics of an attempt."""

from __future__ import annotations

import math

import pytest

from prover.lean.theorem import Goal, ProofState
from prover.models.base import Suggestion
from prover.search import SearchConfig
from prover.search.graph import Graph
from rl.search_stats import entropy


@pytest.mark.parametrize("temperature", [1.0, 2.0, math.inf])
def test_entropy_is_of_what_the_policy_said_and_not_of_flattened_priors(temperature: float):
    graph = Graph(ProofState(1, "k", (Goal("⊢ p", target="p"),)), SearchConfig(temperature=temperature))
    assert entropy(graph) is None
    said = [("rfl", 0.3, "model"), ("simp", 0.1, "model"), ("omega", 0.6, "explorer")]
    graph.add_suggestions(graph.root, [Suggestion(t, math.log(p), source) for t, p, source in said])
    assert entropy(graph) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25), abs=1e-4)
