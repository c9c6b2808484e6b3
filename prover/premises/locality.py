"""The position of a premise relative to a theorem, as features that a learned retriever weighs.

`file`: whether it is of the theorem's own file. `near`: 1 for the lemma before the theorem, less for those before it, 0 for a library's.
`namespace`, `module`: the share of name components that both have in common.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from prover.premises.library import LibraryIndex, Premises

FEATURES = ("file", "near", "namespace", "module")
INITIAL = (4.0, 2.0, 0.0, 0.0)
"""Weights before training: an own lemma comes before library lemmas that match as well. The score's other parts are within ±20."""

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """A theorem's own namespace, and its module if it is of the library."""

    namespace: Parts = ()
    module: Parts = ()

    @staticmethod
    def of(name: str, library: LibraryIndex) -> Place:
        """The place of a theorem, by its full name."""
        row = library.row(name)
        module = library.module(row) if row is not None else ""
        return Place(namespace_of(name.removeprefix("_root_.")), tuple(module.split(".")) if module else ())


def namespace_of(name: str) -> Parts:
    return tuple(name.split(".")[:-1])


def near(theorems: int) -> np.ndarray:
    """[theorems] the feature `near` of the theorems before a theorem, in their order."""
    return (1.0 / (1.0 + np.log2(np.arange(theorems, 0, -1, dtype=np.float32)))).astype(np.float32)


def shared(one: Parts, other: Parts) -> float:
    """Share of leading components that two names have in common; 0 for two empty ones."""
    same = next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    return same / max(len(one), len(other), 1)


def locality(premises: Premises, place: Place) -> np.ndarray:
    """[premises, FEATURES] of a library's premises for a theorem in a place."""
    names, modules = _parts_of(premises.library)
    found = np.zeros((len(premises), len(FEATURES)), dtype=np.float32)
    for column, mine, (parts, number) in ((2, place.namespace, names), (3, place.module, modules)):
        by_number = np.fromiter((shared(mine, p) for p in parts), np.float32, len(parts))
        found[:, column] = by_number[number[premises.rows]]
    return found


@functools.lru_cache(maxsize=4)
def _parts_of(library: LibraryIndex) -> tuple[tuple[list[Parts], np.ndarray], tuple[list[Parts], np.ndarray]]:
    """(distinct namespaces, [rows] the number of each row's), and the same for modules."""
    numbers: dict[Parts, int] = {}
    names = (namespace_of(name) for name in library.names)
    by_row = np.fromiter((numbers.setdefault(n, len(numbers)) for n in names), np.int64, len(library))
    modules: list[Parts] = [tuple(m.split(".")) for m in library.modules]
    return (list(numbers), by_row), (modules, library.module_numbers())
