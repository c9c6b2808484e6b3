"""results.jsonl: the results of a batch, one row per attempt. An interrupted batch resumes from it.

A row is written when a proof is found (`found`, `refuted`) and another after the audit. The last row of a task and try counts,
so a kill between the two loses no search. A verdict counts only in a row that this installation sealed: proofs of other rows are audited
again. `--retry` adds another line of settings: the tasks that are open then are tried again, and
their earlier tries count only by their Lean calls.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from prover.errors import UserError
from prover.files import cache_dir, making, open_file, read_file, read_lines, write_whole

FORMAT = 2
ON_DISK = ("outline",)
"""Fields that are kept only in the file, because search trees of large batches would fill the memory."""


class Earlier(NamedTuple):
    """Tries of a task before a retry."""

    lean_calls: int = 0
    used_up: tuple[str, ...] = ()
    """Provers that exhausted their tactics, from the row of the last try."""


JUDGED = ("proved", "disproved")
"""Outcomes that the audit has accepted."""
SETTLED = ("proved", "disproved", "data", "found", "refuted")
"""Outcomes that a retry keeps."""


class Results:
    """An open results file. Its last line of settings records those of its tries, and `--resume` requires the same ones.

    `retry`: continue an existing file, with other settings but for the same input, and forget the tries of open tasks.
    """

    def __init__(self, path: Path | None, asked: dict[str, Any], resume: bool, retry: bool = False) -> None:
        self.path = path
        self._asked = {"turnstile_results": FORMAT, **asked}
        self.settings: dict[str, Any] = {}
        """The last settings of an existing file; empty for a new one."""
        self.rows: dict[tuple[str, int], dict[str, Any]] = {}
        """(task key, index of the try) -> its last row, without the fields in ON_DISK."""
        self.earlier: dict[str, Earlier] = {}
        """Task key -> its tries before the last retry."""
        self.kept: set[str] = set()
        """Keys of the tasks that were settled before the last retry."""
        self._file = None
        if path is None:
            return
        if retry and not path.exists():
            raise UserError(f"{path}: no such results file to retry; name that of an earlier run, or leave out --retry")
        try:
            # A model may write half a surrogate pair.
            self._file = path.open("a", encoding="utf-8", errors="replace")
        except OSError as e:
            raise UserError(f"{path}: cannot be written ({e.strerror or e}); name another file") from None
        try:
            self._begin(path, resume, retry)
        except BaseException:
            self.close()
            raise

    def _begin(self, path: Path, resume: bool, retry: bool) -> None:
        """Lock the file before any access, because another process may be writing to it."""
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{path}: another turnstile process is writing to it; wait for it or stop it") from None
        if path.stat().st_size and not (resume or retry):
            raise UserError(f"{path}: already exists; continue it with --resume or --retry, or remove it")
        if path.stat().st_size and not _has_partial_header(path):
            os.truncate(path, _read_rows(path, self.take))  # a partial last line goes
            self._check(path, self.settings, ("input",) if retry else None)
            if retry:
                self._forget_open()
                self._line(self._asked)
            return
        os.truncate(path, 0)
        self._line(self._asked)

    def take(self, number: int, row: dict[str, Any]) -> None:
        """Read a line of an existing file. Raises ValueError, KeyError, TypeError or OverflowError for an invalid one."""
        if number > 1 and "turnstile_results" not in row:
            # A reader, such as a report, shows the file as it is.
            doubted = self._file is not None and row["outcome"] in JUDGED and not self._sealed(row)
            self._keep({**row, **({"unjudged": True} if doubted else {}), "lean_calls": int(row["lean_calls"])})
            return
        if row.get("turnstile_results") != FORMAT:
            raise ValueError
        if number > 1:
            self._forget_open()
        self.settings = row

    def _forget_open(self) -> None:
        """Move the tries of tasks that are not settled from `rows` to `earlier`. A settled task keeps its last row, as its first try: a
        retry without a total asks for no other."""
        last = {key: row for (key, _), row in sorted(self.rows.items(), key=lambda item: item[0][1])}
        calls: Counter[str] = Counter()
        for (key, _), row in self.rows.items():
            calls[key] += row["lean_calls"]
        self.rows, self.kept = {}, set()
        for key, row in last.items():
            if row["outcome"] in SETTLED:
                self.rows[key, 0] = {**row, "try": 0, "lean_calls": calls[key]}
                self.kept.add(key)
            else:
                known = self.earlier.get(key, Earlier())
                self.earlier[key] = Earlier(known.lean_calls + calls[key], tuple(row.get("used_up", ())))

    def _keep(self, row: dict[str, Any]) -> None:
        self.rows[row["key"], row.get("try", 0)] = {k: v for k, v in row.items() if k not in ON_DISK}

    def _check(self, path: Path, row: dict[str, Any], names: Iterable[str] | None) -> None:
        """Raise UserError if the settings in `names` (None: any) differ from those of the file."""
        for name in dict.fromkeys([*self._asked, *row]) if names is None else names:
            value = self._asked.get(name)
            if (row.get(name) or None) != (value or None):  # an absent limit equals None
                known = f"{row.get(name)!r}, not {value!r}"
                if name == "input":
                    known += " (another input, or it has changed)"
                advice = "resume with the same settings, or use --retry" if name != "input" else "use another file"
                raise UserError(f"{path}: was written with {name} {known}; {advice}")

    def add(self, row: dict[str, Any]) -> None:
        """Add a row. It is on disk when this returns."""
        if self._file is not None and row["outcome"] in JUDGED:
            row = {**row, "seal": self._seal(row)}
        self._keep(row)
        if self._file is not None:
            self._line(row)

    def _line(self, row: dict[str, Any]) -> None:
        assert self._file is not None
        try:
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as e:  # such as a full disk
            raise OSError(e.errno, e.strerror, str(self.path)) from None

    def _seal(self, row: dict[str, Any]) -> str:
        """A code that only this installation can compute, for a row of this input."""
        said = [self._asked.get("input"), {name: value for name, value in row.items() if name != "seal"}]
        return hmac.digest(_secret(), json.dumps(said, sort_keys=True).encode(), "sha256").hex()

    def _sealed(self, row: dict[str, Any]) -> bool:
        return hmac.compare_digest(str(row.get("seal")).encode("utf-8", "replace"), self._seal(row).encode())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


@cache
def _secret() -> bytes:
    """The key of the seals, kept in the cache. Where it cannot be kept, a new one for each process."""
    new = secrets.token_bytes(32)
    with suppress(UserError, OSError):
        path = cache_dir() / "results.key"
        if not path.exists():
            with making(path):
                if not path.exists():
                    write_whole(path, new)
                    path.chmod(0o600)
        kept = read_file(path, len(new))
        return kept if len(kept) == len(new) else new
    return new


def _has_partial_header(path: Path) -> bool:
    """Whether the file contains only part of a first line."""
    with open_file(path) as file:
        first = file.readline(1 << 20)
    mark = b'{"turnstile_results"'
    return not first.endswith(b"\n") and first[: len(mark)] == mark[: len(first)]


def _read_rows(path: Path, handle: Callable[[int, dict[str, Any]], None]) -> int:
    """Call `handle` with the number and row of each complete line. Returns their size in bytes. Raises UserError for an invalid row."""
    whole = 0
    for number, line in read_lines(path):
        if number > 1 and not line.endswith(b"\n"):
            break
        try:
            handle(number, json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            raise UserError(
                f"{path}:{number}: not a results file; name one written by `turnstile prove --results`"
            ) from None
        whole += len(line)
    return whole


def read_results(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns (the settings, the last row of each task with the Lean calls of all its tries), in order of first appearance.
    Raises UserError."""
    found = Results(None, {}, resume=False)
    last: dict[str, dict[str, Any]] = {}

    def handle(number: int, row: dict[str, Any]) -> None:
        found.take(number, row)
        if row is not found.settings:
            earlier = last.get(row["key"], {})
            # The row after the audit omits the search tree of the row before.
            last[row["key"]] = {**{k: earlier[k] for k in ON_DISK if k in earlier}, **row}

    _read_rows(path, handle)
    if not found.settings:
        raise UserError(f"{path}:1: not a results file; name one written by `turnstile prove --results`")
    calls = Counter({key: tries.lean_calls for key, tries in found.earlier.items()})
    for (key, _), row in found.rows.items():
        calls[key] += row["lean_calls"]
    return found.settings, [{**row, "lean_calls": calls[key]} for key, row in last.items()]


def batch_results(path: Path) -> Path | None:
    """The results file at a path, or in the folder at that path; None if there is none."""
    if path.is_dir():
        path = path / "results.jsonl"
    try:
        with open_file(path) as f:
            return path if f.read(40).startswith(b'{"turnstile_results"') else None
    except (UserError, OSError):
        return None
