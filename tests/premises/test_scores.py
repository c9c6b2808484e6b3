"""Scores are those of the formulas, written out plainly here, one premise at a time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from prover.premises.dense import DenseRetriever, DenseWeights, premise_features, rarity, symbol_features
from prover.premises.index import LibraryIndex, Premise, library_index
from prover.premises.retrieve import RETRIEVERS, make_retriever, top_premises
from prover.premises.symbols import INTERNAL, is_instance, is_plumbing
from tests.premises.test_retrieve import index as made_up

MODULES = ("Init.Data.List.Lemmas", "Init.Data.Nat.Lemmas", "Init.Omega")


def libraries() -> list:
    return [made_up, pytest.param(library_index, marks=pytest.mark.lean)]


def cases(index: LibraryIndex) -> list[tuple[frozenset[str] | None, list[tuple[str, ...]]]]:
    """Sets of modules, each with some goals."""
    every = index.select()
    some = [every[i] for i in range(0, len(every), len(every) // 8)]
    goals = [a.constants + b.constants + ("no.such.constant",) for a, b in zip(some, some[1:], strict=False)]
    modules = index.reachable(MODULES) or index.reachable(("B",))
    return [(None, goals), (modules, goals)]


def symbols(premises: Sequence[Premise], goal: Sequence[str]) -> list[float]:
    df = Counter(c for p in premises for c in set(p.constants))
    weight = {c: 0.0 if is_plumbing(c) else math.log(len(premises) / n) for c, n in df.items()}
    present = {c for c in goal if weight.get(c, 0.0) > 0.0}
    total = sum(weight[c] for c in present)
    scores = []
    for p in premises:
        shared = sum(weight[c] for c in set(p.constants) & present)
        foreign = sum(weight[c] for c in set(p.constants) - present)
        score = shared / (shared + 0.75 * foreign + 0.3 * (total - shared) + 1.0)
        score *= 1.2 if {p.head, *p.sides} & present else 1.0
        score *= 1.2 if p.sides[0] in present else 1.0
        internal = p.name.startswith(INTERNAL) and not any(c.startswith(INTERNAL) for c in present)
        scores.append(score * (0.5 if internal else 1.0) / (1.0 + 0.02 * len(p.name)))
    return scores


def bm25(premises: Sequence[Premise], goal: Sequence[str]) -> list[float]:
    terms = [[c for c in p.constants if not is_instance(c)] for p in premises]
    df = Counter(c for ts in terms for c in ts)
    n = len(premises)
    mean = sum(max(len(ts), 1) for ts in terms) / n
    wanted = set(goal)
    return [
        sum(
            math.log(1 + (n - df[c] + 0.5) / (df[c] + 0.5)) / (1.5 * (0.25 + 0.75 * max(len(ts), 1) / mean) + 1)
            for c in ts
            if c in wanted
        )
        for ts in terms
    ]


@pytest.mark.parametrize("name, plain", [("symbols", symbols), ("bm25", bm25)])
@pytest.mark.parametrize("library", libraries())
def test_scores_are_those_of_the_formula(library, name, plain):
    for modules, goals in cases(library()):
        retriever = make_retriever(name, library(), modules)
        premises = list(retriever.premises)
        for goal in goals:
            expected = plain(premises, goal)
            assert any(expected) and retriever.score(goal) == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("library", libraries())
def test_dense_scores_are_those_of_bags_of_features(library):
    """Also under other names, which change features and their rarity but not what is shared."""
    w = DenseWeights.initial()
    ((modules, goals), _) = reversed(cases(library()))

    def vector(features: dict[int, float], idf: np.ndarray) -> np.ndarray:
        v = sum((count * idf[b] * w.table[b] for b, count in features.items()), np.zeros(w.table.shape[1]))
        return v / max(float(np.linalg.norm(v)), 1e-6)

    retriever = DenseRetriever(library().select(modules), w)
    premises = list(retriever.premises)
    seen = Counter(b for p in premises for b in symbol_features(p.constants))
    idf = rarity(retriever.premises)
    assert all(idf[b] == pytest.approx(max(math.log((len(premises) + 1) / (n + 1)), 0.3)) for b, n in seen.items())
    step = max(len(premises) // 300, 1)
    vectors = [vector(premise_features(p), idf) for p in premises[::step]]
    for goal in goals:
        expected = [w.scale * float(v @ vector(symbol_features(goal), idf)) for v in vectors]
        assert retriever.score(goal)[::step] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", RETRIEVERS)
@pytest.mark.parametrize("library", libraries())
def test_the_best_are_the_first_of_all(library, name):
    """A retriever may leave out premises that cannot be among the best."""
    for modules, goals in cases(library()):
        retriever = make_retriever(name, library(), modules)
        for goal in goals:
            score = retriever.score(goal)
            for k in (1, 16, 200):
                order = np.argsort(-score, kind="stable")[:k]
                best = [retriever.premises[int(i)].name for i in order if score[i] > 0.0]
                assert [p.name for p in top_premises(retriever, goal, k)] == best
            assert top_premises(retriever, goal, 0) == []
