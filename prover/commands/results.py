"""results.jsonl: what a batch found, a line a task, as it goes; a batch that was cut short goes on from it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from prover.commands.output import write_whole
from prover.errors import UserError

FORMAT = 1


class Results:
    """An open results file. The first line says what was asked; `--resume` refuses a file about something else."""

    def __init__(self, path: Path | None, asked: dict[str, Any], resume: bool) -> None:
        self.path = path
        self._asked = {"turnstile_results": FORMAT, **asked}
        self.rows: dict[str, dict[str, Any]] = {}
        """Key of a task -> its line."""
        self._file = None
        if path is None:
            return
        if resume and path.exists():
            self._read(path)
            write_whole(path, self._bytes())  # without a last line that a kill cut in half
        elif path.exists() and path.stat().st_size:
            raise UserError(f"{path}: there already: --resume goes on with it, or remove it")
        else:
            write_whole(path, self._bytes())
        self._file = path.open("a", encoding="utf-8")

    def _read(self, path: Path) -> None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as e:
            raise UserError(f"{path}: cannot be read as results: {e}") from None
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                if number == 1:
                    self._check(path, row)
                else:
                    self.rows[row["key"]] = row
            except (ValueError, KeyError, TypeError, AttributeError):
                if number == len(lines) and number > 1:
                    return
                raise UserError(f"{path}:{number}: not a results file of turnstile") from None

    def _check(self, path: Path, row: dict[str, Any]) -> None:
        if row.get("turnstile_results") != FORMAT:
            raise ValueError
        for name, value in self._asked.items():
            if row.get(name) != value:
                raise UserError(
                    f"{path}: is about {name} {row.get(name)!r}, not {value!r}: resume with the same, or start anew"
                )

    def add(self, row: dict[str, Any]) -> None:
        """Remember a task's line; on the disk when this returns."""
        self.rows[row["key"]] = row
        if self._file is not None:
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _bytes(self) -> bytes:
        rows = [self._asked, *self.rows.values()]
        return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode()
