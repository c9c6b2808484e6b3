"""Settings of the policy gradient, and presets by the names of their papers. The loss is in policy_gradient.py."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

import msgspec

from prover.errors import UserError

Advantage = Literal["mean", "normalised", "leave_one_out", "batch"]
NonNegativeFloat = Annotated[float, msgspec.Meta(ge=0.0)]


@dataclass(frozen=True)
class PolicyGradient:
    """Settings of the loss that a preset has and the table `[gradient]` changes."""

    advantage: Advantage = "normalised"
    """How a reward r becomes an advantage. `mean`: r minus the mean of its group. `normalised`: the same, divided by the group's standard
    deviation. `leave_one_out`: r minus the mean of the others of the group (RLOO; Ahmadian et al. 2024). `batch`: mean and standard
    deviation over all tokens of the batch."""
    ratio: Literal["token", "sequence"] = "token"
    clip: Literal["ppo", "cispo"] = "ppo"
    clip_low: float = 0.2
    clip_high: float = 0.2
    kl: Literal["none", "k1", "k3"] = "none"
    """Penalty for leaving the reference (estimators of Schulman 2020): `k1` is subtracted from the advantage of a token and of those
    before it, `k3` is added to the loss."""
    kl_weight: float = 0.0
    importance_cap: float = 2.0
    """Upper bound of the importance weights. 0: no importance weights."""
    normalise: Literal["sequence", "token", "constant"] = "token"
    """Divisor of a token's loss. `sequence`: the tokens of its trajectory times the number of trajectories. `token`: all tokens of the
    batch. `constant`: the number of trajectories times `length`."""
    length: int = 256
    """Tokens of `normalise = "constant"`."""
    dynamic_sampling: bool = False
    """Replace groups of equal rewards while the round has budget."""
    mask_overlong: bool = False
    """Leave out trajectories that were cut off at the token limit."""
    imitation: float = 0.0
    """Advantage of the tokens of proofs from earlier rounds, which are added to the batch: one proof per theorem, and at most as many
    as the round has trajectories with a signal. It weights their log-likelihood (VAPO's positive-example LM loss, which uses the proofs
    of the batch itself; Yue et al. 2025). 0: each proof is learned once."""


_GRPO = PolicyGradient(kl="k3", kl_weight=0.04, normalise="sequence")
PRESETS: dict[str, PolicyGradient] = {
    # Shao et al. 2024, eq. 3 and section 4.1.2.
    "grpo": _GRPO,
    # Liu et al. 2025, section 3.2: neither the standard deviation nor the length of an answer; no KL.
    "dr_grpo": replace(_GRPO, advantage="mean", normalise="constant", kl="none", kl_weight=0.0),
    # Yu et al. 2025: clip-higher, dynamic sampling, token-level loss, overlong filtering; no KL.
    "dapo": PolicyGradient(clip_high=0.28, dynamic_sampling=True, mask_overlong=True),
    # Zheng et al. 2025, eq. 5 and section 5.1.
    "gspo": PolicyGradient(ratio="sequence", clip_low=3e-4, clip_high=4e-4, normalise="sequence"),
    # MiniMax-M1 2025, eq. 4 and 5: no lower bound. The upper one as in Khatri et al. 2025.
    "cispo": PolicyGradient(clip="cispo", clip_low=1.0, clip_high=4.0),
    # Hu et al. 2025, section 3: advantages of the whole batch, KL in the reward.
    "reinforce++": PolicyGradient(advantage="batch", kl="k1", kl_weight=0.01),
}
"""Algorithm -> the settings of its paper."""


def check(settings: PolicyGradient, name: str) -> PolicyGradient:
    """Return the settings. Raises UserError for settings that contradict each other."""
    s = settings
    wrong = (
        ("importance_cap", s.importance_cap, "0, or at least 1", s.importance_cap != 0 and s.importance_cap < 1),
        ("kl", s.kl, "k1 or k3 where kl_weight is above 0", s.kl == "none" and s.kl_weight > 0),
    )
    for key, value, allowed, failed in wrong:
        if failed:
            raise UserError(f"gradient.{key}={value} (learn.algorithm={name}): must be {allowed}")
    return s


@dataclass(frozen=True)
class GradientConfig:
    """Changes to the preset that `learn.algorithm` names, for a pretrained model (`serve.start`). Unset settings stay as in the preset."""

    trajectories: Annotated[int, msgspec.Meta(ge=1)] = 64
    """Trajectories per update."""
    advantage: Advantage | None = None
    ratio: Literal["token", "sequence"] | None = None
    clip: Literal["ppo", "cispo"] | None = None
    clip_low: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] | None = None
    clip_high: NonNegativeFloat | None = None
    kl: Literal["none", "k1", "k3"] | None = None
    kl_weight: NonNegativeFloat | None = None
    importance_cap: NonNegativeFloat | None = None
    normalise: Literal["sequence", "token", "constant"] | None = None
    length: Annotated[int, msgspec.Meta(ge=1)] | None = None
    dynamic_sampling: bool | None = None
    mask_overlong: bool | None = None
    imitation: NonNegativeFloat | None = None


def settings_of(algorithm: str, config: GradientConfig) -> PolicyGradient:
    """The preset with the changes. Raises UserError for values that contradict each other."""
    changes: dict[str, Any] = {
        f.name: value for f in fields(PolicyGradient) if (value := getattr(config, f.name)) is not None
    }
    return check(replace(PRESETS[algorithm], **changes), algorithm)
