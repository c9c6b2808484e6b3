"""Saves learned arrays in one versioned file, atomically."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prover.errors import UserError
from prover.files import write_whole


def save_arrays(path: Path, version: int, arrays: Mapping[str, np.ndarray | float]) -> None:
    """Write arrays with a format version, atomically. Creates the folder. Raises UserError."""
    data = io.BytesIO()
    whole: dict[str, Any] = {"format": version, **arrays}  # Any: numpy's stub has a keyword `allow_pickle`
    np.savez_compressed(data, **whole)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data.getvalue())


def load_arrays(
    path: Path, version: int, what: str, shapes: Mapping[str, tuple[int, ...]], later: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Read arrays of these shapes as float32. `what`: the kind of file, e.g. `a tactic ranker`. Raises UserError for other files.

    `later`: names of arrays that earlier files lack. They are left out of the result if they are missing.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            found = {name: data[name].astype(np.float32) for name in shapes if name in data or name not in later}
            right = int(data["format"]) == version and all(a.shape == shapes[n] for n, a in found.items())
    except OSError as e:
        raise UserError(f"{path}: {e.strerror or e}") from None
    except Exception as e:  # numpy and zipfile raise many things for a broken file
        raise UserError(f"{path}: not {what}: {e}") from None
    if not right:
        raise UserError(f"{path}: {what} of another version")
    return found
