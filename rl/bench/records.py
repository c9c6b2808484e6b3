"""Results of benchmarks on disk: a JSON line per result, appended and read back to resume."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from prover.errors import UserError

T = TypeVar("T", bound=msgspec.Struct)


def append(path: Path | None, results: Sequence[msgspec.Struct]) -> None:
    """Append results. They are on disk when this returns."""
    if path is None or not results:
        return
    with path.open("ab") as f:
        f.write(b"".join(msgspec.json.encode(r) + b"\n" for r in results))
        f.flush()
        os.fsync(f.fileno())


def read(path: Path | None, kind: type[T]) -> list[T]:
    """All results in the file. Removes a partial last line, which a killed process leaves. Raises UserError for other invalid lines."""
    if path is None or not path.exists():
        return []
    found: list[T] = []
    whole, _, torn = path.read_bytes().rpartition(b"\n")
    for n, line in enumerate(whole.split(b"\n") if whole else (), 1):
        try:
            found.append(msgspec.json.decode(line, type=kind))
        except msgspec.MsgspecError:
            raise UserError(f"{path}:{n}: not a result of this benchmark; name another file, or remove it") from None
    if torn:
        os.truncate(path, len(whole) + bool(whole))
    return found
