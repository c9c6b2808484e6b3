"""Premise retrieval for searches.

Retrievers only contain premises of modules that the theorem's imports reach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from prover.lean.theorem import ProofState, Theorem
from prover.premises.bm25 import Bm25Retriever
from prover.premises.dense import DenseRetriever, DenseWeights
from prover.premises.imported import imported, imported_soon
from prover.premises.library import LibraryIndex, Premise
from prover.premises.local import LocalPremises, local_premises
from prover.premises.locality import Place
from prover.premises.symbols import Retriever, SymbolRetriever, is_plumbing

RETRIEVERS = ("symbols", "bm25", "symbols+bm25", "dense", "hybrid")
LEARNED = ("dense", "hybrid")
"""Names of all retrievers, and of the learned ones (`hybrid`: dense and symbols). Without weights these use initial weights."""


class _Sum(Retriever):
    """The sum of several scores, each divided by its maximum."""

    def __init__(self, *parts: Retriever) -> None:
        super().__init__(parts[0].premises)
        self._parts = parts

    def matches(self, constants: Sequence[str], k: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        total = np.zeros(len(self.library), dtype=np.float32)
        for rows, scores in (part.matches(constants) for part in self._parts):
            total[rows] += scores / max(float(scores.max(initial=0.0)), 1e-6)
        rows = np.flatnonzero(total)
        return rows, total[rows]


def make_retriever(
    name: str,
    index: LibraryIndex,
    modules: frozenset[str] | None = None,
    weights: DenseWeights | None = None,
    read: Callable[[str], str] | None = None,
) -> Retriever:
    """A retriever over the theorems of `modules` (None: all) that are not deprecated. `read`: a renaming of constants for
    learned retrievers; the others only compare names.

    Raises ValueError for a name that is not in RETRIEVERS.
    """
    premises = index.select(modules, deprecated=False)
    if name == "symbols":
        return SymbolRetriever(premises)
    if name == "bm25":
        return Bm25Retriever(premises)
    if name == "symbols+bm25":
        return _Sum(SymbolRetriever(premises), Bm25Retriever(premises))
    if name == "dense":
        return DenseRetriever(premises, weights or DenseWeights.initial(), read=read)
    if name == "hybrid":
        return DenseRetriever(premises, weights or DenseWeights.initial(), SymbolRetriever(premises), read)
    raise ValueError(f"unknown retriever {name!r}; choose one of {', '.join(RETRIEVERS)}")


def top_premises(retriever: Retriever, constants: Sequence[str], k: int) -> list[Premise]:
    """At most `k` premises with a positive score, best first."""
    rows, _ = _top(retriever, constants, k)
    return list(retriever.library.premises(rows))


def _top(retriever: Retriever, constants: Sequence[str], k: int) -> tuple[list[int], list[float]]:
    """Rows and scores of at most `k` premises with a positive score, best first."""
    if k < 1:
        return [], []
    rows, scores = retriever.matches(constants, k)
    if k < len(scores):
        # Keep all premises with the k-th score, so that the order of rows decides between them.
        enough = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
        rows, scores = rows[enough], scores[enough]
    best = np.argsort(-scores, kind="stable")[:k]
    best = best[scores[best] > 0.0]
    return rows[best].tolist(), scores[best].tolist()


def local_and_library(retriever: DenseRetriever, local: LocalPremises, constants: Sequence[str], k: int) -> list[str]:
    """Names of at most `k` premises of the surroundings and of the library, ranked together. Needs weights for places."""
    own = retriever.own_scores(local, constants)
    rows, scores = _top(retriever, constants, k)
    found = [(-float(s), d.name) for s, d in zip(own, local.theorems, strict=True)]
    found += [(-s, retriever.library.names[row]) for row, s in zip(rows, scores, strict=True)]
    return [name for _, name in sorted(found, key=lambda one: one[0])][:k]


class PremiseSource:
    """Premises for the states of searches, with one cached retriever per set of imports.

    Offers `k` names per state. Up to `definitions` of them (None: a third) are functions in the goal, for `simp [f]` and
    `unfold f`, interleaved with the lemmas. `k=0` offers nothing.
    """

    def __init__(
        self,
        index: LibraryIndex,
        k: int = 16,
        retriever: str = "symbols",
        weights: DenseWeights | None = None,
        definitions: int | None = None,
        read: Callable[[str], str] | None = None,
    ) -> None:
        if retriever not in RETRIEVERS:
            raise ValueError(f"unknown retriever {retriever!r}; choose one of {', '.join(RETRIEVERS)}")
        self.library = index
        self.k = k
        self.name = retriever
        self.definitions = k // 3 if definitions is None else definitions
        self.weights = weights
        self._read = read
        self._retrievers: dict[tuple[str, ...], tuple[LibraryIndex, Retriever]] = {}

    def learned(self, weights: DenseWeights | None) -> None:
        self.weights = weights
        self._retrievers.clear()

    def renamed(self, read: Callable[[str], str]) -> PremiseSource:
        """The same source with constants renamed inside learned retrievers, e.g. to made-up names. Offered premises keep their names."""
        return PremiseSource(self.library, self.k, self.name, self.weights, self.definitions, read)

    def retriever(self, imports: tuple[str, ...]) -> tuple[LibraryIndex, Retriever]:
        """The index with the modules that `imports` load, and a retriever over their theorems. See `imported`."""
        if imports not in self._retrievers:
            found = imported(imports, self.library)
            made = make_retriever(self.name, found.index, found.modules, self.weights, self._read)
            self._retrievers[imports] = found.index, made
        return self._retrievers[imports]

    async def for_theorem(self, theorem: Theorem) -> Callable[[ProofState], tuple[str, ...]]:
        """The function `at` for a theorem. The first theorem with some imports waits for their index."""
        if self.k:
            await imported_soon(theorem.imports, self.library)
        return self.at(theorem.imports, name=theorem.library or theorem.name)

    def at(self, imports: tuple[str, ...], name: str = "") -> Callable[[ProofState], tuple[str, ...]]:
        """A function from a state of theorem `name` to the names of its best premises.

        Lemmas and functions of the theorem's own surroundings come before the library's, and leave a quarter of the names to it.
        A retriever with learned weights for places ranks own lemmas and those of the library together.
        """
        index, retriever = self.retriever(imports) if self.k else (self.library, None)
        if isinstance(retriever, DenseRetriever):
            retriever = retriever.placed(Place.of(name, index))

        def premises(state: ProofState) -> tuple[str, ...]:
            if retriever is None:
                return ()
            constants = [c for g in state.goals for c in g.constants]
            local = local_premises(state.surroundings)
            functions = [*local.functions(constants), *(d for d in definitions(constants) if d not in local)]
            functions = functions[: self.definitions]
            if isinstance(retriever, DenseRetriever) and retriever.weights.locality is not None:
                found = local_and_library(retriever, local, constants, self.k)
            else:
                own = local.lemmas(constants, self.k)[: max(0, self.k - len(functions) - self.k // 4)]
                found = [*own, *(p.name for p in top_premises(retriever, constants, self.k))]
            mixed = found[: self.k - len(functions)]
            for i, f in enumerate(functions):
                mixed.insert(min(3 * i + 2, len(mixed)), f)
            return tuple(mixed)

        return premises


def trained_source(index: LibraryIndex, k: int, retriever: str, learned: DenseWeights | None) -> PremiseSource:
    """The configured retriever, or the symbolic one while a learned one has no weights."""
    name = "symbols" if retriever in LEARNED and learned is None else retriever
    return PremiseSource(index, k, name, learned)


# Constructors, types and notation that need no unfolding.
_KNOWN_TO_ALL = (
    "Nat Nat.succ Nat.zero List List.nil List.cons Option Option.some Option.none Bool Bool.true Bool.false Int Array Prod "
    "Prod.mk Fin BitVec HAdd.hAdd HSub.hSub HMul.hMul HDiv.hDiv HMod.hMod HPow.hPow Neg.neg LT.lt LE.le GE.ge GT.gt Ne Exists "
    "Membership.mem GetElem.getElem GetElem?.getElem? HAppend.hAppend BEq.beq ite dite Decidable Decidable.decide Function.comp "
    "Iff.intro PUnit Unit Subtype Sum Except String Char Vector cond bne Min.min Max.max"
)
_NOT_UNFOLDED = frozenset(_KNOWN_TO_ALL.split())


def definitions(constants: Sequence[str]) -> list[str]:
    """The constants of a goal that may be functions worth unfolding, in order."""
    return [c for c in dict.fromkeys(constants) if "." in c and not is_plumbing(c) and c not in _NOT_UNFOLDED]
