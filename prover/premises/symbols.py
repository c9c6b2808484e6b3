"""Symbolic premise selection: shared symbols, weighted by rarity.

After MePo (Meng & Paulson 2009) and SInE (Hoder & Voronkov 2011): a symbol counts by its inverse document frequency, and
symbols of a premise that the goal lacks count against it.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from prover.premises.columns import sums
from prover.premises.library import LibraryIndex, Premises

# Constants of nearly every statement, which carry no information.
_PLUMBING = frozenset(
    {"Eq", "Iff", "Not", "And", "Or", "OfNat.ofNat", "instOfNatNat", "outParam", "id", "True", "False"}
)

INTERNAL = ("Lean.", "Std.Internal.", "Std.Tactic.", "Int.Linear.", "Int.OfNat.", "Nat.Linear.", "Nat.SOM.")
"""Namespaces of lemmas for decision procedures, which people seldom use by name."""

FOREIGN, MISSING, HEAD, LEFT = 0.75, 0.3, 1.2, 1.2
"""FOREIGN: weight of the premise's symbols that the goal lacks. MISSING: weight of the goal's symbols that the premise lacks.
HEAD: factor if a head symbol of the conclusion or its sides occurs in the goal. LEFT: factor for that of the left side. Tuned
for recall at 16 of the premises in 64 audited proofs of training theorems."""


class Retriever(ABC):
    """Scores premises for the constants of a goal. Higher is better; premises with a score of at most 0 are not offered."""

    def __init__(self, premises: Premises) -> None:
        self.premises = premises
        self.library = premises.library

    @abstractmethod
    def matches(self, constants: Sequence[str], k: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(rows of the library, their scores) of the premises that may be offered, or of at least the `k` best of them."""

    def score(self, constants: Sequence[str]) -> np.ndarray:
        """[premises] score of every premise."""
        found = np.zeros(len(self.library), dtype=np.float32)
        rows, scores = self.matches(constants)
        found[rows] = scores
        return found[self.premises.rows]


class SharedSymbols(Retriever):
    """Sums the weights of the constants that a premise shares with the goal. Visits only premises that share one."""

    def __init__(self, premises: Premises) -> None:
        super().__init__(premises)
        self._allowed = np.zeros(len(self.library), dtype=bool)
        self._allowed[premises.rows] = True
        self.frequency = sums(self._allowed[self.library.postings].astype(np.int8), self.library.posting_offsets)
        """[constants] number of premises that mention it."""
        self.weight = np.zeros(len(self.library.symbols), dtype=np.float32)
        """[constants] set by subclasses."""

    def shared(self, constants: Sequence[str]) -> tuple[list[int], np.ndarray]:
        """(the goal's constants that have a weight, [rows of the library] sum of the weights that a premise shares)."""
        numbers = [self.library.symbol(c) for c in dict.fromkeys(constants)]
        present = [s for s in numbers if s is not None and self.weight[s] > 0.0]
        found = np.zeros(len(self.library), dtype=np.float32)
        for s in present:
            begin, end = self.library.posting_offsets[s : s + 2]
            found[self.library.postings[begin:end]] += self.weight[s]
        return present, found * self._allowed


class SymbolRetriever(SharedSymbols):
    """Symbolic scores: rarity of the shared symbols, against the symbols that only one side has."""

    def __init__(self, premises: Premises, smooth: bool = False) -> None:
        """`smooth`: for a few premises, where a symbol of all of them still counts."""
        super().__init__(premises)
        rarity = np.log((max(len(premises), 1) + 2 * smooth) / np.maximum(self.frequency, 1))
        self.weight = np.where(_plumbing(self.library) | (self.frequency == 0), 0.0, rarity).astype(np.float32)
        self._size = sums(self.weight[self.library.constants], self.library.constant_offsets).astype(np.float32)
        self._short, self._internal = _shortness(self.library), _internal(self.library)

    def matches(self, constants: Sequence[str], k: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        present, shared = self.shared(constants)
        total = float(self.weight[present].sum())
        in_goal = np.zeros(len(self.library.symbols), dtype=bool)
        in_goal[present] = True
        bar = float(shared.max(initial=0.0)) / 2 if k else 0.0
        while True:
            rows = np.flatnonzero(shared > bar)
            score = self._score(rows, shared[rows], total, in_goal)
            if bar == 0.0 or k is None:
                return rows, score
            if len(rows) < k:
                bar = bar / 2 if bar > 0.01 else 0.0
                continue
            # What shares less cannot have the k-th score found so far, whatever its size, heads and name.
            enough = float(np.partition(score, -k)[-k]) / (HEAD * LEFT)
            needed = 0.99 * enough * (1.0 + MISSING * total) / (1.0 - (1.0 - MISSING) * min(enough, 1.0))
            if needed >= bar:
                return rows, score
            bar = needed

    def _score(self, rows: np.ndarray, shared: np.ndarray, total: float, in_goal: np.ndarray) -> np.ndarray:
        """[rows] scores. `shared`, `total`: weights shared and of the goal. `in_goal`: [constants]."""
        foreign = np.maximum(self._size[rows] - shared, 0.0)
        score = shared / (shared + FOREIGN * foreign + MISSING * (total - shared) + 1.0)
        head, left, right = (in_goal[heads[rows]] for heads in self.library.heads)
        for which, factor in ((head | left | right, HEAD), (left, LEFT)):
            score *= 1.0 + np.float32(factor - 1.0) * which  # faster than by mask
        about_internals = any(
            s.startswith(INTERNAL) for s in map(self.library.symbols.__getitem__, np.flatnonzero(in_goal))
        )
        return score * self._short[rows] * (1.0 if about_internals else self._internal[rows])


@functools.lru_cache(maxsize=4)
def _plumbing(library: LibraryIndex) -> np.ndarray:
    """[constants] whether a constant carries no information."""
    return np.fromiter(map(is_plumbing, library.symbols), bool, len(library.symbols))


@functools.lru_cache(maxsize=4)
def _shortness(library: LibraryIndex) -> np.ndarray:
    """[rows] factor for the name: short names are preferred."""
    return (1.0 / (1.0 + 0.02 * library.names.lengths())).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _internal(library: LibraryIndex) -> np.ndarray:
    """[rows] factor for names in INTERNAL, where the goal has no constant of these namespaces."""
    factor = np.ones(len(library), dtype=np.float32)
    for space in INTERNAL:
        begin, end = (
            library.names.place(p, library.by_name_order) for p in (space, space[:-1] + chr(ord(space[-1]) + 1))
        )
        factor[library.by_name_order[begin:end]] = 0.5
    return factor


@functools.lru_cache(maxsize=1 << 16)
def is_instance(name: str) -> bool:
    """Whether a constant's name is that of a type class instance."""
    last = name.rsplit(".", 1)[-1]
    return last.startswith("inst") and last != "inst"


def is_plumbing(name: str) -> bool:
    """Whether a constant carries no information about a statement."""
    return name in _PLUMBING or is_instance(name)
