"""Mixtures of policies, in particular of a model and the explorer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from prover.models.base import Policy, Query, Suggestion, count_tokens
from prover.models.tactic_templates import Explorer

EXPLORER_WEIGHT = 0.5
"""Weight of the explorer in a trained prover."""


class ExploringPolicy:
    """A mixture of a model and the explorer.

    It returns up to 4 n tactics, of which 3 n are the explorer's, because these cost nothing.
    """

    def __init__(self, model: Policy, explorer: Explorer, weight: float = EXPLORER_WEIGHT) -> None:
        """`weight`: of the explorer, in [0, 1]."""
        self.model, self.explorer, self.weight = model, explorer, weight

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return mix_with_explorer(self.model.suggest(queries, n), queries, self.explorer, self.weight, n)

    def count_tokens(self, query: Query, suggestions: Sequence[Suggestion]) -> int:
        """The model's tokens. Tactics that only the explorer proposed cost none."""
        return count_tokens(self.model, query, [s for s in suggestions if s.source != "explorer"])


def mix_with_explorer(
    learned: list[list[Suggestion]], queries: Sequence[Query], explorer: Explorer, weight: float, n: int
) -> list[list[Suggestion]]:
    """Mix a model's answers with the explorer's. An explorer with a ranker also scores the model's tactics, so a hopeless
    one keeps only the probability that the model gave it."""
    if weight > 0:
        widened = explorer.suggest(queries, 3 * n, [[s.tactic for s in row] for row in learned])
        # No suggestion is dropped: the explorer does not propose a tactic again.
        learned = mix([(learned, 1 - weight), (widened, weight)], 4 * n)
    return explorer.assessed(queries, learned)


def mix(parts: Sequence[tuple[list[list[Suggestion]], float]], n: int) -> list[list[Suggestion]]:
    """Mix the answers of several policies, [policies][queries][suggestions] with weights, and keep the best `n` per query.

    Probabilities are not renormalised over the proposals, so that an untrained model, which is uncertain, does not outvote a confident
    policy.
    """
    mixed: list[list[Suggestion]] = []
    for row in zip(*(answers for answers, _ in parts), strict=True):
        mass: dict[str, float] = {}
        source: dict[str, str] = {}
        for suggestions, (_, weight) in zip(row, parts, strict=True):
            for s in suggestions:
                source.setdefault(s.tactic, s.source)
                mass[s.tactic] = mass.get(s.tactic, 0.0) + weight * math.exp(s.logprob)
        best = sorted(mass, key=lambda t: -mass[t])[:n]
        mixed.append([Suggestion(t, math.log(max(mass[t], 1e-12)), source[t]) for t in best])
    return mixed
