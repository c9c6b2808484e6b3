"""Value targets by TD(λ) (Sutton 1988) on a search's AND-OR tree.

The target is in the search's unit, discount ** steps with 0 for `not provable`. V is the model's value when a goal was first reached.
The successors of a goal are the goals left by its best tactic. All of them have to be proved, so steps add up and values multiply:

    G(goal) = discount * product over successors c of [(1 - λ) V(c) + λ G(c)]

A goal closed by its tactic has G = discount. A goal that failed in the search has G = 0. A successor that was never expanded, or
reached without a model, has no V. A goal with such a successor has no target, unless enough search makes it a negative (as in
expert_iteration.py). λ = 1 gives the outcome (Monte Carlo), λ = 0 one-step bootstrapping.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from prover.models.tokenizer import N_BINS
from prover.search import SearchConfig
from prover.search.examples import Example
from rl.algorithms.expert_iteration import NEGATIVE_VISITS
from rl.examples import ValueExample, mean_one


def targets(examples: Sequence[Example], lambda_: float, discount: float) -> list[float | None]:
    """The target of each example, in [0, 1], or None. `lambda_`: λ. `discount`: that of the search."""
    unknown = SearchConfig().unknown_value
    by_key = {e.key: e for e in examples}
    done: dict[str, float | None] = {}

    def value(key: str) -> float | None:
        """V; None without a model's value."""
        e = by_key.get(key)
        return None if e is None or e.initial == unknown else e.initial

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
                done[key] = 0.0
            else:
                below = [mixed(c, path | {key}) for c in e.next]
                known = [g for g in below if g is not None]
                if len(known) == len(below) and (below or e.solved):
                    done[key] = discount * math.prod(known)
                else:
                    done[key] = 0.0 if e.total_visits >= NEGATIVE_VISITS and not e.solved else None
        return done[key]

    return [target(e.key, frozenset()) for e in examples]


def value_examples(rows: Sequence[Mapping[str, Any]], discount: float) -> list[ValueExample]:
    """Training examples from the newest row of each state. The target is split over the two neighbouring bins whose weighted mean it is
    (two-hot; Bellemare et al. 2017), times the row's `weight` (replay priority). These weights are scaled to a mean of 1 among targets
    of 0, and to a mean of 1 among the others. Skips rows without a target."""
    newest = {r["state"]: r for r in rows if r.get("td") is not None}
    weights: dict[str, float] = {}
    for negative in (False, True):
        weights |= mean_one({s: r.get("weight", 1.0) for s, r in newest.items() if (r["td"] == 0) == negative})
    out = []
    for state, r in newest.items():
        for b, w in two_hot(r["td"], discount):
            if w > 1e-3:
                out.append(
                    ValueExample(state, b, tuple(r["premises"]), w * weights[state], tuple(r.get("constants", ())))
                )
    return out


def two_hot(value: float, discount: float) -> list[tuple[int, float]]:
    """(bin, weight) of the two bins around a value. Bin i stands for discount ** (i + 1), and the last one for 0."""
    bins = [*(discount ** (i + 1) for i in range(N_BINS - 1)), 0.0]
    value = min(value, bins[0])
    below = next((i for i, x in enumerate(bins) if x <= value), N_BINS - 1)
    if below == 0 or bins[below - 1] == bins[below]:
        return [(below, 1.0)]
    upper = (value - bins[below]) / (bins[below - 1] - bins[below])
    return [(below - 1, upper), (below, 1 - upper)]
