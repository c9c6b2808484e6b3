"""(goal, tactic) pairs for fine-tuning, from JSONL or a split of LeanDojo's benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prover.errors import UserError
from rl.learner.batches import PolicyExample


def load_pairs(path: Path) -> list[PolicyExample]:
    """Read pairs.

    `.jsonl`: one object per line with `goal` and `tactic`, and optionally `premises` (full names) and `weight` (> 0).
    `.json`: LeanDojo's benchmark (train.json …), every traced tactic with the state before it.
    Raises UserError with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: cannot be read: {getattr(e, 'strerror', None) or e}") from None
    pairs = _benchmark(path, text) if path.suffix == ".json" else _lines(path, text)
    if not pairs:
        raise UserError(f"{path}: contains no pairs")
    return pairs


def _lines(path: Path, text: str) -> list[PolicyExample]:
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            goal, tactic = row["goal"], row["tactic"]
            premises, weight = tuple(row.get("premises", ())), float(row.get("weight", 1.0))
            if not (
                isinstance(goal, str) and isinstance(tactic, str) and goal.strip() and tactic.strip() and weight > 0
            ):
                raise ValueError("`goal` and `tactic` must be non-empty strings, `weight` a positive number")
            if not all(isinstance(p, str) for p in premises):
                raise ValueError("`premises` must be names")
        except KeyError as e:
            raise UserError(f'{path}:{number}: {e} is missing; a line is {{"goal": …, "tactic": …}}') from None
        except (ValueError, TypeError, AttributeError) as e:
            raise UserError(f"{path}:{number}: {e}") from None
        pairs.append(PolicyExample(goal, tactic, premises, weight))
    return pairs


def _benchmark(path: Path, text: str) -> list[PolicyExample]:
    try:
        theorems: Any = json.loads(text)
        return [
            PolicyExample(step["state_before"], step["tactic"])
            for theorem in theorems
            for step in theorem["traced_tactics"]
            if step["state_before"] != "no goals"
        ]
    except (ValueError, KeyError, TypeError) as e:
        raise UserError(
            f"{path}: not a split of LeanDojo's benchmark ({type(e).__name__}: {e}); put pairs in a .jsonl file"
        ) from None
