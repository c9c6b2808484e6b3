"""A made-up library of the size of Mathlib."""

from __future__ import annotations

import numpy as np

from prover.premises.index import LibraryIndex, ModuleInfo, Premise

DECLARATIONS, MODULES, SYMBOLS = 250_000, 5_000, 100_000
WORDS = [
    "List",
    "Nat",
    "map",
    "append",
    "length",
    "mul_comm",
    "Ideal",
    "span",
    "Polynomial",
    "eval",
    "continuous",
    "Measure",
    "integrable",
    "le_of_lt",
    "Finset",
    "sum",
]


def mathlib_sized(seed: int = 0) -> LibraryIndex:
    """An index with types of about 180 characters and 12 constants each, whose frequencies follow Zipf's law, as in Mathlib."""
    rng = np.random.default_rng(seed)
    words = rng.choice(WORDS, (DECLARATIONS, 3))
    zipf = 1.0 / np.arange(1, SYMBOLS + 1)
    used = np.searchsorted(np.cumsum(zipf / zipf.sum()), rng.random((DECLARATIONS, 16))).tolist()
    symbols = [f"{WORDS[i % len(WORDS)]}.{WORDS[i // 7 % len(WORDS)]}_{i}" for i in range(SYMBOLS)]
    sizes = rng.integers(6, 17, DECLARATIONS).tolist()
    premises = []
    for i, (ws, us, size) in enumerate(zip(words.tolist(), used, sizes, strict=True)):
        cs = tuple(dict.fromkeys(symbols[min(u, SYMBOLS - 1)] for u in us[:size]))
        module = f"Made.M{i * MODULES // DECLARATIONS}"
        type_ = f"∀ {{α : Type u}} [inst : {cs[-1]} α] (x y : α), {' '.join(cs)} x y"
        premises.append(Premise(f"{'.'.join(ws)}_{i}", module, cs[0], (cs[-1], cs[0]), 2, True, cs, type_))
    each = DECLARATIONS // MODULES
    return LibraryIndex(
        "synthetic",
        {
            f"Made.M{m}": ModuleInfo((f"Made.M{m - 1}",) if m else (), tuple(premises[m * each : (m + 1) * each]))
            for m in range(MODULES)
        },
    )
