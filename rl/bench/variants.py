"""Parses searches to compare: `puct_value`, `best_first:length_penalty=0.5`, …"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from prover.errors import UserError
from prover.search import RULES, SearchConfig

ValueKind = Literal["none", "model", "size"]

SEARCHES = ("puct_value", "puct_size", "puct", "best_first", "best_tactic", "breadth", "uniform", "rollout", "rmax")
"""The default comparison. `puct_value` needs a model with a value."""

_KINDS: dict[str, ValueKind] = {"value": "model", "size": "size"}


@dataclass(frozen=True)
class SearchVariant:
    """A search to compare: a rule with its settings, and the source of its values."""

    name: str
    config: SearchConfig
    value: ValueKind


def variant(text: str, base: SearchConfig) -> SearchVariant:
    """Parse `RULE[_value|_size][:SETTING=VALUE]…`: a rule, with the model's value or the size of goals as value, and settings.

    Raises UserError for an unknown rule, an unknown setting or an invalid value.
    """
    name, *settings = text.split(":")
    rule, _, suffix = name.rpartition("_")
    kind: ValueKind = "none"
    if suffix in _KINDS and rule in RULES:
        kind = _KINDS[suffix]
    else:
        rule = name
    if rule not in RULES:
        raise UserError(f"--searches {name}: unknown search; available: {', '.join(SEARCHES)}")
    known = {f.name: getattr(base, f.name) for f in fields(SearchConfig) if f.name not in ("selection", "seed")}
    changes: dict[str, Any] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in known:
            raise UserError(f"--searches {text}: unknown setting {key!r}; available: {', '.join(known)}")
        try:
            changes[key] = value if isinstance(known[key], str) else type(known[key])(float(value))
        except (ValueError, OverflowError):
            raise UserError(f"--searches {text}: {key} must be a number, not {value!r}") from None
    try:
        return SearchVariant(text, replace(base, selection=rule, **changes), kind)
    except ValueError as e:
        raise UserError(f"--searches {text}: {e}") from None


def variants(texts: Sequence[str], base: SearchConfig) -> list[SearchVariant]:
    """A variant for each distinct text. Raises UserError if there is none."""
    chosen = [variant(t, base) for t in dict.fromkeys(t.strip() for t in texts if t.strip())]
    if not chosen:
        raise UserError(f"--searches: name some of {', '.join(SEARCHES)}")
    return chosen
