"""Okapi BM25 (Robertson & Walker 1994) over the constants of types, in Lucene's form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prover.premises.columns import sums
from prover.premises.index import Premises
from prover.premises.symbols import SharedSymbols, is_instance

K1, B = 1.5, 0.75
"""K1: how fast repeated terms saturate. B: how much long types are discounted. The values of Lucene and of bm25s."""


class Bm25Retriever(SharedSymbols):
    """BM25 scores. Constants are terms, each once in a type, without instances."""

    def __init__(self, premises: Premises) -> None:
        super().__init__(premises)
        index = self.index
        term = ~np.fromiter(map(is_instance, index.symbols), bool, len(index.symbols))
        rarity = np.log1p((len(premises) - self.frequency + 0.5) / (self.frequency + 0.5))
        self.weight = np.where(term & (self.frequency > 0), rarity, 0.0).astype(np.float32)
        # A type without terms has one that no goal has.
        length = np.maximum(sums(term[index.constants].astype(np.int8), index.constant_offsets), 1)
        mean = length[premises.rows].mean() if len(premises) else 1.0
        self._factor = (1.0 / (1.0 + K1 * (1.0 - B + B * length / mean))).astype(np.float32)

    def matches(self, constants: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        _, rows, shared = self.shared(constants)
        return rows, shared * self._factor[rows]
