"""A small learned retriever: goals and premises as bags of symbols in one space, after ReProver (Yang et al. 2023).

A constant has several features, itself and the parts of its name, hashed into one table of embeddings; so unseen constants
share the embeddings of their parts. A goal and a premise are weighted means of embeddings, each multiplied by its own matrix.
The score is the inner product, plus a learned multiple of the symbolic score. Initial weights are random embeddings and
identity matrices, whose inner products approximate those of bags of symbols. Training: rl/algorithms/premise_selection.py.
Needs numpy only.
"""

from __future__ import annotations

import copy
import functools
import itertools
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prover.arrays import load_arrays, save_arrays
from prover.premises.columns import offsets_of, places
from prover.premises.library import LibraryIndex, Premises
from prover.premises.local import LocalPremises
from prover.premises.locality import FEATURES, Place, locality
from prover.premises.premise import Premise
from prover.premises.symbols import Retriever, SymbolRetriever, is_plumbing

BUCKETS = 8192
WIDTH = 96
FORMAT = 1
ROLES, EXTRA = ("head", "left", "right"), 0.2
"""ROLES: roles of head symbols, which are features of their own. EXTRA: weight of these and of the number of arguments."""

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+|\d+")


@dataclass(frozen=True)
class DenseWeights:
    """The weights, as float32 arrays."""

    table: np.ndarray
    """[BUCKETS, WIDTH] embeddings of hashed features."""
    goal: np.ndarray
    """[WIDTH, WIDTH] matrix of goals."""
    premise: np.ndarray
    """[WIDTH, WIDTH] matrix of premises."""
    scale: float
    """Factor of the inner product of unit vectors."""
    symbolic: float
    """Factor of the symbolic score, for the hybrid retriever only."""
    locality: np.ndarray | None = None
    """[FEATURES] factors of the features of prover.premises.locality; None if they were not learned."""

    @staticmethod
    def initial(seed: int = 0) -> DenseWeights:
        """Untrained weights."""
        table = np.random.default_rng(seed).standard_normal((BUCKETS, WIDTH)).astype(np.float32) / WIDTH**0.5
        eye = np.eye(WIDTH, dtype=np.float32)
        return DenseWeights(table, eye, eye.copy(), 10.0, 10.0)

    def save(self, path: Path) -> None:
        """Write the file, atomically."""
        arrays = {"table": self.table.astype(np.float16), "goal": self.goal, "premise": self.premise}
        if self.locality is not None:
            arrays["locality"] = self.locality
        save_arrays(path, FORMAT, {**arrays, "scale": self.scale, "symbolic": self.symbolic})

    @staticmethod
    def load(path: Path) -> DenseWeights:
        """Read a file written by `save`. Raises UserError for any other."""
        shapes = {
            "table": (BUCKETS, WIDTH),
            "goal": (WIDTH, WIDTH),
            "premise": (WIDTH, WIDTH),
            "scale": (),
            "symbolic": (),
            "locality": (len(FEATURES),),
        }
        found = load_arrays(path, FORMAT, "a retriever's weights", shapes, later=("locality",))
        scale, symbolic = float(found["scale"]), float(found["symbolic"])
        return DenseWeights(found["table"], found["goal"], found["premise"], scale, symbolic, found.get("locality"))


def _bucket(feature: str) -> int:
    """Bucket of a feature: whole constants in the first half, others in the second, because their learning rates differ."""
    half = BUCKETS // 2
    return zlib.crc32(feature.encode()) % half + (half if " " in feature else 0)


@functools.lru_cache(maxsize=1 << 16)
def _features_of(constant: str) -> tuple[int, tuple[tuple[int, float], ...]]:
    """(bucket of the whole constant, (bucket, weight) of each part of its name)."""
    parts = dict.fromkeys(x.lower() for x in _PART.findall(constant))
    return _bucket(constant), tuple((_bucket(" " + part), 1.0 / len(parts) ** 0.5) for part in parts)


def symbol_features(constants: Sequence[str], whole: float = 1.0) -> dict[int, float]:
    """Hashed features with weights: each constant with weight `whole`, and the parts of its name."""
    found: dict[int, float] = {}
    for c in dict.fromkeys(constants):
        if is_plumbing(c):
            continue
        own, parts = _features_of(c)
        found[own] = found.get(own, 0.0) + whole
        for b, weight in parts:
            found[b] = found.get(b, 0.0) + weight
    return found


def premise_features(premise: Premise, whole: float = 1.0) -> dict[int, float]:
    """Hashed features of a premise: the symbols of its statement, heads, sides and number of arguments."""
    found = symbol_features(premise.constants, whole)
    heads = zip(ROLES, (premise.head, *premise.sides), strict=True)
    for extra in (*(f"{role} {head}" for role, head in heads), f"explicit {premise.explicit}"):
        b = _bucket(extra)
        found[b] = found.get(b, 0.0) + EXTRA
    return found


def bags(features: Sequence[tuple[dict[int, float], np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bags (features, rarity) as (feature ids, weights, start of each bag). The weights of a bag have unit length."""
    if not features:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int64)
    full = [f or {0: 0.0} for f, _ in features]
    sizes = np.fromiter(map(len, full), dtype=np.int64, count=len(full))
    starts = np.cumsum(sizes) - sizes
    ids = np.fromiter(itertools.chain.from_iterable(full), dtype=np.int64, count=int(sizes.sum()))
    counts = np.fromiter(itertools.chain.from_iterable(f.values() for f in full), dtype=np.float32, count=len(ids))
    rarities = {id(idf): idf for _, idf in features}
    row = {k: i for i, k in enumerate(rarities)}
    whose = np.repeat(np.fromiter((row[id(idf)] for _, idf in features), dtype=np.int64, count=len(full)), sizes)
    weights = counts * np.stack(list(rarities.values()))[whose, ids]
    norms = np.sqrt(np.add.reduceat(weights * weights, starts))
    return ids, (weights / np.repeat(np.maximum(norms, 1e-6), sizes)).astype(np.float32), starts


class _Features:
    """The features of every constant of a library, as lists of (bucket, weight)."""

    def __init__(self, names: Iterable[str]) -> None:
        found = [symbol_features((name,)) for name in names]
        self.offsets = offsets_of(np.fromiter(map(len, found), np.int64, len(found)))
        self.buckets = np.fromiter((b for f in found for b in f), np.int64, int(self.offsets[-1]))
        self.weights = np.fromiter((w for f in found for w in f.values()), np.float32, len(self.buckets))

    @staticmethod
    @functools.lru_cache(maxsize=4)
    def of(library: LibraryIndex) -> _Features:
        return _Features(library.symbols)


def rarity(premises: Premises, features: _Features | None = None) -> np.ndarray:
    """[BUCKETS] inverse document frequency of the features among `premises`, at least 0.3."""
    f = features or _Features.of(premises.library)
    seen = np.zeros(BUCKETS, dtype=np.int64)
    for rows, constants, sizes in _batches(premises):
        at, counts = places(f.offsets, constants)
        marked = np.zeros(len(rows) * BUCKETS, dtype=bool)  # a feature counts once in a premise
        marked[np.repeat(np.repeat(np.arange(len(rows)), sizes), counts) * BUCKETS + f.buckets[at]] = True
        seen += np.bincount(np.flatnonzero(marked) % BUCKETS, minlength=BUCKETS)
    return np.maximum(np.log((len(premises) + 1) / (seen + 1)), 0.3).astype(np.float32)


def _batches(premises: Premises) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(rows, their constants one after the other, [rows] number of constants), a bounded number of premises at a time."""
    library = premises.library
    for start in range(0, len(premises), 2048):
        rows = premises.rows[start : start + 2048]
        at, sizes = places(library.constant_offsets, rows)
        yield rows, library.constants[at], sizes


def _sum_rows(vectors: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """[lists, width] sums of consecutive vectors, `sizes` of them at a time."""
    found = np.zeros((len(sizes), vectors.shape[1]), dtype=np.float32)
    full = np.flatnonzero(sizes)
    if len(full):
        found[full] = np.add.reduceat(vectors, offsets_of(sizes)[:-1][full], axis=0)
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def _vectors(premises: Premises, names: Sequence[str], f: _Features, table: np.ndarray, side: np.ndarray) -> np.ndarray:
    """[premises, WIDTH] unit vectors: the sum of `premise_features`, which is linear in constants. `table`: weighted by rarity."""
    library = premises.library
    of_constant = np.zeros((len(names), WIDTH), dtype=np.float32)
    for start in range(0, len(names), 8192):  # bounded memory
        at, sizes = places(f.offsets, np.arange(start, min(start + 8192, len(names))))
        of_constant[start : start + len(sizes)] = _sum_rows(table[f.buckets[at]] * f.weights[at, None], sizes)
    roles = [np.array([_bucket(f"{role} {n}") for n in names], dtype=np.int64) for role in ROLES]
    found = np.empty((len(premises), WIDTH), dtype=np.float32)
    done = 0
    for rows, constants, sizes in _batches(premises):
        vectors = _sum_rows(of_constant[constants], sizes)
        for i, buckets in enumerate(roles):
            vectors += EXTRA * table[buckets[library.heads[i][rows]]]
        vectors += EXTRA * table[[_bucket(f"explicit {n}") for n in library.explicit[rows].tolist()]]
        found[done : done + len(rows)] = _unit(vectors @ side)
        done += len(rows)
    return found


def _read(constants: Iterable[str], read: Callable[[str], str] | None) -> list[str]:
    return [c if read is None or is_plumbing(c) else read(c) for c in constants]


class DenseRetriever(Retriever):
    """Scores premises for a goal, by a linear scan on one core.

    `with_symbols`: add the symbolic score in the learned proportion (hybrid). `read`: a renaming of constants, e.g. to made-up
    words.
    """

    def __init__(
        self,
        premises: Premises,
        weights: DenseWeights,
        with_symbols: SymbolRetriever | None = None,
        read: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__(premises)
        self.weights = weights
        self._symbols = with_symbols
        self._read = read
        names = _read(self.library.symbols, read)
        features = _Features.of(self.library) if read is None else _Features(names)
        self._table = weights.table * rarity(premises, features)[:, None]
        """[BUCKETS, WIDTH] embeddings weighted by rarity."""
        self._vectors = _vectors(premises, names, features, self._table, weights.premise)
        self._place = Place()
        self._bias: np.ndarray | float = 0.0
        self._own_vectors = functools.lru_cache(maxsize=16)(self._vectors_of)

    def placed(self, place: Place) -> DenseRetriever:
        """The same retriever for theorems in a place; itself if the weights ignore places."""
        if self.weights.locality is None:
            return self
        other = copy.copy(self)
        other._place = place
        other._bias = locality(self.premises, place) @ self.weights.locality
        return other

    def matches(self, constants: Sequence[str], k: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        w = self.weights
        score = self._similarity(self._vectors, constants) + self._bias
        if self._symbols is not None:
            score += w.symbolic * self._symbols.score(constants)
        return self.premises.rows, score

    def own_scores(self, local: LocalPremises, constants: Sequence[str]) -> np.ndarray:
        """[theorems] scores of a theorem's own surroundings, comparable with those of the library. Needs weights for places."""
        w = self.weights
        assert w.locality is not None
        score = self._similarity(self._own_vectors(local), constants)
        if self._symbols is not None:
            score += w.symbolic * local.similarity(constants)
        return score + local.features(self._place) @ w.locality

    def _similarity(self, vectors: np.ndarray, constants: Sequence[str]) -> np.ndarray:
        """[vectors] the learned scores of premises."""
        said = symbol_features(_read(constants, self._read))
        query = np.array(list(said.values()), dtype=np.float32) @ self._table[list(said)]
        # Not `@`: BLAS would wake one thread per core for a millisecond of work, which is slow under load.
        return self.weights.scale * np.einsum("ij,j->i", vectors, _unit(query @ self.weights.goal))

    def _vectors_of(self, local: LocalPremises) -> np.ndarray:
        names = _read(local.premises.library.symbols, self._read)
        return _vectors(local.premises, names, _Features(names), self._table, self.weights.premise)
