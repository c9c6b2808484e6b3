"""Extension points: commands, theorem sources and others that packages register as entry points."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any

from prover.errors import UserError


@cache
def registered(group: str) -> Mapping[str, metadata.EntryPoint]:
    """The entry points of `group`, by name. Raises UserError where the project is not installed."""
    found = {point.name: point for point in metadata.entry_points(group=group)}
    if not found:
        raise UserError(f"no entry points of {group} are installed: run `pip install -e .` in the project's folder")
    return dict(sorted(found.items()))


def load(group: str, name: str) -> Any:
    """The object behind an entry point. Raises UserError for an unknown name and for a missing package."""
    points = registered(group)
    if name not in points:
        raise UserError(f"unknown {group.rpartition('.')[2].rstrip('s')} {name!r}; there are {', '.join(points)}")
    try:
        return points[name].load()
    except ModuleNotFoundError as error:
        raise UserError(
            f"`{name}` needs the Python module {error.name}, which is not installed: run `turnstile doctor`"
        ) from None
    except AttributeError as error:
        raise UserError(f"`{name}` is not part of this installation: {error}") from None


def summary(point: metadata.EntryPoint) -> str:
    """The first line of the docstring of the module behind an entry point. The module is read and not run."""
    try:
        spec = importlib.util.find_spec(point.module)
        with open(spec.origin, encoding="utf-8") as file:  # type: ignore[union-attr, arg-type]
            text = ast.get_docstring(ast.parse(file.read())) or ""
    except (ImportError, AttributeError, TypeError, OSError, SyntaxError):
        return ""
    return text.partition("\n")[0]
