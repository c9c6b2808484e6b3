"""Read JSON Lines and JSON files strictly, so that no row is ambiguous."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prover.console import one_line
from prover.errors import UserError
from prover.files import first_byte, read_file, read_lines

MAX_ARRAY_BYTES = 512 * 2**20
"""Limit on a JSON file that is not JSON Lines, in bytes."""


def jsonl_rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """(object, `file:line`) of every line that is not blank. Raises UserError."""
    for number, raw in read_lines(path):
        where = f"{path}:{number}"
        raw = raw.removeprefix(BOM_UTF8) if number == 1 else raw
        if not raw.strip():
            continue
        yield _object(_parsed(raw, where), where), where


def json_rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """(object, `file:row`) of an array of objects, with rows numbered from 1, or of JSON Lines. Raises UserError."""
    if first_byte(path) != b"[":
        yield from jsonl_rows(path)
        return
    for number, row in enumerate(_parsed(read_file(path, MAX_ARRAY_BYTES).removeprefix(BOM_UTF8), str(path)), 1):
        yield _object(row, f"{path}:{number}"), f"{path}:{number}"


def _parsed(data: bytes, where: str) -> Any:
    try:
        return json.loads(data.decode(), object_pairs_hook=_once)
    except UnicodeDecodeError:
        raise UserError(f"{where}: not UTF-8") from None
    except (ValueError, RecursionError) as e:
        raise UserError(f"{where}: not JSON: {one_line(str(e))}") from None


def _object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise UserError(f"{where}: a JSON object is expected, not {type(row).__name__}")
    return row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with unique keys; readers differ in which duplicate they use. Raises ValueError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(k for k in keys if keys.count(k) > 1)!r} occurs twice")
    for value in (*found, *found.values()):
        # Half of a surrogate pair is not a character and could not be sent to Lean.
        if isinstance(value, str) and not value.isprintable() and any("\ud800" <= c <= "\udfff" for c in value):
            raise ValueError("a text has half of a surrogate pair")
    return found
