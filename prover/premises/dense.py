"""A small learned retriever: goals and premises as bags of symbols in one space, after ReProver (Yang et al. 2023).

A constant has several features, itself and the parts of its name, hashed into one table of embeddings; so unseen constants
share the embeddings of their parts. A goal and a premise are weighted means of embeddings, each multiplied by its own matrix.
The score is the inner product, plus a learned multiple of the symbolic score. Initial weights are random embeddings and
identity matrices, whose inner products approximate those of bags of symbols. Training: rl/algorithms/premise_selection.py.
Needs numpy only.
"""

from __future__ import annotations

import functools
import itertools
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec import structs

from prover.arrays import load_arrays, save_arrays
from prover.premises.index import Premise
from prover.premises.symbols import SymbolRetriever, is_plumbing

BUCKETS = 8192
WIDTH = 96
FORMAT = 1

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+|\d+")


@dataclass(frozen=True)
class DenseWeights:
    """The weights, as float32 arrays."""

    table: np.ndarray
    """[BUCKETS, WIDTH] embeddings of hashed features."""
    goal: np.ndarray
    """[WIDTH, WIDTH]."""
    premise: np.ndarray
    """[WIDTH, WIDTH]."""
    scale: float
    """Factor of the inner product of unit vectors."""
    symbolic: float
    """Factor of the symbolic score, for the hybrid retriever only."""

    @staticmethod
    def initial(seed: int = 0) -> DenseWeights:
        """Untrained weights."""
        table = np.random.default_rng(seed).standard_normal((BUCKETS, WIDTH)).astype(np.float32) / WIDTH**0.5
        eye = np.eye(WIDTH, dtype=np.float32)
        return DenseWeights(table, eye, eye.copy(), 10.0, 10.0)

    def save(self, path: Path) -> None:
        """Write the file, atomically."""
        numbers = {"scale": self.scale, "symbolic": self.symbolic}
        save_arrays(
            path,
            FORMAT,
            {"table": self.table.astype(np.float16), "goal": self.goal, "premise": self.premise, **numbers},
        )

    @staticmethod
    def load(path: Path) -> DenseWeights:
        """Read a file written by `save`. Raises UserError for any other."""
        shapes = {
            "table": (BUCKETS, WIDTH),
            "goal": (WIDTH, WIDTH),
            "premise": (WIDTH, WIDTH),
            "scale": (),
            "symbolic": (),
        }
        found = load_arrays(path, FORMAT, "a retriever's weights", shapes)
        return DenseWeights(
            found["table"], found["goal"], found["premise"], float(found["scale"]), float(found["symbolic"])
        )


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
    for extra in (
        f"head {premise.head}",
        f"left {premise.sides[0]}",
        f"right {premise.sides[1]}",
        f"explicit {premise.explicit}",
    ):
        b = _bucket(extra)
        found[b] = found.get(b, 0.0) + 0.2
    return found


def rarity(premises: Sequence[Premise]) -> np.ndarray:
    """[BUCKETS] inverse document frequency of the features among `premises`, at least 0.3."""
    seen = np.zeros(BUCKETS, dtype=np.float32)
    for p in premises:
        seen[list(symbol_features(p.constants))] += 1
    return np.maximum(np.log((len(premises) + 1) / (seen + 1)), 0.3).astype(np.float32)


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


def _embed(w: DenseWeights, side: np.ndarray, features: Sequence[dict[int, float]], idf: np.ndarray) -> np.ndarray:
    ids, weights, starts = bags([(f, idf) for f in features])
    if not len(starts):
        return np.zeros((0, WIDTH), dtype=np.float32)
    vectors = np.empty((len(starts), WIDTH), dtype=np.float32)
    for a in range(0, len(starts), 4096):  # bounded memory
        lo, hi = starts[a], starts[a + 4096] if a + 4096 < len(starts) else len(ids)
        vectors[a : a + 4096] = np.add.reduceat(
            w.table[ids[lo:hi]] * weights[lo:hi, None], starts[a : a + 4096] - lo, axis=0
        )
    vectors = vectors @ side
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _all_read(constants: Sequence[str], read: Callable[[str], str]) -> tuple[str, ...]:
    return tuple(c if is_plumbing(c) else read(c) for c in constants)


def _as_read(premise: Premise, read: Callable[[str], str]) -> Premise:
    head, left, right = _all_read((premise.head, *premise.sides), read)
    return structs.replace(premise, head=head, sides=(left, right), constants=_all_read(premise.constants, read))


class DenseRetriever:
    """Scores premises for a goal, by a linear scan on one core: one to two milliseconds for the whole library.

    `with_symbols`: add the symbolic score in the learned proportion (hybrid). `read`: a renaming of constants, e.g. to made-up
    words.
    """

    def __init__(
        self,
        premises: Sequence[Premise],
        weights: DenseWeights,
        with_symbols: SymbolRetriever | None = None,
        read: Callable[[str], str] | None = None,
    ) -> None:
        self.premises = premises
        self._read = read
        self.weights = weights
        self._symbols = with_symbols
        if read is not None:
            premises = [_as_read(p, read) for p in premises]
        self._idf = rarity(premises)
        self._vectors = _embed(weights, weights.premise, [premise_features(p) for p in premises], self._idf)

    def score(self, constants: Sequence[str]) -> np.ndarray:
        """[premises] relevance; above 0 for premises to offer."""
        w = self.weights
        said = constants if self._read is None else _all_read(constants, self._read)
        query = _embed(w, w.goal, [symbol_features(said)], self._idf)[0]
        # Not `@`: BLAS would wake one thread per core for a millisecond of work, which is slow under load.
        score = w.scale * np.einsum("ij,j->i", self._vectors, query)
        if self._symbols is not None:
            score = score + w.symbolic * self._symbols.score(constants)
        return score
