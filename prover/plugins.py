"""Extension points: commands, theorem sources, rewards, algorithms, search rules and learners that packages register as entry points."""

from __future__ import annotations

import ast
import importlib.util
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from prover.errors import UserError

T = TypeVar("T")
NAME = "turnstile-prover"
"""The project's own distribution."""


@cache
def added(group: str) -> Mapping[str, metadata.EntryPoint]:
    """The entry points of `group`, by name; empty if no package has any."""
    own = _of_checkout()
    points = [p for p in metadata.entry_points(group=group) if own is None or p.dist is None or p.dist.name != NAME]
    points += [metadata.EntryPoint(name, value, group) for name, value in (own or {}).get(group, {}).items()]
    return {p.name: p for p in sorted(points, key=lambda p: p.name)}


@cache
def _of_checkout() -> Mapping[str, Mapping[str, str]] | None:
    """The project's entry points by group, from the pyproject.toml of its checkout; None if this is not a checkout. The metadata of an
    editable installation may be older."""
    path = Path(__file__).parent.parent / "pyproject.toml"
    project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {}) if path.is_file() else {}
    return project["entry-points"] if project.get("name") == NAME else None


def registered(group: str) -> Mapping[str, metadata.EntryPoint]:
    """The entry points of `group`, by name. Raises UserError if there are none."""
    if not (found := added(group)):
        raise UserError(f"no entry points of {group} are installed: run `pip install -e .` in the project's folder")
    return found


def load(group: str, name: str) -> Any:
    """Load an entry point. Raises UserError for an unknown name or a missing package."""
    registered(group)
    return chosen(group, {}, name)


def chosen(group: str, own: Mapping[str, T], name: str) -> T:
    """`own[name]`, or an entry point of `group`. Raises UserError for an unknown name or a missing package."""
    if name in own:
        return own[name]
    if name not in (points := added(group)):
        kind = group.rpartition(".")[2].rstrip("s")
        raise UserError(f"unknown {kind} {name!r}; choose one of {', '.join([*own, *points])}")
    try:
        return points[name].load()
    except ModuleNotFoundError as error:
        raise UserError(
            f"`{name}` needs the Python module {error.name}, which is not installed: run `turnstile doctor`"
        ) from None
    except AttributeError as error:
        raise UserError(
            f"`{name}` is not part of this installation ({error}); reinstall the package that provides it"
        ) from None


def summary(point: metadata.EntryPoint) -> str:
    """The first docstring line of an entry point's module. Parses the module without importing it."""
    try:
        spec = importlib.util.find_spec(point.module)
        source = Path(spec.origin).read_text(encoding="utf-8")  # type: ignore[union-attr, arg-type]
        text = ast.get_docstring(ast.parse(source)) or ""
    except (ImportError, AttributeError, TypeError, OSError, SyntaxError):
        return ""
    return text.partition("\n")[0]
