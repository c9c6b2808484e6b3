"""Policy gradient on groups of trajectories. The variants of the literature are settings of one loss (gradient_settings.py).

Notation, for a trajectory i with reward r_i and the tokens t that the model wrote in it: π is the model, π_old the model before the
update, μ the engine that sampled, π_ref the reference.

    ratio        w_t = π / π_old                      `token` (PPO; Schulman et al. 2017, eq. 6)
                 w   = (Π_t π / π_old) ** (1 / |t|)   `sequence` (GSPO; Zheng et al. 2025, eq. 7)
    clip         min(w A, clip(w, 1 - clip_low, 1 + clip_high) A)         `ppo`
                 stop_gradient(clip(w, …)) A log π    `cispo` (MiniMax-M1 2025, eq. 4)
    importance   min(importance_cap, π_old / μ)       truncated importance weight of a token (Yao et al. 2025)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rl.algorithms.gradient_settings import PolicyGradient
from rl.algorithms.grpo import LEAST_DEVIATION


@dataclass(frozen=True)
class Tokens:
    """The tokens that the model wrote in some trajectories, with the quantities that stay fixed in an update. N tokens, S trajectories."""

    owner: Tensor
    """[N], the trajectory of a token, in order."""
    advantage: Tensor
    """[N]."""
    old: Tensor
    """[N], log π_old."""
    sampled: Tensor
    """[N], log μ."""
    reference: Tensor | None = None
    """[N], log π_ref."""
    replayed: Tensor | None = None
    """[N], whether a token is of a proof from an earlier round. None: none is."""

    @property
    def lengths(self) -> Tensor:
        """[S], tokens of each trajectory."""
        return torch.bincount(self.owner)

    def to(self, device: torch.device) -> Tokens:
        every = (self.owner, self.advantage, self.old, self.sampled, self.reference, self.replayed)
        return Tokens(*(None if x is None else x.to(device) for x in every))  # pyright: ignore[reportArgumentType]


def batch_advantages(tokens: Tokens, settings: PolicyGradient) -> Tensor:
    """[N], the advantages with the KL penalty of `k1`, and with the baseline of the batch if `advantage = "batch"`.

    A token's penalty is the sum of kl_weight · log(π_old / π_ref) over it and the later tokens of its trajectory (Hu et al. 2025,
    eq. 4).
    """
    advantage = tokens.advantage
    if settings.kl == "k1" and settings.kl_weight and tokens.reference is not None:
        penalty = tokens.old - tokens.reference
        sums = torch.zeros(len(tokens.lengths), dtype=penalty.dtype, device=penalty.device)
        total = sums.index_add(0, tokens.owner, penalty)
        starts = tokens.lengths.cumsum(0) - tokens.lengths
        running = penalty.cumsum(0) - penalty  # of all tokens before this one
        before = running - running[starts][tokens.owner]
        advantage = advantage - settings.kl_weight * (total[tokens.owner] - before)
    if settings.advantage == "batch":
        advantage = (advantage - advantage.mean()) / advantage.std(unbiased=False).clamp(min=LEAST_DEVIATION)
    return advantage


def token_weights(lengths: Tensor, settings: PolicyGradient) -> Tensor:
    """[S], the factor of each token of a trajectory in the loss. `lengths`: [S] of the whole batch."""
    if settings.normalise == "sequence":
        return 1.0 / (len(lengths) * lengths.clamp(min=1))
    total = lengths.sum().clamp(min=1) if settings.normalise == "token" else len(lengths) * settings.length
    return torch.ones_like(lengths, dtype=torch.float32) / total


def loss(
    logprobs: Tensor, tokens: Tokens, weights: Tensor, settings: PolicyGradient
) -> tuple[Tensor, dict[str, float]]:
    """(the loss, a scalar; sums over tokens of the metrics in `METRICS`, and the number of `tokens` and of `sampled_tokens`, which are
    not replayed).

    `logprobs`: [N], log π. `weights`: [S], from `token_weights` of the whole batch, so that the losses of its parts add up. All
    tokens of a trajectory must be in one part.
    """
    s = settings
    difference = logprobs - tokens.old
    if s.ratio == "sequence":
        mean = torch.zeros_like(weights).index_add(0, tokens.owner, difference) / tokens.lengths.clamp(min=1)
        difference = mean[tokens.owner]
    ratio = difference.clamp(-20, 20).exp()
    bounded = ratio.clamp(1 - s.clip_low, 1 + s.clip_high)
    a = tokens.advantage
    if s.clip == "cispo":
        objective = bounded.detach() * a * logprobs
        clipped = ratio != bounded
    else:
        objective = torch.minimum(ratio * a, bounded * a)
        clipped = ratio * a > bounded * a
    importance = torch.ones_like(a)
    gap = (tokens.old - tokens.sampled).detach()
    if s.importance_cap:
        importance = gap.clamp(-20, 20).exp().clamp(max=s.importance_cap)
    total = -(objective * importance)
    kl = torch.zeros_like(a)
    if tokens.reference is not None:
        d = tokens.reference - logprobs
        kl = d.exp() - 1 - d
        if s.kl == "k3":
            total = total + s.kl_weight * kl
    with torch.no_grad():
        own = (logprobs - tokens.old).clamp(-20, 20)
        fresh = torch.ones_like(a) if tokens.replayed is None else (~tokens.replayed).to(a.dtype)
        sums = {
            "tokens": float(len(a)),
            "sampled_tokens": fresh.sum().item(),
            "ratio": ratio.sum().item(),
            "clip_frac": clipped.float().sum().item(),
            "approx_kl": (own.exp() - 1 - own).sum().item(),
            "reference_kl": kl.sum().item(),
            "importance": (importance * fresh).sum().item(),
            "importance_truncated": ((gap > math.log(s.importance_cap)) * fresh).sum().item()
            if s.importance_cap
            else 0.0,
            "sampler_gap": (gap.abs() * fresh).sum().item(),
            "advantage": (a.abs() * fresh).sum().item(),
        }
    return (total * weights[tokens.owner]).sum(), sums


METRICS = {
    "ratio": "mean of π / π_old",
    "clip_frac": "share of tokens whose gradient the clip removes or bounds",
    "approx_kl": "KL(π_old || π) in nats per token (k3)",
    "reference_kl": "KL(π || π_ref) in nats per token (k3); 0 without a reference",
    "importance": "mean truncated importance weight",
    "importance_truncated": "share of truncated importance weights",
    "sampler_gap": "mean |log π_old - log μ|: how far the engine's log-probabilities are from the learner's",
    "advantage": "mean absolute advantage",
}
"""Metric -> its meaning. Each is a mean over tokens, those of `OF_SAMPLES` over tokens that are not replayed."""

OF_SAMPLES = frozenset(("importance", "importance_truncated", "sampler_gap", "advantage"))


SUMS = ("tokens", "sampled_tokens", *METRICS)
"""The names of the sums that `loss` returns."""


def means(sums: Mapping[str, float]) -> dict[str, float]:
    """The metrics in `METRICS`. `sums`: the total of those that `loss` returned."""
    counts = {name: sums["sampled_tokens" if name in OF_SAMPLES else "tokens"] for name in METRICS}
    return {name: sums[name] / max(1.0, count) for name, count in counts.items()}
