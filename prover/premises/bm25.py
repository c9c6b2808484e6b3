"""Okapi BM25 (Robertson & Walker 1994) over the constants of types, in Lucene's form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prover.premises.columns import sums
from prover.premises.library import Premises
from prover.premises.symbols import SharedSymbols, is_instance

K1, B = 1.5, 0.75
"""K1: how fast repeated terms saturate. B: how much long types are discounted. The values of Lucene and of bm25s."""


class Bm25Retriever(SharedSymbols):
    """BM25 scores. Constants are terms, each once in a type, without instances."""

    def __init__(self, premises: Premises) -> None:
        super().__init__(premises)
        library = self.library
        term = ~np.fromiter(map(is_instance, library.symbols), bool, len(library.symbols))
        rarity = np.log1p((len(premises) - self.frequency + 0.5) / (self.frequency + 0.5))
        self.weight = np.where(term & (self.frequency > 0), rarity, 0.0).astype(np.float32)
        # A type without terms counts as having one, which no goal has.
        length = np.maximum(sums(term[library.constants].astype(np.int8), library.constant_offsets), 1)
        mean = length[premises.rows].mean() if len(premises) else 1.0
        self._factor = (1.0 / (1.0 + K1 * (1.0 - B + B * length / mean))).astype(np.float32)

    def matches(self, constants: Sequence[str], k: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        score = self.shared(constants)[1] * self._factor
        rows = np.flatnonzero(score)
        return rows, score[rows]
