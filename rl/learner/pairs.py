"""(goal, tactic) pairs for fine-tuning, from JSONL or a split of LeanDojo's benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from prover.errors import UserError
from prover.files import check_regular
from prover.jsonl import jsonl_rows
from rl.examples import PolicyExample


class _Pair(msgspec.Struct):
    goal: str
    tactic: str
    premises: tuple[str, ...] = ()
    weight: Annotated[float, msgspec.Meta(gt=0.0)] = 1.0
    towards: str = ""


class _Step(msgspec.Struct):
    tactic: str
    state_before: str


class _TracedTheorem(msgspec.Struct):
    traced_tactics: list[_Step]


def load_pairs(path: Path) -> list[PolicyExample]:
    """Read pairs.

    `.jsonl`: one object per line with `goal` and `tactic`, and optionally `premises` (full names), `weight` (> 0)
    and `towards` (the goal that the tactic leads to).
    `.json`: LeanDojo's benchmark (train.json …), every traced tactic with the state before it.
    Raises UserError with file and line for invalid input, and for a file without pairs.
    """
    pairs = _benchmark(path) if path.suffix == ".json" else [_pair(row, where) for row, where in jsonl_rows(path)]
    if not pairs:
        raise UserError(f"{path}: contains no pairs")
    return pairs


def _pair(row: dict[str, Any], where: str) -> PolicyExample:
    try:
        pair = msgspec.convert(row, _Pair)
    except msgspec.ValidationError as e:
        raise UserError(f'{where}: {e}; a line is {{"goal": …, "tactic": …}}') from None
    if not pair.goal.strip() or not pair.tactic.strip():
        raise UserError(f"{where}: `goal` and `tactic` must not be empty")
    return PolicyExample(pair.goal, pair.tactic, pair.premises, pair.weight, towards=pair.towards)


def _benchmark(path: Path) -> list[PolicyExample]:
    check_regular(path)
    try:
        theorems = msgspec.json.decode(path.read_bytes(), type=list[_TracedTheorem])
    except (OSError, msgspec.MsgspecError) as e:
        raise UserError(f"{path}: not a split of LeanDojo's benchmark ({e}); put pairs in a .jsonl file") from None
    steps = (step for theorem in theorems for step in theorem.traced_tactics)
    return [PolicyExample(s.state_before, s.tactic) for s in steps if s.state_before != "no goals"]
