"""Expert iteration (Anthony et al. 2017; Polu & Sutskever 2020): learn the tactics that search found to work.

Policy: every tactic that starts a proof of a goal on the way of an audited proof, shorter proofs weighing more.
Value: steps-to-go of solved goals, and as negatives the goals that took much search and stayed open, from solved and
unsolved theorems alike.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from prover.models.prompt import steps_bin
from prover.search.examples import Example
from rl.learner.from_scratch import PolicyExample, ValueExample

NEGATIVE_VISITS = 8
"""An open goal counts as a negative for the value once so many Lean calls were spent below it."""
HEAVIEST_OPEN = 8.0
"""Largest weight of such a goal, where a proved one has 1."""


def harvest(examples: Iterable[Example], proved: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, data) for the ledger. `proved`: the audit accepted the theorem's proof; else no policy example is made."""
    for e in examples:
        if proved and e.solved and e.best:
            least = e.best[0][1]
            good = [(t, 0.5 ** (s - least)) for t, s in e.best if s <= least + 2]
            data = {
                "state": e.text,
                "constants": e.constants,
                "premises": e.premises,
                "tactics": good,
                "depth": e.depth,
            }
            # Only live tactics: a visit that ended in an error is no reason to say the tactic again.
            failed = {t for t, _ in e.errors}
            visits = [(t, round(share, 4)) for t, share in e.visits if share > 0 and t not in failed]
            yield "policy", {**data, "visits": visits}
        if proved and e.solved:
            yield "value", {"state": e.text, "constants": e.constants, "premises": e.premises, "steps": e.steps}
        elif not e.solved and e.total_visits >= NEGATIVE_VISITS:
            yield "value", {"state": e.text, "constants": e.constants, "premises": e.premises, "steps": None}


def policy_examples(rows: Iterable[dict[str, Any]], targets: str = "proofs") -> list[PolicyExample]:
    """Training examples from replay's rows. The weights of a goal's tactics sum to at most 2, however many there are, times the
    row's own `weight` (replay's priority) and `reward` (the attempt's, in units of a plain proof). `targets`: `proofs`, or `visits` for the
    search's visit distribution (AlphaZero; Silver et al. 2018) where a row has one."""
    merged: dict[tuple[str, str], tuple[dict[str, Any], float]] = {}
    for row in rows:
        chosen = (row.get("visits") if targets == "visits" else None) or row["tactics"]
        total = sum(w for _, w in chosen)
        scale = (min(1.0, 2.0 / total) if total else 0.0) * row.get("weight", 1.0) * row.get("reward", 1.0)
        for tactic, weight in chosen:
            key = (row["state"], tactic)
            known = merged.get(key, ({}, 0.0))[1]
            merged[key] = (row, max(known, weight * scale))
    return [
        PolicyExample(state, tactic, tuple(row["premises"]), weight, constants=tuple(row.get("constants", ())))
        for (state, tactic), (row, weight) in merged.items()
    ]


def value_examples(rows: Iterable[dict[str, Any]]) -> list[ValueExample]:
    """Training examples from ledger data: the best that is known of each goal.

    Of the goals that stayed open as many are drawn as were proved; their weight makes up for the rest, at most `HEAVIEST_OPEN` times,
    so that the value says how often goals are proved and not how often examples of it are (King & Zeng 2001).
    """
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        known = best.get(row["state"])
        if known is None or known["steps"] is None or (row["steps"] is not None and row["steps"] < known["steps"]):
            best[row["state"]] = row
    solved = sum(row["steps"] is not None for row in best.values())
    # Most goals stay open: as many negatives as there are proofs say most of what the value needs, at half the cost. A sample of
    # all: the newest, which are of the theorems that resisted longest, would speak for goals unlike them.
    open_ = [state for state, row in best.items() if row["steps"] is None]
    kept = set(sorted(open_, key=lambda state: zlib.crc32(state.encode()))[: max(solved, 1)])
    weight = min(HEAVIEST_OPEN, len(open_) / max(1, len(kept)))
    return [
        ValueExample(
            state,
            steps_bin(row["steps"]),
            tuple(row["premises"]),
            1.0 if row["steps"] is not None else weight,
            tuple(row.get("constants", ())),
        )
        for state, row in best.items()
        if row["steps"] is not None or state in kept
    ]
