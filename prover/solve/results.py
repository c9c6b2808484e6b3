"""results.jsonl: what a batch found, a line an attempt, as it goes; a batch that was cut short goes on from it.

A line is written when a proof is found (`found`, `refuted`) and another when the audit has spoken: the last one of a task
and try counts, so that a kill between the two costs no search.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.files import open_file, read_lines

FORMAT = 2
ON_DISK = ("outline",)
"""Fields that only the file keeps: a batch of a hundred thousand must not hold its search trees in memory."""


class Results:
    """An open results file. The first line says what was asked; `--resume` refuses a file about something else."""

    def __init__(self, path: Path | None, asked: dict[str, Any], resume: bool) -> None:
        self.path = path
        self._asked = {"turnstile_results": FORMAT, **asked}
        self.rows: dict[tuple[str, int], dict[str, Any]] = {}
        """(key of a task, number of the try) -> its last line, without what only the file keeps."""
        self._file = None
        if path is None:
            return
        try:
            self._file = path.open(
                "a", encoding="utf-8", errors="replace"
            )  # half a surrogate pair of a model's must end nothing
        except OSError as e:
            raise UserError(f"{path}: cannot be written: {e.strerror or e}") from None
        try:
            self._begin(path, resume)
        except BaseException:
            self.close()
            raise

    def _begin(self, path: Path, resume: bool) -> None:
        """Lock the file before anything is read, cut or written: another process may be at work on it."""
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{path}: another turnstile writes to it now; wait for it, or end it") from None
        if path.stat().st_size and not resume:
            raise UserError(f"{path}: there already: --resume goes on with it, or remove it")
        if path.stat().st_size and not _only_begun(path):
            self._read(path)
            return
        os.truncate(path, 0)
        self._line(self._asked)

    def _read(self, path: Path) -> None:
        """Take what is there, and cut off a last line that a kill left half written."""

        def take(number: int, row: dict[str, Any]) -> None:
            if number == 1:
                self._check(path, row)
            else:
                self._keep(row)

        whole = _each_line(path, take)
        if whole < path.stat().st_size:
            os.truncate(path, whole)

    def _keep(self, row: dict[str, Any]) -> None:
        self.rows[row["key"], row.get("try", 0)] = {k: v for k, v in row.items() if k not in ON_DISK}

    def _check(self, path: Path, row: dict[str, Any]) -> None:
        if row.get("turnstile_results") != FORMAT:
            raise ValueError
        for name in dict.fromkeys([*self._asked, *row]):
            value = self._asked.get(name)
            if (row.get(name) or None) != (value or None):  # an absent limit is none
                known = f"{row.get(name)!r}, not {value!r}"
                if name == "input":
                    known += " (another one, or it has changed since)"
                raise UserError(f"{path}: is about {name} {known}: resume with the same, or start anew")

    def add(self, row: dict[str, Any]) -> None:
        """Remember a task's line; on the disk when this returns."""
        self._keep(row)
        if self._file is not None:
            self._line(row)

    def _line(self, row: dict[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _only_begun(path: Path) -> bool:
    """Whether a kill left no more than a part of the first line, which begins like one of ours."""
    with open_file(path) as file:
        first = file.readline(1 << 20)
    mark = b'{"turnstile_results"'
    return not first.endswith(b"\n") and first[: len(mark)] == mark[: len(first)]


def _each_line(path: Path, take: Callable[[int, dict[str, Any]], None]) -> int:
    """Give `take` the number and the row of every whole line; how many bytes these are. UserError where `take`, or JSON, refuses."""
    whole = 0
    for number, line in read_lines(path):
        if number > 1 and not line.endswith(b"\n"):
            break
        try:
            take(number, json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UserError(f"{path}:{number}: not a results file of turnstile") from None
        whole += len(line)
    return whole


def read_results(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(what was asked, the last line of every task in the order in which they were first reached, whole and with the Lean calls
    of all its tries). Raises UserError."""
    asked: dict[str, Any] = {}
    rows: dict[str, dict[str, Any]] = {}
    calls: dict[str, dict[int, int]] = {}

    def take(number: int, row: dict[str, Any]) -> None:
        if number == 1:
            if row["turnstile_results"] != FORMAT:
                raise ValueError
            asked.update(row)
            return
        earlier = rows.get(row["key"], {})
        # The audit's line has no search of its own: it is the found one's.
        rows[row["key"]] = {**{k: earlier[k] for k in ON_DISK if k in earlier}, **row}
        calls.setdefault(row["key"], {})[row.get("try", 0)] = row["lean_calls"]

    _each_line(path, take)
    if not asked:
        raise UserError(f"{path}:1: not a results file of turnstile")
    return asked, [{**row, "lean_calls": sum(calls[key].values())} for key, row in rows.items()]


def batch_results(path: Path) -> Path | None:
    """The results file that a path stands for: itself, or the one in that folder. None where there is none."""
    if path.is_dir():
        path = path / "results.jsonl"
    try:
        with open_file(path) as f:
            return path if f.read(40).startswith(b'{"turnstile_results"') else None
    except (UserError, OSError):
        return None
