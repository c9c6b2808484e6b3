"""Columns of numbers, texts and lists in one memory-mapped file, so that all processes share one copy."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from prover.files import write_whole

_MAGIC = b"turnstile columns 1\n"
_ALIGN = 64


def write_columns(path: Path, about: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> None:
    """Write one-dimensional arrays and a JSON object, atomically. Creates the folder. Raises UserError."""
    blocks = [_aligned(c.tobytes()) for c in columns.values()]
    starts = accumulate(map(len, blocks), initial=0)
    places = {name: [c.dtype.str, start, c.size] for (name, c), start in zip(columns.items(), starts, strict=False)}
    header = json.dumps({"about": about, "columns": places}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, b"".join([_aligned(_MAGIC + len(header).to_bytes(8, "little") + header), *blocks]))


def _aligned(block: bytes) -> bytes:
    return block + bytes(-len(block) % _ALIGN)


def read_columns(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The JSON object and the arrays of a file, mapped read-only. Raises OSError or ValueError for any other file."""
    data = np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
    size = int.from_bytes(data[len(_MAGIC) : len(_MAGIC) + 8].tobytes(), "little")
    begin = len(_MAGIC) + 8
    if data[: len(_MAGIC)].tobytes() != _MAGIC or begin + size > len(data):
        raise ValueError(f"{path}: not a file of columns")
    header = json.loads(data[begin : begin + size].tobytes())
    base = -(-(begin + size) // _ALIGN) * _ALIGN
    columns = {}
    for name, (kind, start, count) in header["columns"].items():
        end = base + start + count * np.dtype(kind).itemsize
        if end > len(data):
            raise ValueError(f"{path}: the file is cut off")
        columns[name] = data[base + start : end].view(kind)
    return header["about"], columns


class Texts(Sequence[str]):
    """Texts in one UTF-8 block. `offsets`: [texts + 1], in bytes."""

    def __init__(self, block: np.ndarray, offsets: np.ndarray) -> None:
        self.block, self.offsets = block, offsets
        self._bytes = block.data

    @staticmethod
    def of(texts: Iterable[str]) -> Texts:
        parts = [t.encode() for t in texts]
        return Texts(np.frombuffer(b"".join(parts), np.uint8), offsets_of(np.fromiter(map(len, parts), np.int64)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: Any) -> Any:
        return str(self._bytes[self.offsets[i] : self.offsets[i + 1]], "utf-8")

    def place(self, text: str, order: Sequence[int] | np.ndarray | None = None) -> int:
        """The index at which `text` is, or would be inserted, in `order`, which sorts the texts (None: they are sorted)."""
        places: Any = range(len(self)) if order is None else order
        return bisect_left(places, text, key=self.__getitem__)

    def lengths(self) -> np.ndarray:
        """[texts] number of characters."""
        return sums(((self.block & 0xC0) != 0x80).astype(np.int32), self.offsets)


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """[lists + 1] start of each list, and the end of the last."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def sums(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """[lists] sum of the values of each list, as float64 or int64."""
    total = np.zeros(len(values) + 1, dtype=np.float64 if values.dtype.kind == "f" else np.int64)
    np.cumsum(values, out=total[1:])
    return np.diff(total[offsets])


def places(offsets: np.ndarray, lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(indices of the elements of some lists, one list after the other; [lists] their sizes)."""
    sizes = np.diff(offsets)[lists]
    return np.repeat(offsets[lists] - offsets_of(sizes)[:-1], sizes) + np.arange(int(sizes.sum())), sizes
