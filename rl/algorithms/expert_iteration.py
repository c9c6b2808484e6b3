"""Expert iteration (Anthony et al. 2017; Polu & Sutskever 2020): learn the tactics that the search found to work.

Policy examples are the tactics that start a proof of a goal; shorter proofs weigh more. Value examples are the steps-to-go of solved
goals and, as negatives, goals that stayed open after much search.

Solved subgoals of theorems that stayed open are examples too. No audit checked their proofs: Lean's elaborator accepted each step in the
search's process, which refuses `sorry` and axioms. That is enough for a training label, because it does not count as a proof, earns no
reward and is not written to a file. A tactic that deceives the elaborator only wastes Lean calls: the audit rejects a proof that uses
it, and a rejected search gives no examples.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prover.models.prompt import steps_bin
from prover.search.examples import Example
from rl.examples import PolicyExample, ValueExample, mean_one, row_weight

NEGATIVE_VISITS = 8
"""Lean calls below an open goal after which it counts as a negative value example."""
HEAVIEST_OPEN = 8.0
"""Maximum mean weight of such negatives. The mean weight of proved goals is 1."""


def trusts_solved(examples: Iterable[Example], proved: bool) -> bool:
    """Whether the solved goals of a search may become policy examples: the audit accepted its proof (`proved`), or it claims no proof of
    the theorem."""
    return proved or not any(e.solved and e.depth == 0 for e in examples)


def collect_examples(examples: Sequence[Example], proved: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, data) for the ledger, from a search whose proof the audit did not reject. `proved`: the audit accepted the theorem's
    proof. Without a proof, the solved subgoals give policy examples."""
    trusted = trusts_solved(examples, proved)
    for e in examples:
        place = {"state": e.text, "constants": e.constants, "premises": e.premises}
        if trusted and e.solved and e.best:
            least = e.best[0][1]
            good = [(t, 0.5 ** (s - least)) for t, s in e.best if s <= least + 2]
            # A tactic that was visited and failed is no target.
            failed = {t for t, _ in e.errors}
            visits = [(t, round(share, 4)) for t, share in e.visits if share > 0 and t not in failed]
            yield "policy", {**place, "tactics": good, "depth": e.depth, "visits": visits}
        if e.solved:  # even if the theorem was not proved
            yield "value", {**place, "steps": e.steps}
        elif e.total_visits >= NEGATIVE_VISITS:
            yield "value", {**place, "steps": None}


def rollout_values(rollouts: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, data) of value examples for the ledger, from the rollouts of one theorem (Monte Carlo). A state that no rollout closed is
    a negative after NEGATIVE_VISITS Lean calls below it, as in a search."""
    best: dict[str, int] = {}
    calls: Counter[str] = Counter()
    premises: dict[str, Any] = {}
    for r in rollouts:
        for i, ((state, offered, *_), steps) in enumerate(zip(r["decisions"], r.get("steps", ()), strict=False)):
            premises[state] = offered
            if steps is None:
                calls[state] += len(r["decisions"]) - i  # a rollout ends at its first failure
            else:
                best[state] = min(steps, best.get(state, steps))
    for state, offered in premises.items():
        if state in best or calls[state] >= NEGATIVE_VISITS:
            yield "value", {"state": state, "premises": offered, "steps": best.get(state)}


def policy_examples(rows: Iterable[dict[str, Any]], targets: str = "proofs") -> list[PolicyExample]:
    """Training examples from replay rows.

    The weights of a goal's tactics sum to at most 2, times the row's `weight` (replay priority), `share` (for a subgoal of a theorem that
    was not proved) and `reward` (of the attempt, in units of a plain proof's). `targets`: `proofs`, or `visits` for the search's visit
    distribution (AlphaZero; Silver et al. 2018) if the row has one.
    """
    merged: dict[tuple[str, str, str], tuple[dict[str, Any], float]] = {}
    for row in rows:
        chosen = (row.get("visits") if targets == "visits" else None) or row["tactics"]
        total = sum(w for _, w in chosen)
        scale = (min(1.0, 2.0 / total) if total else 0.0) * row_weight(row) * row.get("reward", 1.0)
        for tactic, weight in chosen:
            key = (row["state"], row.get("towards", ""), tactic)
            known = merged.get(key, ({}, 0.0))[1]
            merged[key] = (row, max(known, weight * scale))
    return [
        PolicyExample(
            state, tactic, tuple(row["premises"]), weight, constants=tuple(row.get("constants", ())), towards=towards
        )
        for (state, towards, tactic), (row, weight) in merged.items()
    ]


def value_examples(rows: Iterable[dict[str, Any]]) -> list[ValueExample]:
    """Training examples from replay rows, using the best known result of each goal and the largest `weight` (replay priority) of its
    rows. These weights are scaled to a mean of 1 among solved goals, and to a mean of 1 among open goals.

    Open goals are subsampled to the number of proved ones and weighted by the inverse sampling rate, at most `HEAVIEST_OPEN`, so that
    the value predicts how often goals are proved (King & Zeng 2001).
    """
    best: dict[str, dict[str, Any]] = {}
    heaviest: dict[str, float] = {}
    for row in rows:
        heaviest[row["state"]] = max(row.get("weight", 1.0), heaviest.get(row["state"], 0.0))
        known = best.get(row["state"])
        if known is None or known["steps"] is None or (row["steps"] is not None and row["steps"] < known["steps"]):
            best[row["state"]] = row
    solved = [state for state, row in best.items() if row["steps"] is not None]
    # Most goals stay open, and as many negatives as positives carry most of the information. The sample is from all of them,
    # because the newest come from the hardest theorems and are not representative.
    open_ = [state for state, row in best.items() if row["steps"] is None]
    kept = sorted(open_, key=lambda state: zlib.crc32(state.encode()))[: max(len(solved), 1)]
    weight = min(HEAVIEST_OPEN, len(open_) / max(1, len(kept)))
    weights = mean_one({state: heaviest[state] for state in solved})
    weights |= {state: weight * w for state, w in mean_one({state: heaviest[state] for state in kept}).items()}
    return [
        ValueExample(
            state, steps_bin(row["steps"]), tuple(row["premises"]), weights[state], tuple(row.get("constants", ()))
        )
        for state, row in best.items()
        if state in weights
    ]
