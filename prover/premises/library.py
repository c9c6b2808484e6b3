"""The modules of an environment with their declarations, in arrays that all processes share.

A theorem may use the modules that its own imports reach (`reachable`). These cannot contain the theorem itself or anything
proved from it; theorems with an alias there are not used as tasks (curricula/library.py). It scales to Mathlib: a loaded index is a
mapped file, and a `Premise` is created on access.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prover.premises.columns import Texts, offsets_of, read_columns, sums, write_columns
from prover.premises.premise import ATTRIBUTES, KINDS, Premise

_BELOW = len(ATTRIBUTES)
_DEPRECATED = ATTRIBUTES.index("deprecated")


@dataclass(frozen=True)
class ModuleInfo:
    imports: tuple[str, ...]
    theorems: Sequence[Premise]
    others: Sequence[Premise] = ()
    """Definitions, constructors and instances."""


class LibraryIndex:
    """Every module of an environment with its imports and declarations. A declaration has a row, a constant a number."""

    def __init__(self, lean: str, modules: Mapping[str, ModuleInfo]) -> None:
        self._open({"lean": lean, "modules": {m: info.imports for m, info in modules.items()}}, _columns(modules))

    @classmethod
    def load(cls, path: Path) -> LibraryIndex:
        """Map a file written by `save`. Raises OSError or ValueError for any other."""
        index = cls.__new__(cls)
        index._open(*read_columns(path))
        return index

    def save(self, path: Path, **about: Any) -> None:
        """Write the file, atomically. Raises UserError."""
        write_columns(path, {**self.about, **about}, self._columns)

    def _open(self, about: dict[str, Any], columns: dict[str, np.ndarray]) -> None:
        self.about, self._columns = about, columns
        self.lean: str = about["lean"]
        c = columns
        self.names = Texts(c["names"], c["name_offsets"])
        self.symbols = Texts(c["symbols"], c["symbol_offsets"])
        """Names of the constants by number, in order."""
        self._types = Texts(c["types"], c["type_offsets"])
        self.by_name_order = c["order"]
        """[rows] sorted by name."""
        self.constants = c["constants"]
        self.constant_offsets = c["constant_offsets"]
        """The constants of row i are `constants[constant_offsets[i] : constant_offsets[i + 1]]`, in Lean's order."""
        self.postings = c["postings"]
        self.posting_offsets = c["posting_offsets"]
        """The rows whose types mention a constant, in the same form."""
        self.heads = c["heads"].reshape(3, -1)
        """[3, rows] constants: head of the conclusion, of its left side, and of its right side."""
        self.explicit = c["explicit"]
        self._flags, self._kinds = c["flags"], c["kinds"]
        self._starts = c["starts"]
        """[modules + 1] first row of each module. Theorems come first."""
        every = np.arange(len(self.names))
        middles = self._starts[:-1] + sums((self._kinds == 0).astype(np.int8), self._starts)
        bounds = zip(about["modules"].items(), self._starts.tolist(), middles.tolist(), self._starts[1:].tolist())
        self.modules: dict[str, ModuleInfo] = {
            m: ModuleInfo(tuple(imports), Premises(self, every[a:b]), Premises(self, every[b:c]))
            for (m, imports), a, b, c in bounds
        }
        self._module_names = tuple(self.modules)

    def __len__(self) -> int:
        return len(self.names)

    def row(self, name: str) -> int | None:
        """The row of a declaration, or None."""
        at = self.names.place(name, self.by_name_order)
        if at < len(self) and self.names[row := int(self.by_name_order[at])] == name:
            return row
        return None

    def module(self, row: int) -> str:
        return self._module_names[int(np.searchsorted(self._starts, row, "right")) - 1]

    def module_numbers(self) -> np.ndarray:
        """[rows] number of each declaration's module, in the order of `modules`."""
        return np.repeat(np.arange(len(self._module_names)), np.diff(self._starts))

    def symbol(self, name: str) -> int | None:
        """The number of a constant that some declaration mentions, or None."""
        at = self.symbols.place(name)
        return at if at < len(self.symbols) and self.symbols[at] == name else None

    def premises(self, rows: Iterable[int]) -> Iterator[Premise]:
        """The declarations of some rows."""
        for row in rows:
            begin, end = self.constant_offsets[row : row + 2].tolist()
            head, left, right, *constants = map(
                self.symbols.__getitem__, (*self.heads[:, row].tolist(), *self.constants[begin:end].tolist())
            )
            flags = int(self._flags[row])
            yield Premise(
                self.names[row],
                self.module(row),
                head,
                (left, right),
                int(self.explicit[row]),
                bool(flags >> _BELOW & 1),
                tuple(constants),
                self._types[row],
                tuple(a for i, a in enumerate(ATTRIBUTES) if flags >> i & 1),
                KINDS[self._kinds[row]],
            )

    def select(
        self, modules: Collection[str] | None = None, deprecated: bool = True, kinds: Collection[str] = ("theorem",)
    ) -> Premises:
        """The declarations of these kinds and modules (None: all), without deprecated ones on request."""
        chosen = [modules is None or m in modules for m in self._module_names]
        wanted = np.repeat(np.array(chosen, dtype=bool), np.diff(self._starts))
        wanted &= np.isin(self._kinds, [KINDS.index(k) for k in kinds])
        if not deprecated:
            wanted &= self._flags >> _DEPRECATED & 1 == 0
        return Premises(self, np.flatnonzero(wanted))

    def by_name(self) -> Mapping[str, Premise]:
        """Every theorem."""
        return _ByName(self)

    def reachable(self, imports: tuple[str, ...]) -> frozenset[str]:
        """Modules that `imports` load, transitively."""
        seen: set[str] = set()
        stack = list(imports)
        while stack:
            m = stack.pop()
            if m not in seen and m in self.modules:
                seen.add(m)
                stack.extend(self.modules[m].imports)
        return frozenset(seen)


class Premises(Sequence[Premise]):
    """Some declarations of an index, created on access. `rows`: ascending."""

    def __init__(self, library: LibraryIndex, rows: np.ndarray) -> None:
        self.library, self.rows = library, rows
        self._made: tuple[Premise, ...] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return Premises(self.library, self.rows[i])
        return next(self.library.premises([int(self.rows[i])]))

    def __iter__(self) -> Iterator[Premise]:
        if self._made is None:
            self._made = tuple(self.library.premises(self.rows.tolist()))
        return iter(self._made)

    def names(self) -> list[str]:
        return [self.library.names[i] for i in self.rows.tolist()]


class _ByName(Mapping[str, Premise]):
    """The theorems of an index by name."""

    def __init__(self, library: LibraryIndex) -> None:
        self._library = library
        self._made: dict[str, Premise] = {}

    def __getitem__(self, name: str) -> Premise:
        if name not in self._made:
            row = self._library.row(name)
            if row is None or self._library._kinds[row]:
                raise KeyError(name)
            self._made[name] = next(self._library.premises([row]))
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._library.select().names())

    def __len__(self) -> int:
        return int(np.count_nonzero(self._library._kinds == 0))


def _columns(modules: Mapping[str, ModuleInfo]) -> dict[str, np.ndarray]:
    """The arrays of an index, see LibraryIndex._open."""
    premises = [p for info in modules.values() for p in (*info.theorems, *info.others)]
    constants = [tuple(dict.fromkeys(p.constants)) for p in premises]
    symbols = sorted({s for p, cs in zip(premises, constants, strict=True) for s in (p.head, *p.sides, *cs)})
    number = {s: i for i, s in enumerate(symbols)}
    sizes = np.fromiter(map(len, constants), np.int64, len(premises))
    ids = np.fromiter((number[c] for cs in constants for c in cs), np.int32, int(sizes.sum()))
    flags = [sum(1 << i for i, a in enumerate(ATTRIBUTES) if a in p.attributes) | p.below << _BELOW for p in premises]
    texts = {"name": [p.name for p in premises], "type": [p.type for p in premises], "symbol": symbols}
    columns = {}
    for what, block in ((w, Texts.of(ts)) for w, ts in texts.items()):
        columns |= {f"{what}s": block.block, f"{what}_offsets": block.offsets}
    return {
        **columns,
        "order": np.array(sorted(range(len(premises)), key=lambda i: premises[i].name), dtype=np.int32),
        "constants": ids,
        "constant_offsets": offsets_of(sizes),
        "postings": np.repeat(np.arange(len(premises), dtype=np.int32), sizes)[np.argsort(ids, kind="stable")],
        "posting_offsets": offsets_of(np.bincount(ids, minlength=len(symbols))),
        "heads": np.array(
            [number[s] for role in zip(*((p.head, *p.sides) for p in premises)) for s in role], dtype=np.int32
        ),
        "explicit": np.array([p.explicit for p in premises], dtype=np.int32),
        "flags": np.array(flags, dtype=np.uint8),
        "kinds": np.array([KINDS.index(p.kind) for p in premises], dtype=np.uint8),
        "starts": offsets_of(np.array([len(i.theorems) + len(i.others) for i in modules.values()], dtype=np.int64)),
    }
