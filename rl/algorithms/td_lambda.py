"""Value targets by TD(λ) (Sutton 1988) on a search's AND-OR tree.

The target is steps-to-go. V is the model's value when a goal was first reached. The successors of a goal are the goals left by its
best tactic, and the hardest of them counts (AlphaProof; Hubert et al. 2025):

    G(goal) = 1 + max over successors c of [(1 - λ) V(c) + λ G(c)]

A goal closed by its tactic has G = 1. A goal that failed in the search has the value of the last bin, `that many steps or never`.
A successor that was never expanded, or reached without a model, has no V. A goal with such a successor has no target, unless
enough search makes it a negative (as in expert_iteration.py). λ = 1 gives the outcome (Monte Carlo), λ = 0 one-step
bootstrapping.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from prover.models.tokenizer import N_BINS
from prover.search import SearchConfig
from prover.search.examples import Example
from rl.algorithms.expert_iteration import NEGATIVE_VISITS
from rl.learner.from_scratch import ValueExample


def targets(examples: Sequence[Example], lambda_: float, discount: float) -> list[float | None]:
    """The target of each example in steps, in [1, N_BINS]; None without a target.

    `discount`: of the search, whose values in [0, 1] are discount ** steps.
    """
    unknown = SearchConfig().unknown_value
    by_key = {e.key: e for e in examples}
    done: dict[str, float | None] = {}

    def value(key: str) -> float | None:
        """V in steps; None without a model's value."""
        e = by_key.get(key)
        return None if e is None or e.initial == unknown else to_steps(e.initial, discount)

    def mixed(key: str, path: frozenset[str]) -> float | None:
        v, g = value(key), target(key, path)
        if v is None or g is None:
            return g if v is None else v
        return (1 - lambda_) * v + lambda_ * g

    def target(key: str, path: frozenset[str]) -> float | None:
        e = by_key.get(key)
        if e is None or key in path:  # never expanded, or a cycle: only V is known
            return None
        if key not in done:
            if e.failed:
                done[key] = float(N_BINS)
            else:
                below = [mixed(c, path | {key}) for c in e.next]
                known = [g for g in below if g is not None]
                if len(known) == len(below) and (below or e.solved):
                    done[key] = min(float(N_BINS), 1.0 + max(known, default=0.0))
                else:
                    done[key] = float(N_BINS) if e.total_visits >= NEGATIVE_VISITS and not e.solved else None
        return done[key]

    return [target(e.key, frozenset()) for e in examples]


def to_steps(value: float, discount: float) -> float:
    """Steps-to-go of a value discount ** steps, in [1, N_BINS]."""
    if value <= 0.0 or discount >= 1.0:
        return float(N_BINS)
    return min(float(N_BINS), max(1.0, math.log(value) / math.log(discount)))


def value_examples(rows: Sequence[Mapping[str, Any]]) -> list[ValueExample]:
    """Training examples from the newest row of each state, with the target split over its two neighbouring bins (two-hot; Bellemare
    et al. 2017). Skips rows without a target."""
    newest = {r["state"]: r for r in rows if r.get("td") is not None}
    out = []
    for state, r in newest.items():
        low = math.floor(r["td"])
        upper = r["td"] - low
        for b, w in ((low, 1 - upper), (low + 1, upper)):
            if w > 1e-3:
                out.append(
                    ValueExample(state, min(b, N_BINS) - 1, tuple(r["premises"]), w, tuple(r.get("constants", ())))
                )
    return out
