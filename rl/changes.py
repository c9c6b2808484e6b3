"""Differences between configurations: the settings of a run that may change when it is resumed, and why others may not."""

from __future__ import annotations

from typing import Any

from curricula.settings import named_settings
from prover.errors import UserError
from rl.config import RunConfig

MAY_CHANGE = (
    "max_minutes",
    "learn.rounds",
    "learn.keep",
    "learn.threads",
    "learn.ranks",
    "learn.shard",
    "learn.learning_rate",
    "learn.clip_norm",
    "prover.provers",
    "prover.concurrent",
    "ray.",
    "serve.memory",
    "serve.tensor_parallel",
    "serve.pipeline_parallel",
    "serve.gpu_gb",
    "serve.gradient_checkpointing",
)
"""Settings of the length of a run and of the machines that it uses, and those that help a run that diverges. A name that ends with a dot
is a whole table."""

_REASONS = {
    "name": "it is the folder, which you can move or rename",
    "runs": "it is the folder, which you can move or rename",
    "seed": "the recorded attempts were made with it",
    "theorems": "the recorded attempts are at these theorems",
    "model": "the checkpoints are of this model",
    "serve": "the checkpoints are of this model",
    "eval": "the recorded evaluations were made with it (`turnstile eval` evaluates the run with other settings)",
}


def changed(saved: RunConfig, wanted: RunConfig, learned: int) -> list[str]:
    """The changes from the saved to the wanted configuration, as `learn.rounds: 3 → 5`. `learned`: trained rounds.

    Raises UserError for a setting that may not change.
    """
    changes = []
    for name, there, here in differences(saved, wanted):
        if not name.startswith(MAY_CHANGE):
            reason = _REASONS.get(name.partition(".")[0], "the rounds before and after would not be comparable")
            raise UserError(
                f"{name}={here}: cannot change in a resumed run ({there} so far), because {reason}; "
                "start a new run with --name instead"
            )
        changes.append(f"{name}: {there} → {here}")
    if wanted.learn.rounds < learned:
        raise UserError(f"learn.rounds={wanted.learn.rounds}: the run has already trained {learned} rounds")
    return changes


def difference(saved: RunConfig, wanted: RunConfig) -> str | None:
    """The first setting in which two configurations differ, as `learn.rounds=3, not 10`; None if only their folders differ."""
    found = [d for d in differences(saved, wanted) if d[0] not in ("name", "runs")]
    return f"{found[0][0]}={found[0][1]}, not {found[0][2]}" if found else None


def differences(one: RunConfig, other: RunConfig) -> list[tuple[str, Any, Any]]:
    """(name, value in `one`, value in `other`) of every setting in which they differ."""
    both = zip(named_settings(one), named_settings(other), strict=True)
    return [(name, there, here) for (name, there), (_, here) in both if there != here]
