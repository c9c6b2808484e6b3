"""Several policies as one: a mixture of their distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from prover.models.base import Policy, Query, Suggestion


class Mixture:
    """`sum_i weight_i * policy_i`: what a model learned, widened by what an explorer would try.

    Each policy's proposals are renormalised over what it proposed, so that a policy that spreads its mass over text it
    never proposes is not lost beside one that knows exactly what it can say.
    """

    def __init__(self, policies: Sequence[tuple[Policy, float]]) -> None:
        total = sum(w for _, w in policies)
        if not policies or total <= 0:
            raise ValueError("a mixture needs a policy with a positive weight")
        self.policies = [(p, w / total) for p, w in policies]

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return combine([(p.suggest(queries, n), w) for p, w in self.policies], n)


def combine(parts: Sequence[tuple[list[list[Suggestion]], float]], n: int) -> list[list[Suggestion]]:
    """Mix the answers of several policies, [policies][queries][suggestions] with weights, keeping the best `n` of each."""
    mixed: list[list[Suggestion]] = []
    for row in zip(*(answers for answers, _ in parts), strict=True):
        mass: dict[str, float] = {}
        source: dict[str, str] = {}
        for suggestions, (_, weight) in zip(row, parts, strict=True):
            total = sum(math.exp(s.logprob) for s in suggestions)
            for s in suggestions:
                p = weight * math.exp(s.logprob) / total if total > 0 else 0.0
                if p > mass.get(s.tactic, 0.0) * 0.5:
                    source.setdefault(s.tactic, s.source)
                mass[s.tactic] = mass.get(s.tactic, 0.0) + p
        best = sorted(mass, key=lambda t: -mass[t])[:n]
        mixed.append([Suggestion(t, math.log(max(mass[t], 1e-12)), source.get(t, "")) for t in best])
    return mixed
