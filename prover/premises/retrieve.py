"""Which premises fit a goal: symbols shared with it, weighted by rarity.

In the tradition of MePo (Meng & Paulson 2009) and SInE (Hoder & Voronkov 2011): a symbol counts by its inverse document
frequency, and a premise is preferred when little of it is foreign to the goal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from prover.lean.theorem import ProofState
from prover.premises.index import LibraryIndex, Premise

# Found in nearly every statement, or only plumbing: they say nothing about what a lemma is about.
_PLUMBING = frozenset({"Eq", "Iff", "Not", "And", "Or", "OfNat.ofNat", "instOfNatNat", "outParam", "id", "True", "False"})


class SymbolRetriever:
    """Ranks the theorems of `modules` (all, if None) for a goal. About a millisecond a goal."""

    def __init__(self, index: LibraryIndex, modules: frozenset[str] | None = None) -> None:
        self.premises: list[Premise] = [
            p for name, m in index.modules.items() if modules is None or name in modules for p in m.theorems
        ]
        n = max(len(self.premises), 1)
        postings: dict[str, list[int]] = {}
        for i, p in enumerate(self.premises):
            for c in set(p.constants):
                postings.setdefault(c, []).append(i)
        self._weight = {
            c: 0.0 if c in _PLUMBING or _is_instance(c) else float(np.log(n / len(ids))) for c, ids in postings.items()
        }
        self._postings = {c: np.array(ids, dtype=np.int32) for c, ids in postings.items()}
        self._size = np.array([sum(self._weight[c] for c in set(p.constants)) for p in self.premises], dtype=np.float32)
        self._heads: dict[str, np.ndarray] = {}
        heads: dict[str, list[int]] = {}
        for i, p in enumerate(self.premises):
            for h in {p.head, *p.sides} - _PLUMBING - {""}:
                heads.setdefault(h, []).append(i)
        self._heads = {h: np.array(ids, dtype=np.int32) for h, ids in heads.items()}
        self._simple = np.array([1.0 / (1.0 + 0.02 * len(p.name)) for p in self.premises], dtype=np.float32)

    def score(self, constants: Sequence[str]) -> np.ndarray:
        """[premises] relevance of every premise to a goal with these constants."""
        shared = np.zeros(len(self.premises), dtype=np.float32)
        present = [c for c in dict.fromkeys(constants) if self._weight.get(c, 0.0) > 0.0]
        for c in present:
            shared[self._postings[c]] += self._weight[c]
        total = sum(self._weight[c] for c in present) or 1.0
        foreign = np.maximum(self._size - shared, 0.0)
        score = shared / (shared + foreign + 0.3 * (total - shared) + 1.0)
        for c in present:
            if (ids := self._heads.get(c)) is not None:
                score[ids] *= 1.2
        return score * self._simple

    def top(self, constants: Sequence[str], k: int) -> list[Premise]:
        """The `k` best premises, best first; none that shares nothing with the goal."""
        if not self.premises:
            return []
        score = self.score(constants)
        k = min(k, len(score))
        best = np.argpartition(-score, k - 1)[:k]
        best = best[np.argsort(-score[best], kind="stable")]
        return [self.premises[i] for i in best if score[i] > 0.0]


def _is_instance(name: str) -> bool:
    last = name.rsplit(".", 1)[-1]
    return last.startswith("inst") and last != "inst"


class PremiseSource:
    """Premises by state, for searches: one retriever a set of imports, made when first asked for."""

    def __init__(self, index: LibraryIndex, k: int = 16) -> None:
        self.index = index
        self.k = k
        self._retrievers: dict[tuple[str, ...], SymbolRetriever] = {}

    def retriever(self, imports: tuple[str, ...]) -> SymbolRetriever:
        if imports not in self._retrievers:
            self._retrievers[imports] = SymbolRetriever(self.index, self.index.reachable(imports))
        return self._retrievers[imports]

    def for_theorem(
        self, imports: tuple[str, ...], forbidden: frozenset[str] = frozenset()
    ) -> Callable[[ProofState], tuple[str, ...]]:
        """A function from a state to the names of its best premises. `forbidden` names are never offered."""
        retriever = self.retriever(imports)

        def premises(state: ProofState) -> tuple[str, ...]:
            constants = [c for g in state.goals for c in g.constants]
            found = retriever.top(constants, self.k + len(forbidden))
            return tuple(p.name for p in found if p.name not in forbidden)[: self.k]

        return premises


class Bm25Retriever:
    """Okapi BM25 (Robertson & Walker 1994) over the constants of types, by the rank_bm25 library."""

    def __init__(self, index: LibraryIndex, modules: frozenset[str] | None = None) -> None:
        from rank_bm25 import BM25Okapi

        self.premises = [
            p for name, m in index.modules.items() if modules is None or name in modules for p in m.theorems
        ]
        self._bm25 = BM25Okapi([_terms(p.constants) or ["."] for p in self.premises]) if self.premises else None

    def score(self, constants: Sequence[str]) -> np.ndarray:
        """[premises] relevance of every premise."""
        if self._bm25 is None:
            return np.zeros(0, dtype=np.float32)
        return np.asarray(self._bm25.get_scores(_terms(constants)), dtype=np.float32)


def _terms(constants: Sequence[str]) -> list[str]:
    return [c for c in dict.fromkeys(constants) if not _is_instance(c)]


def _best(premises: Sequence[Premise], score: np.ndarray, k: int) -> list[str]:
    order = np.argsort(-score, kind="stable")[:k]
    return [premises[i].name for i in order if score[i] > 0.0]


RETRIEVERS = ("symbols", "bm25", "hybrid")
"""Names of the retrievers that can be measured alone."""


def make_retriever(
    name: str, index: LibraryIndex, modules: frozenset[str] | None = None
) -> Callable[[Sequence[str], int], list[str]]:
    """A function (constants of a goal, k) -> names of the k best premises, best first."""
    if name == "symbols":
        symbols = SymbolRetriever(index, modules)
        return lambda constants, k: [p.name for p in symbols.top(constants, k)]
    if name == "bm25":
        bm25 = Bm25Retriever(index, modules)
        return lambda constants, k: _best(bm25.premises, bm25.score(constants), k)
    if name == "hybrid":
        symbols, bm25 = SymbolRetriever(index, modules), Bm25Retriever(index, modules)

        def hybrid(constants: Sequence[str], k: int) -> list[str]:
            a, b = symbols.score(constants), bm25.score(constants)
            # Scores of different kinds: each counts by its share of its own best.
            return _best(bm25.premises, a / max(float(a.max(initial=0.0)), 1e-6) + b / max(float(b.max(initial=0.0)), 1e-6), k)

        return hybrid
    raise ValueError(f"{name!r} is no retriever; there are {', '.join(RETRIEVERS)}")
