"""Okapi BM25 (Robertson & Walker 1994) over the constants of types, with the bm25s library."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prover.premises.index import Premise
from prover.premises.symbols import is_instance


class Bm25Retriever:
    """Scores premises for a goal, in about a millisecond on the whole library."""

    def __init__(self, premises: Sequence[Premise]) -> None:
        import bm25s

        self.premises = premises
        self._bm25 = bm25s.BM25()
        if premises:
            # bm25s needs at least one term: "." for a statement without constants.
            self._bm25.index([terms(p.constants) or ["."] for p in premises], show_progress=False)
            self._known = frozenset(self._bm25.vocab_dict)

    def score(self, constants: Sequence[str]) -> np.ndarray:
        """[premises] relevance of every premise."""
        query = [c for c in terms(constants) if self.premises and c in self._known]
        if not query:
            return np.zeros(len(self.premises), dtype=np.float32)
        return np.asarray(self._bm25.get_scores(query), dtype=np.float32)


def terms(constants: Sequence[str]) -> list[str]:
    """The constants that BM25 indexes: each once, without instances."""
    return [c for c in dict.fromkeys(constants) if not is_instance(c)]
