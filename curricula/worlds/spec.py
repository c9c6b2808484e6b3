"""Worlds as theorem sets: `world:NAME?count=20&seed=1&difficulty=3-8&split=harder`."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from curricula.worlds import WorldTheorem, world
from prover.errors import UserError

PREFIX = "world:"
MOST = 100_000
_FORMS = {"count": r"\d{1,6}", "seed": r"-?\d{1,18}", "difficulty": r"\d{1,3}(-\d{1,3})?", "split": r"[a-z-]+"}


def world_of(spec: str) -> list[WorldTheorem]:
    """The theorems of `NAME?count=…&seed=…&difficulty=LOW-HIGH&split=…`, with or without `world:`. Defaults: 100 theorems, seed 0,
    every difficulty of the world, no split. Raises UserError."""
    name, _, query = spec.removeprefix(PREFIX).partition("?")
    options: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _FORMS or key in options or not re.fullmatch(_FORMS[key], value):
            raise UserError(
                f"{PREFIX}{name}: {key}={value}: options are count=N, seed=N, difficulty=LOW-HIGH and split=NAME, each once"
            )
        options[key] = value
    count = int(options.get("count", "100"))
    if count > MOST:
        raise UserError(f"{PREFIX}{name}: count={count}: at most {MOST}")
    low, _, high = options.get("difficulty", "").partition("-")
    difficulty = (int(low), int(high or low)) if low else None
    return world(name, int(options.get("seed", "0")), count, difficulty, options.get("split"))  # type: ignore[arg-type]
