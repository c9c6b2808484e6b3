"""Premises from a theorem's own surroundings: lemmas of its file and of its project, and functions to unfold."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Sequence

import msgspec
import numpy as np

from prover.lean.surroundings import Surroundings
from prover.premises.library import LibraryIndex, ModuleInfo
from prover.premises.locality import Place, namespace_of, near, shared
from prover.premises.premise import Premise
from prover.premises.symbols import SymbolRetriever

RECENCY = 0.5
"""Factor that the last lemma before the theorem gains over the first."""


CANDIDATES = 24
"""Number of theorems of the surroundings in a training example of a retriever, besides those that its tactics name."""


class LocalCandidate(msgspec.Struct, frozen=True, array_like=True):
    """A theorem of the surroundings of a goal, as a training example."""

    premise: Premise
    symbolic: float
    """Its symbolic score."""
    features: tuple[float, ...]
    """Its row of LocalPremises.features, without the namespace's feature."""


class LocalPremises:
    """The surroundings of a theorem, ranked for its goals.

    A constant counts together with those that it hides. For example, an instance includes the functions in its definition, so `a + b` on
    the file's own type finds lemmas about its `add`.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._known = surroundings.by_name
        self._place = {d.name: i for i, d in enumerate(surroundings.declarations)}
        self.theorems = surroundings.theorems
        seen = [
            Premise(d.name, "", d.head, d.sides, d.explicit, False, self.visible(d.constants)) for d in self.theorems
        ]
        self.premises = LibraryIndex("", {"": ModuleInfo((), seen)}).select()
        """The theorems, in their order."""
        self._symbols = SymbolRetriever(self.premises, smooth=True)
        self._recency = 1.0 + RECENCY * np.arange(1, len(seen) + 1) / max(1, len(seen))
        self._imported = sum(d.kind == "theorem" for d in surroundings.declarations[: surroundings.imported])

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
        score = self.similarity(constants) * self._recency
        order = np.argsort(-score, kind="stable")[:k]
        return [self.theorems[int(i)].name for i in order if score[i] > 0.0]

    def similarity(self, constants: Sequence[str]) -> np.ndarray:
        """[theorems] symbolic scores, independent of their position."""
        return self._symbols.score(self.visible(constants))

    def features(self, place: Place) -> np.ndarray:
        """[theorems, locality.FEATURES] for a theorem at a place. Theorems of imported files of the project have 0.5 as feature `module`."""
        count = len(self.theorems)
        own = (np.arange(count) >= self._imported).astype(np.float32)
        spaces = [shared(place.namespace, namespace_of(d.name)) for d in self.theorems]
        return np.stack([own, near(count), np.array(spaces, dtype=np.float32), (1.0 + own) / 2], axis=1)

    def candidates(self, constants: Sequence[str], named: Collection[str]) -> tuple[LocalCandidate, ...]:
        """The theorems with the best symbolic scores for a goal, and those in `named`."""
        if not self.theorems:
            return ()
        score = self.similarity(constants)
        features = self.features(Place())
        best = set(np.argsort(-score, kind="stable")[:CANDIDATES].tolist())
        chosen = [i for i, d in enumerate(self.theorems) if i in best or d.name in named]
        return tuple(
            LocalCandidate(self.premises[i], round(float(score[i]), 4), tuple(features[i].round(4).tolist()))
            for i in chosen
        )

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
