"""Premises from a theorem's own surroundings: lemmas of its file and of its project, and functions to unfold."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import numpy as np

from prover.lean.surroundings import Surroundings
from prover.premises.library import LibraryIndex, ModuleInfo
from prover.premises.premise import Premise
from prover.premises.symbols import SymbolRetriever

RECENCY = 0.5
"""Factor that the last lemma before the theorem gains over the first."""


class LocalPremises:
    """The surroundings of a theorem, ranked for its goals.

    Constants count together with those that they hide: an instance stands for the functions that it is made of, so `a + b` on
    an own type leads to lemmas about its `add`.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._known = surroundings.by_name
        self._place = {d.name: i for i, d in enumerate(surroundings.declarations)}
        self.theorems = surroundings.theorems
        seen = [
            Premise(d.name, "", d.head, d.sides, d.explicit, False, self.visible(d.constants)) for d in self.theorems
        ]
        index = LibraryIndex("", {"": ModuleInfo((), seen)})
        self._symbols = SymbolRetriever(index.select(), smooth=True)
        self._recency = 1.0 + RECENCY * np.arange(1, len(seen) + 1) / max(1, len(seen))

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def visible(self, constants: Iterable[str]) -> tuple[str, ...]:
        """The constants, and those that local instances among them hide, each once."""
        found: dict[str, None] = {}
        stack = list(constants)[::-1]
        while stack:
            c = stack.pop()
            if c in found:
                continue
            found[c] = None
            known = self._known.get(c)
            if known is not None and known.kind == "instance":
                stack.extend(v for v in known.value if not v.endswith(".mk"))
        return tuple(found)

    def lemmas(self, constants: Sequence[str], k: int) -> list[str]:
        """At most `k` theorems that share a symbol with these constants of a goal, best first."""
        if not self.theorems or k < 1:
            return []
        score = self._symbols.score(self.visible(constants)) * self._recency
        order = np.argsort(-score, kind="stable")[:k]
        return [self.theorems[int(i)].name for i in order if score[i] > 0.0]

    def functions(self, constants: Iterable[str]) -> list[str]:
        """Own definitions among the constants, or hidden behind instances among them."""
        return [c for c in self.visible(constants) if self._unfolds(c)]

    def _unfolds(self, name: str) -> bool:
        known = self._known.get(name)
        if known is None or known.kind != "definition" or known.head == "Sort":
            return False
        owner, _, last = name.rpartition(".")
        return owner not in self._known or last not in self._known[owner].fields  # projections are not unfolded


@functools.lru_cache(maxsize=64)
def local_premises(surroundings: Surroundings) -> LocalPremises:
    """The ranking of these surroundings, cached."""
    return LocalPremises(surroundings)
