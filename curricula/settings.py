"""Typed settings: converts TOML files to dataclasses, with one-line errors that name file, table and key."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from prover.errors import UserError
from prover.files import MAX_SETTINGS_BYTES, read_file

T = TypeVar("T")

_TYPES = {
    "object": "a table",
    "array": "a list",
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
}


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of a TOML file. Raises UserError."""
    try:
        return tomllib.loads(read_file(path, MAX_SETTINGS_BYTES).decode())
    except (ValueError, RecursionError) as e:
        raise UserError(f"{path}: not TOML: {e}") from None


def convert(data: dict[str, Any], kind: type[T], where: str = "") -> T:
    """Plain data as a dataclass, nested ones as tables. Raises UserError, whose message starts with `where`, for unknown settings,
    wrong types and values outside the limits that the fields are annotated with (msgspec.Meta)."""
    _check_keys(data, kind, where)
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as e:
        raise UserError(where + _explain(str(e), data, kind)) from None


def _check_keys(data: dict[str, Any], table: Any, where: str) -> None:
    known = [f.name for f in fields(table)]
    if unknown := [key for key in data if key not in known]:
        raise UserError(f"{where}unknown setting {unknown[0]!r}; known settings: {', '.join(known)}")
    for name, hint in get_type_hints(table).items():
        if is_dataclass(hint) and isinstance(data.get(name), dict):
            _check_keys(data[name], hint, f"{where}[{name}]: ")


def _explain(error: str, data: Any, hint: Any) -> str:
    """msgspec's message with the setting's name, the value, and the choices of an enumeration."""
    message, _, place = error.partition(" - at `$.")
    place = place.rstrip("`")
    if missing := re.match(r"Object missing required field `(\w+)`", message):
        return f"setting {missing[1]!r} is missing"
    for key in re.findall(r"\w+", place):
        hint = get_type_hints(hint).get(key) if is_dataclass(hint) else None
        data = data[int(key) if isinstance(data, (list, tuple)) else key]
    if expected := re.match(r"Expected `(\w+)[^`]*`(?:, got.*)?(.*)", message):
        bound = expected[2].replace(" of length >= ", " of length at least ")
        bound = bound.replace(">=", "of at least").replace("<=", "of at most").replace(">", "above")
        return f"{place} must be {_TYPES.get(expected[1], expected[1])}{bound}, not {data!r}"
    choices = [c for h in (hint, *get_args(hint)) for c in get_args(h) if isinstance(c, str)]
    return f"{place} must be one of {', '.join(choices)}, not {data!r}" if choices else f"{place}: {message}"


def toml_lines(data: dict[str, Any]) -> list[str]:
    """Plain data, with tables one level deep, as the lines of a TOML file. Leaves out None values."""

    def assignments(table: dict[str, Any]) -> list[str]:
        # Strings, numbers, booleans and lists are written alike in JSON and TOML.
        return [
            f"{k} = {json.dumps(v, ensure_ascii=False)}"
            for k, v in table.items()
            if v is not None and not isinstance(v, dict)
        ]

    lines = assignments(data)
    for name, table in data.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]", *assignments(table)]
    return lines


def named_settings(table: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, value) of every setting, named as `override` expects."""
    for f in fields(table):
        value = getattr(table, f.name)
        if is_dataclass(value):
            yield from named_settings(value, f"{prefix}{f.name}.")
        else:
            yield prefix + f.name, value
