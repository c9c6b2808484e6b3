"""The updates of a call of Learner.fit, and what happens if a gradient is not finite.

Such an update is skipped, because one overflow must not end a run of a week. Many in succession mean that the model itself has diverged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from prover.errors import UserError

MOST_SKIPPED = 10
"""Updates that may be skipped in succession."""


class Update(NamedTuple):
    """One update."""

    loss: float
    """Without that of the value."""
    norm: float
    """Norm of the gradient before clipping. Not finite: the weights were not changed."""


def check(updates: Sequence[Update], step: int) -> None:
    """Raise UserError if more than MOST_SKIPPED updates in succession were skipped. `step`: number of the last one."""
    last = updates[-MOST_SKIPPED - 1 :]
    if len(last) > MOST_SKIPPED and not any(math.isfinite(u.norm) for u in last):
        raise UserError(
            f"step {step}: the gradients of {len(last)} updates are not finite (loss {last[-1].loss:.4g}); lower the learning rate"
        )


def summary(updates: Sequence[Update]) -> dict[str, float]:
    """The metrics steps, skipped_updates, and of the others: loss (mean), first_loss and last_loss (means over the first and last
    tenth), and grad_norm (mean). These four are nan if there are no others."""
    made = [u for u in updates if math.isfinite(u.norm)]
    losses, tenth = [u.loss for u in made] or [math.nan], max(1, len(made) // 10)
    return {
        "loss": fmean(losses),
        "first_loss": fmean(losses[:tenth]),
        "last_loss": fmean(losses[-tenth:]),
        "grad_norm": fmean([u.norm for u in made] or [math.nan]),
        "steps": float(len(updates)),
        "skipped_updates": float(len(updates) - len(made)),
    }
