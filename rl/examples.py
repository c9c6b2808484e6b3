"""Training examples of the policy and the value: tactics for states, steps-to-go of states, pairs of tactics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prover.models.tokenizer import N_BINS


@dataclass(frozen=True, slots=True)
class PolicyExample:
    """A tactic to make more (weight > 0) or less (weight < 0) likely."""

    state: str
    """ProofState.text."""
    tactic: str
    premises: tuple[str, ...] = ()
    """Full names, in the order offered."""
    weight: float = 1.0
    """Weight of the cross-entropy, or the advantage if `old_logprob` is given."""
    old_logprob: float | None = None
    """Log-probability under the sampling policy. If given, the loss is PPO's clipped ratio of whole tactics (Schulman et al. 2017,
    eq. 7)."""
    constants: tuple[str, ...] = ()
    """Constants of the state, which can be replaced by made-up names."""
    towards: str = ""
    """The goal that the tactic leads to (infilling), as `Goal.text`; empty: to a proof."""


@dataclass(frozen=True, slots=True)
class ValueExample:
    """A state and the bin of its steps-to-go (see prompt.steps_bin)."""

    state: str
    bin: int
    premises: tuple[str, ...] = ()
    weight: float = 1.0
    constants: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.bin < N_BINS:
            raise ValueError(f"bin={self.bin}: must be from 0 to {N_BINS - 1}")


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two tactics tried on one goal: one started its proof, and the other failed."""

    state: str
    worked: str
    failed: str
    premises: tuple[str, ...] = ()
    weight: float = 1.0


def row_weight(row: Mapping[str, Any]) -> float:
    """Replay priority of a row, times `learn.subgoals` if the theorem was not proved."""
    return row.get("weight", 1.0) * row.get("share", 1.0)


def mean_one(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights, scaled to mean 1.

    Callers scale the replay priorities of solved and of open goals separately. Those of solved goals are larger, and the value learns how
    often goals are proved from the ratio of the two.
    """
    mean = sum(weights.values()) / max(1, len(weights))
    return {name: w / mean for name, w in weights.items()}


Example = PolicyExample | ValueExample


def towards_of(example: Example) -> str:
    """The goal that an example leads to; empty: a proof."""
    return example.towards if isinstance(example, PolicyExample) else ""
