"""Policy examples from human proofs that `turnstile extract` wrote."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote

import msgspec

from curricula.library import split_of
from prover.errors import UserError
from prover.jsonl import jsonl_rows
from prover.lean.theorem import Theorem
from rl.algorithms.infilling import clamped, wanted
from rl.examples import PolicyExample

ROWS = "theorems.jsonl"
_OTHER_GOALS = re.compile(r"(?:case'?|next|all_goals|any_goals|rotate_left|rotate_right|swap|pick_goal)\b|·|\.\s")
"""The start of a tactic that chooses goals. A search chooses them itself."""


class _Step(msgspec.Struct):
    kind: str
    text: str
    state_before: str
    state_after: str = ""
    replay: str = ""
    replayed_as: str = ""


class _Row(msgspec.Struct):
    full_name: str
    sorry: bool
    steps: list[_Step]
    statement: str = ""


def _training_rows(folder: Path) -> Iterator[_Row]:
    """The rows of the training split with whole proofs. Raises UserError."""
    path = folder / ROWS
    if not path.is_file():
        raise UserError(
            f"learn.extracted: {folder} has no theorems.jsonl; write it with `turnstile extract … --out {quote(str(folder))}`"
        )
    for raw, where in jsonl_rows(path):
        try:
            row = msgspec.convert(raw, _Row)
        except msgspec.ValidationError as e:
            raise UserError(f"{where}: not written by `turnstile extract`: {e}") from None
        if not row.sorry and split_of(row.full_name) == "train":
            yield row


def extracted_theorems(folder: Path) -> list[Theorem]:
    """The theorems of the training split, by their statements. Raises UserError as extracted_examples does."""
    return [Theorem(row.full_name, row.statement) for row in _training_rows(folder) if row.statement]


def extracted_examples(folder: Path, withheld: Iterable[str] = (), infill: float = 0.0) -> list[PolicyExample]:
    """The steps of theorems of the training split that are not `withheld`, each with the first goal before it. `infill`: share of
    examples with a goal further down in the proof.

    Leaves out steps whose replay failed, if they were replayed (`--replay`). Raises UserError for a folder that `turnstile extract` did not
    write, or without steps of the training split.
    """
    held = {name.removeprefix("_root_.") for name in withheld}
    found: dict[tuple[str, str], PolicyExample] = {}
    between: dict[PolicyExample, None] = {}
    for row in _training_rows(folder):
        if row.full_name in held:
            continue
        chain: list[tuple[str, str, str]] = []
        for step in row.steps:
            if step.replay in ("", "same") and not _OTHER_GOALS.match(step.text):
                tactic = step.replayed_as or (step.text if step.kind == "tactic" else f"exact {step.text}")
                state = step.state_before.split("\n\n")[0]
                found.setdefault((state, tactic), PolicyExample(state, tactic))
                chain.append((step.state_before, tactic, step.state_after))
        between |= dict.fromkeys(clamped(chain)) if infill else {}
    if not found:
        raise UserError(
            f"learn.extracted: {folder / ROWS} has no steps of the training split, which is 70 % of the names by hash"
        )
    drawn = random.Random("infill").sample(list(between), min(len(between), wanted(infill, len(found))))
    return [*found.values(), *drawn]
