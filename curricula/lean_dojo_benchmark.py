"""LeanDojo Benchmark files (`train.json`, `val.json`, `test.json`) as theorem sets.

Yang et al. 2023, "LeanDojo: Theorem Proving with Retrieval-Augmented Language Models". A file is a list of theorems with `url`,
`commit`, `file_path`, `full_name`, `start`, `end` and `traced_tactics`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from prover.errors import UserError
from prover.lean.leandojo.locate import find_theorem
from prover.lean.text import LeanText, read
from prover.lean.theorem import Theorem


class _Entry(msgspec.Struct):
    url: str
    commit: str
    file_path: str
    full_name: str


def _read(path: Path) -> list[_Entry]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[_Entry])
    except msgspec.DecodeError as e:
        raise UserError(f"{path}: not a LeanDojo Benchmark file: {e}") from None


def checkout_theorems(file: Path, sources: Path) -> list[Theorem]:
    """The theorems of a benchmark file with their context, read from a checkout of the benchmark's repository.

    For Turnstile's own Lean processes, which do not trace. Raises UserError if `sources` lacks a file or theorem.
    """
    found: list[Theorem] = []
    texts: dict[str, LeanText] = {}
    for url, commit, path, name in dict.fromkeys((e.url, e.commit, e.file_path, e.full_name) for e in _read(file)):
        if path not in texts:
            texts[path] = _checked_out(sources, path, f"{file}: {url} at {commit[:10]}")
        place = find_theorem(texts[path], name)
        if place is None:
            raise UserError(f"{sources / path}: has no theorem {name}, which is in {file}; check out commit {commit}")
        line = place.body.count("\n", 0, place.statement_starts) + 1
        found.append(place.theorem(f"{sources / path}:{line}"))
    if not found:
        raise UserError(f"{file}: contains no theorems")
    return found


def _checked_out(sources: Path, path: str, whose: str) -> LeanText:
    folder = sources.resolve()
    target = (folder / path).resolve()
    if not target.is_relative_to(folder) or not target.is_file():
        raise UserError(f"{sources}: has no file {path}; give a checkout of {whose}")
    return read(target)
