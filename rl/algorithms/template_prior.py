"""How often each of the explorer's templates works, learned from audited proofs.

For every goal on the way of a proof: which templates could have been said, and which of those said it. The rate, smoothed, is
the weight with which the trained prover's explorer tries the template. It is the simplest learned policy there is, and it
keeps the wide part of a search, where the language model has nothing to say, from being blind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from prover.lean.protocol import split_hypotheses
from prover.lean.theorem import Goal, ProofState
from prover.models.portfolio import Explorer

SMOOTHING = 20.0
"""So many goals count as tried with the average rate before anything was seen."""


def learn_weights(rows: Iterable[dict[str, Any]], explorer: Explorer | None = None) -> dict[str, float]:
    """Weights by template from the ledger's policy examples. Empty without examples."""
    explorer = explorer or Explorer()
    could: Counter[str] = Counter()
    did: Counter[str] = Counter()
    for row in rows:
        said = {tactic for tactic, _ in row["tactics"]}
        templates: dict[str, bool] = {}
        for tactic, template, _ in explorer.instances(_state(row["state"]), row["premises"]):
            templates[template] = templates.get(template, False) or tactic in said
        could.update(templates.keys())
        did.update(t for t, worked in templates.items() if worked)
    if not could:
        return {}
    average = sum(did.values()) / sum(could.values())
    return {t: round((did[t] + SMOOTHING * average) / (could[t] + SMOOTHING), 6) for t in could}


def _state(text: str) -> ProofState:
    """A state that reads like `text`; no process knows it."""
    goals = []
    for part in text.split("\n\n"):
        hypotheses, target = split_hypotheses(part)
        goals.append(Goal(part, hypotheses, target))
    return ProofState(-1, "", tuple(goals))
