"""A learned ranking of tactics for a goal, each given that those before it failed.

TacticToe (Gauthier et al. 2021) and Tactician (Blaauwbroek et al. 2020) rank tactics that worked on similar goals. This ranker
also covers unseen tactics: a tactic is its skeleton (its text with hypotheses, lemmas and functions blanked out) and the
contents of the blanks. With hashed features summed to vectors t (tactic), f (failed tactic) and g (goal):

    score(t | goal, failed) = bias(t) + t . (g + sum of f over the failed tactics)

The list is built greedily: each choice assumes that the earlier ones failed. Training: rl/algorithms/tactic_ranking.py.
Needs numpy only.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from prover.arrays import load_arrays, save_arrays
from prover.lean.theorem import Goal
from prover.models.prompt import IDENTIFIER
from prover.models.type_shape import Shape, shape_of
from prover.premises.index import Premise
from prover.premises.symbols import is_plumbing

BUCKETS = 1 << 14
WIDTH = 32
FORMAT = 1

_RELATIONS = ("↔", " = ", " ≠ ", " ≤ ", " < ", " ∈ ", "∃ ", "¬", " ∧ ", " ∨ ", " → ", "∀ ", " ∣ ", " ⊆ ")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LIST = re.compile(r"⟨([pd])⟩(?:, ⟨\1⟩)+")
_ALTERNATIVES = re.compile(r"(\([^()]*\))(?: \| \1)+")
_WORD = re.compile(r"⟨\w+⟩|[\w?!]+|<;>|←")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tactic as the ranker sees it."""

    skeleton: int
    """Hash of the text with hypotheses, lemmas and functions blanked out."""
    features: tuple[int, ...]


@lru_cache(1 << 16)
def feature_hash(feature: str) -> int:
    """The bucket of a feature."""
    return zlib.crc32(feature.encode()) % BUCKETS


@lru_cache(1 << 14)
def _of_text(text: str) -> tuple[int, ...]:
    """Features of a skeleton; its own hash comes first."""
    return tuple(map(feature_hash, [f"text {text}", *(f"word {w}" for w in dict.fromkeys(_WORD.findall(text)))]))


def name_parts(name: str) -> list[str]:
    """The words of a name, in lower case."""
    return [p.lower() for p in _PART.findall(name)]


def _mentions(text: str, part: str) -> bool:
    """Whether a part occurs in a text as whole words."""
    return part in text and _whole(part).search(text) is not None


@lru_cache(1 << 12)
def _whole(part: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.'✝]){re.escape(part)}(?![\w'✝])")


class _Facts:
    """Statements and conclusions of a goal's hypotheses, for features."""

    def __init__(self, goal: Goal) -> None:
        self.shapes = {name: shape_of(type_) for name, type_ in goal.hypotheses}
        self.target = shape_of(goal.target)
        self.known = {s.conclusion for s in self.shapes.values() if not s.premises and not s.binders}
        self.concluded = {s.conclusion for s in self.shapes.values() if s.premises}

    def kind(self, shape: Shape) -> str:
        """The outermost symbol of a type. All local variables count as equal, because their names have no meaning."""
        return "⟨local⟩" if shape.outermost in self.shapes else shape.outermost

    def state(self, text: str) -> str:
        """A proposition's state: the target, a hypothesis (`known`), a hypothesis's conclusion, a proposition with a known part, or `open`."""
        if text == self.target.conclusion and not self.target.premises:
            return "target"
        if text in self.known:
            return "known"
        if text in self.concluded:
            return "concluded"
        return "with known" if any(_mentions(text, k) for k in self.known) else "open"

    def arguments(self, shape: Shape) -> list[str]:
        """Kind and state of the first two arguments."""
        return [
            f"argument {i} {what}"
            for i, a in enumerate(shape.arguments[:2])
            for what in (self.kind(shape_of(a)), self.state(a))
        ]


def goal_features(goal: Goal) -> tuple[int, ...]:
    """Hashed features of a goal: structure of its target, constants, hypotheses, sizes."""
    facts = _Facts(goal)
    target = facts.target
    found = [
        f"outer {facts.kind(target)}",
        f"head {'⟨local⟩' if target.head in facts.shapes else target.head}",
        f"target known {target.conclusion in facts.known}",
        f"target concluded {target.conclusion in facts.concluded}",
        *facts.arguments(target),
        *(f"says {r.strip()}" for r in _RELATIONS if r in goal.target),
    ]
    for c in dict.fromkeys(goal.constants):
        if not is_plumbing(c):
            found.append(f"constant {c}")
            found += [f"part {p}" for p in name_parts(c.rsplit(".", 1)[-1])]
    kinds = Counter(facts.kind(s) for s in facts.shapes.values())
    found += [f"has {k}" for k in kinds] + [f"has {min(n, 3)} {k}" for k, n in kinds.items()]
    found += [f"hypotheses {min(len(goal.hypotheses), 9)}", f"long {min(len(goal.target) // 20, 8)}"]
    return tuple(dict.fromkeys(map(feature_hash, found)))


class Reader:
    """Computes features of tactics on one goal."""

    def __init__(self, goal: Goal, premises: Sequence[str], known: Mapping[str, Premise]) -> None:
        """`known`: the library's theorems. If empty, a premise with `_` in its last component counts as one."""
        self.goal = goal
        self._facts = _Facts(goal)
        self._types = dict(goal.hypotheses)
        self._place = {n: len(self._types) - i for i, n in enumerate(self._types)}
        self._rank = {n: i for i, n in enumerate(premises)}
        self._known = known
        self._constants = frozenset(goal.constants)

    def read(self, tactic: str) -> Candidate:
        hypotheses: list[str] = []
        lemmas: list[str] = []
        functions: list[str] = []

        def blank(m: re.Match[str]) -> str:
            name = m[0]
            first, _, rest = name.partition(".")
            if first in self._types:
                hypotheses.append(first)
                return f"⟨h⟩.{rest}" if rest else "⟨h⟩"
            if name in self._known or (not self._known and name in self._rank and "_" in name.rsplit(".", 1)[-1]):
                lemmas.append(name)
                return "⟨p⟩"
            if name in self._rank or name in self._constants:
                functions.append(name)
                return "⟨d⟩"
            return name

        text = IDENTIFIER.sub(blank, tactic)
        text = _ALTERNATIVES.sub(r"\1…", _LIST.sub(r"⟨\1s⟩", text))
        found: list[str] = []
        for i, name in enumerate(dict.fromkeys(hypotheses[:2])):
            said = self._hypothesis(name)
            found += [f"{i} {x}" for x in said] + [f"{text} {x}" for x in said]
            found += [f"place {min(self._place[name], 6)}", f"said {name in self.goal.target}"]
        lemmas, functions = list(dict.fromkeys(lemmas)), list(dict.fromkeys(functions))
        found += [
            f"lemmas {min(len(lemmas), 5)}",
            f"functions {min(len(functions), 4)}",
            *(f"unfolds {d}" for d in functions[:3]),
        ]
        if len(lemmas) == 1:
            found += self._lemma(lemmas[0], text)
        own = _of_text(text)
        return Candidate(own[0], tuple(dict.fromkeys((*own, *map(feature_hash, found)))))

    def _hypothesis(self, name: str) -> list[str]:
        """Features of a hypothesis: its own, and its relations to the target and to the other hypotheses."""
        facts = self._facts
        shape = facts.shapes[name]
        found = [
            f"is {facts.kind(shape)}",
            f"{self._relation(self._types[name], shape)} target",
            *facts.arguments(shape),
        ]
        if shape.premises:
            conclusion = shape_of(shape.conclusion)
            first = shape.premises[0]
            found += [
                f"premises {min(len(shape.premises), 4)}",
                f"first premise {facts.kind(shape_of(first))}",
                f"first premise {facts.state(first)}",
                f"gives {facts.kind(conclusion)}",
                f"gives {facts.state(shape.conclusion)}",
            ]
        return found

    def _relation(self, type_: str, shape: Shape) -> str:
        """The relation of a hypothesis to the target: equals, concludes or mentions it."""
        target = self.goal.target
        if type_ == target:
            return "is"
        if shape.premises and (type_.endswith(f"→ {target}") or shape.conclusion == self._facts.target.conclusion):
            return "concludes"
        return "mentions" if target in type_ else "without"

    def _lemma(self, name: str, text: str) -> list[str]:
        found = [f"rank {self._rank.get(name, 99)}", *(f"lemma's {p}" for p in name_parts(name)[-5:])]
        premise = self._known.get(name)
        if premise is not None:
            strange = sum(c not in self._constants for c in premise.constants)
            found += [
                f"lemma {premise.head}",
                f"lemma's arguments {min(premise.explicit, 4)}",
                f"strange {min(strange, 5)}",
                f"{text} strange {min(strange, 3)}",
                f"meets {premise.head in self._constants} {premise.sides[0] in self._constants}",
            ]
        return found


def summed(candidates: Sequence[Candidate], *tables: np.ndarray) -> list[np.ndarray]:
    """[candidates, …] sums of the rows of each table over the features of each candidate."""
    starts = np.cumsum([0, *(len(c.features) for c in candidates[:-1])])
    ids = np.fromiter((i for c in candidates for i in c.features), np.int64)
    return [np.add.reduceat(table[ids], starts, axis=0) for table in tables]


@dataclass(frozen=True)
class TacticRanker:
    """The weights: float32 arrays whose rows are hashed features."""

    goal: np.ndarray
    """[BUCKETS, WIDTH], averaged over a goal's features."""
    tactic: np.ndarray
    """[BUCKETS, WIDTH], summed over a tactic's features."""
    bias: np.ndarray
    """[BUCKETS], summed over a tactic's features."""
    failed: np.ndarray
    """[BUCKETS, WIDTH], one row for the skeleton of each failed tactic."""

    def rank(self, goal: Goal, candidates: Sequence[Candidate], limit: int) -> list[tuple[int, float]]:
        """(index, probability) of the first `limit` candidates, in the order to try them.

        p_k = q_k (1 - q_1) ... (1 - q_{k-1}), with q the softmax over the candidates not yet chosen. The sum is at most 1.
        Probabilities are clipped so that they never increase with k, because searches try tactics by probability.
        """
        if not candidates:
            return []
        vectors, bias = summed(candidates, self.tactic, self.bias)
        score = vectors @ self.goal[list(goal_features(goal))].mean(0) + bias
        found: list[tuple[int, float]] = []
        left = 1.0
        for _ in range(min(limit, len(candidates))):
            best = int(score.argmax())
            q = 1.0 / float(np.exp(score - score[best]).sum())
            found.append((best, min(left * q, found[-1][1] if found else 1.0)))
            left *= 1.0 - q
            score = score + vectors @ self.failed[candidates[best].skeleton]
            score[best] = -np.inf
        return found

    def save(self, path: Path) -> None:
        """Write the file, atomically."""
        tables = {name: getattr(self, name).astype(np.float16) for name in ("goal", "tactic", "failed")}
        save_arrays(path, FORMAT, {**tables, "bias": self.bias})

    @staticmethod
    def load(path: Path) -> TacticRanker:
        """Read a file written by `save`. Raises UserError for any other."""
        shapes = {name: (BUCKETS, WIDTH) for name in ("goal", "tactic", "failed")}
        return TacticRanker(**load_arrays(path, FORMAT, "a tactic ranker", {**shapes, "bias": (BUCKETS,)}))
