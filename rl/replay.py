"""What the learner draws from: the ledger's examples, merged, with held-out theorems kept out by construction."""

from __future__ import annotations

from curricula.library import split_of
from prover.models.learner import PolicyExample, ValueExample
from rl.algorithms import expert_iteration
from rl.ledger import Ledger


class HeldOutLeak(ValueError):
    """An example came from a theorem that is not for training."""


def draw(ledger: Ledger) -> tuple[list[PolicyExample], list[ValueExample]]:
    """All training examples. Raises HeldOutLeak if one comes from a library theorem outside the training split."""
    rows: dict[str, list[dict]] = {"policy": [], "value": []}
    for kind, found in rows.items():
        for theorem, data in ledger.examples(kind):
            if theorem.library is not None and split_of(theorem.name) != "train":
                raise HeldOutLeak(f"{theorem.name} is in the {split_of(theorem.name)} split")
            found.append(data)
    return expert_iteration.policy_examples(rows["policy"]), expert_iteration.value_examples(rows["value"])
