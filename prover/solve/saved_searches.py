"""Searches that ended at their budget, which a later try continues: in a folder beside the results file, or else in memory."""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from pathlib import Path

import msgspec

from prover.errors import UserError
from prover.files import read_file, write_whole

MAX_BYTES = 64 * 2**20
"""Size limit of a saved search."""


class SavedSearches:
    """Task key -> a search. `results`: the results file of the batch, or None."""

    def __init__(self, results: Path | None) -> None:
        self._folder = None if results is None else results.with_name(f"{results.name}.searches")
        self._kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes:
        """The saved search of a task; empty if there is none."""
        if self._folder is None:
            return self._kept.get(key, b"")
        with contextlib.suppress(UserError):
            return read_file(self._path(self._folder, key), MAX_BYTES)
        return b""

    def put(self, key: str, search: bytes) -> None:
        """Keep the search of a task, or drop it if `search` is empty. A search that cannot be written is repeated later."""
        if self._folder is None:
            self._kept[key] = search
            return
        path = self._path(self._folder, key)
        with contextlib.suppress(UserError, OSError):
            if search:
                self._folder.mkdir(exist_ok=True)
                write_whole(path, search)
            else:
                path.unlink(missing_ok=True)

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.search"


def pack(prover: str, search: bytes) -> bytes:
    """A search and the name of its prover."""
    return zlib.compress(msgspec.msgpack.encode((prover, search)), 1)


def unpack(saved: bytes) -> tuple[str, bytes]:
    """The inverse of `pack`; empty if the bytes are not of this form."""
    with contextlib.suppress(zlib.error, msgspec.DecodeError):
        return msgspec.msgpack.decode(zlib.decompress(saved), type=tuple[str, bytes])
    return "", b""
