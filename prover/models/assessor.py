"""Assessors: predict the cost of a goal, the outcome of a tactic and the use of a premise, before Lean is asked.

One model with the features of prover/models/ranker.py and prover/models/premise_features.py. Every head is a categorical distribution:

    calls(goal)             Lean calls until the goal is proved, in doublings; the last bin is more calls, or never
    steps(goal)             tactics left, given that the goal is proved
    outcome(goal, tactic)   error, time limit, progress, or the goal closed
    used(goal, premise)     whether a tactic that starts a proof of the goal names this premise alone, given that the goal is proved

With hashed features averaged to a goal vector g and summed to a tactic vector t or a premise vector p:

    h = relu(W g + b),   calls, steps = softmax(V h + c),   outcome_k = softmax(bias_k(t) + t . (R_k g) + U_k h + d_k),
    used = sigmoid(bias(p) + p . (Q g) + u . h + e)

A goal that was not proved within n calls has a cost above n: training treats it as right-censored (discrete-time
survival; Gensheimer & Narasimhan 2019). A probability of a proof therefore always names its calls. Training:
rl/algorithms/assessing.py. Needs numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from prover.arrays import load_arrays, save_arrays
from prover.lean.theorem import Goal
from prover.models.base import Query, ValueEstimate
from prover.models.premise_features import Offered
from prover.models.ranker import BUCKETS, Candidate, goal_features, summed

WIDTH = 24
FORMAT = 1
CALL_BINS = 12
"""Bins of at most 1, 2, 4, …, 1024 Lean calls, and one for more."""
STEP_BINS = 15
"""Bins of 1, 2, …, 14 tactics, and one for more."""
OUTCOMES = ("error", "timeout", "progress", "closes")
ERROR, TIMEOUT, PROGRESS, CLOSES = range(len(OUTCOMES))
HORIZON = 64
"""Lean calls within which a goal counts as provable when it guides a search."""
LEAST = 0.01
"""Minimum of the predicted probability that Lean accepts a tactic, in a search."""
SHAPES: dict[str, tuple[int, ...]] = {
    "goal": (BUCKETS, WIDTH),
    "tactic": (BUCKETS, WIDTH),
    "bias": (BUCKETS, len(OUTCOMES)),
    "hidden": (WIDTH + 1, WIDTH),
    "calls": (WIDTH + 1, CALL_BINS),
    "steps": (WIDTH + 1, STEP_BINS),
    "relation": (WIDTH, len(OUTCOMES) * WIDTH),
    "accepts": (WIDTH + 1, len(OUTCOMES)),
    "premise": (BUCKETS, WIDTH),
    "premise_bias": (BUCKETS, 1),
    "premise_relation": (WIDTH, WIDTH),
    "used": (WIDTH + 1, 1),
}
"""Arrays of the model. The last of WIDTH + 1 rows is a bias."""
LATER = ("premise", "premise_bias", "premise_relation", "used")
"""Arrays that earlier files lack. They are read as zeros, which prefer no premise to another."""


def call_bin(calls: int) -> int:
    """The bin of a proof that took this many Lean calls."""
    return min(math.ceil(math.log2(max(calls, 1))), CALL_BINS - 1)


@dataclass(frozen=True)
class Assessment:
    """Estimates for one goal."""

    calls: np.ndarray
    """[CALL_BINS] probabilities."""
    steps: np.ndarray
    """[STEP_BINS] probabilities, given a proof."""

    def provable(self, calls: float) -> float:
        """Probability of a proof within this many Lean calls, interpolated between doublings. Unreliable above the budgets of training."""
        if calls < 1:
            return 0.0
        whole, part = divmod(min(math.log2(calls), CALL_BINS - 2), 1)
        return float(self.calls[: int(whole) + 1].sum() + (part * self.calls[int(whole) + 1] if part else 0.0))


@dataclass(frozen=True)
class Assessor:
    """The weights: float32 arrays of SHAPES."""

    goal: np.ndarray
    tactic: np.ndarray
    bias: np.ndarray
    hidden: np.ndarray
    calls: np.ndarray
    steps: np.ndarray
    relation: np.ndarray
    accepts: np.ndarray
    premise: np.ndarray
    premise_bias: np.ndarray
    premise_relation: np.ndarray
    used: np.ndarray

    def assess(self, goal: Goal) -> Assessment:
        """Estimates for a goal."""
        h = self._hidden(self._vector(goal))
        return Assessment(_softmax(_affine(h, self.calls)), _softmax(_affine(h, self.steps)))

    def outcomes(self, goal: Goal, candidates: Sequence[Candidate]) -> np.ndarray:
        """[candidates, OUTCOMES] probabilities."""
        if not candidates:
            return np.zeros((0, len(OUTCOMES)), np.float32)
        g = self._vector(goal)
        vectors, bias = summed(candidates, self.tactic, self.bias)
        related = (g @ self.relation).reshape(len(OUTCOMES), WIDTH)
        return _softmax(bias + vectors @ related.T + _affine(self._hidden(g), self.accepts))

    def uses(self, goal: Goal, offered: Offered) -> dict[str, float]:
        """Probability that each premise is the only one named by a tactic that starts a proof of the goal."""
        if not offered:
            return {}
        g = self._vector(goal)
        vectors, bias = summed(list(offered.values()), self.premise, self.premise_bias)
        score = bias[:, 0] + vectors @ (g @ self.premise_relation) + _affine(self._hidden(g), self.used)
        return dict(zip(offered, (1.0 / (1.0 + np.exp(-score))).tolist(), strict=True))

    def accepted(self, goal: Goal, candidates: Sequence[Candidate]) -> list[float]:
        """Probability that Lean accepts each tactic, at least LEAST, so that no tactic is ruled out."""
        return [max(LEAST, float(p[PROGRESS] + p[CLOSES])) for p in self.outcomes(goal, candidates)]

    def _vector(self, goal: Goal) -> np.ndarray:
        return self.goal[list(goal_features(goal))].mean(0)

    def _hidden(self, g: np.ndarray) -> np.ndarray:
        return np.maximum(_affine(g, self.hidden), 0.0)

    def save(self, path: Path) -> None:
        """Write the file, atomically."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        save_arrays(path, FORMAT, {n: a.astype(np.float16) if len(a) == BUCKETS else a for n, a in arrays.items()})

    @staticmethod
    def load(path: Path) -> Assessor:
        """Read a file written by `save`. Raises UserError for any other."""
        found = load_arrays(path, FORMAT, "an assessor", SHAPES, later=LATER)
        return Assessor(**{n: found.get(n, np.zeros(shape, np.float32)) for n, shape in SHAPES.items()})


class AssessedValue:
    """The assessor as a search's value: the probability of a proof within HORIZON Lean calls, by number of tactics."""

    def __init__(self, assessor: Assessor) -> None:
        self.assessor = assessor

    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        """An estimate for each query. A group of goals gets the estimate of its hardest goal, because all of them must be proved."""
        return [self._one(q) for q in queries]

    def _one(self, query: Query) -> ValueEstimate:
        found = [self.assessor.assess(g) for g in query.state.goals]
        hardest = min(found, key=lambda a: a.provable(HORIZON))
        p = hardest.provable(HORIZON)
        return ValueEstimate((*(float(p * s) for s in hardest.steps), 1.0 - p))


def _affine(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return x @ weights[:-1] + weights[-1]


def _softmax(score: np.ndarray) -> np.ndarray:
    shifted = np.exp(score - score.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)
