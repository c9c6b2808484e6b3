"""Reads theorem sets: JSON Lines, JSON, Parquet and Arrow files, and folders of them as the `datasets` library and the Hugging Face
hub store them. Parquet and Arrow need pyarrow, an optional dependency."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prover.console import one_line
from prover.errors import UserError
from prover.files import check_regular
from prover.jsonl import json_rows, jsonl_rows
from prover.lean.theorem import Theorem
from prover.solve.theorem_rows import theorem_of_row

SUFFIXES = (".jsonl", ".json", ".parquet", ".arrow")
_ABOUT = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""Files of the `datasets` library that describe a data set."""


def load_theorems(path: Path, imports: Sequence[str] = (), fields: Mapping[str, str] | None = None) -> list[Theorem]:
    """All theorems of a file or folder. A different theorem with the same name becomes `NAME_2`. Raises UserError with `file:row` for
    the first row that is not a theorem or repeats one. `imports`, `fields`: see `theorem_of_row`."""
    found: dict[str, list[Theorem]] = {}
    taken: set[str] = set()
    theorems = []
    for row, where in rows_of(path):
        theorem = theorem_of_row(row, where, imports, fields)
        alike = found.setdefault(theorem.name, [])
        for other in alike:
            if replace(other, source="") == replace(theorem, source=""):
                raise UserError(f"{where}: duplicate of {theorem.name!r} at {other.source}; remove one")
        alike.append(theorem)
        n = max(2, len(alike))
        while theorem.name in taken:
            theorem, n = replace(theorem, name=numbered(alike[0].name, n)), n + 1
        taken.add(theorem.name)
        theorems.append(theorem)
    if not theorems:
        raise UserError(f"{path}: no theorems; add one JSON object per line")
    return theorems


def numbered(name: str, n: int) -> str:
    """`NAME_n`, also for a name in « »."""
    return f"{name[:-1]}_{n}»" if name.endswith("»") else f"{name}_{n}"


def is_data_set(path: Path) -> bool:
    """Whether a path names a data set's file, by its suffix, or a folder that contains one."""
    return bool(_files(path)) if path.is_dir() else path.suffix in SUFFIXES


def rows_of(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """(row, `file:row`) of every row of a file or folder, with rows numbered from 1. Raises UserError."""
    for file in _files(path) if path.is_dir() else [path]:
        if file.suffix in (".parquet", ".arrow"):
            yield from _arrow_rows(file)
        else:
            yield from (json_rows if file.suffix == ".json" else jsonl_rows)(file)


def _files(folder: Path) -> list[Path]:
    """The data files of a folder and its subfolders, by path. Hidden files, and files about the data, are left out."""
    found = [p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.name not in _ABOUT and not p.is_dir()]
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def _arrow_rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    check_regular(path)
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise UserError(
            f"{path}: reading {path.suffix} files needs pyarrow: pip install 'turnstile-prover[data]'; or convert it to .jsonl"
        ) from None
    number = 0
    try:
        if path.suffix == ".parquet":
            batches = pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=256)
        else:  # a stream, as `save_to_disk` writes it
            batches = pyarrow.ipc.open_stream(path.open("rb"))
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield row, f"{path}:{number}"
    except (OSError, ValueError, pyarrow.ArrowException) as e:
        raise UserError(f"{path}: not a readable {path.suffix} file: {one_line(str(e))}") from None
