"""Settings of DPO. The loss is in dpo.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec


@dataclass(frozen=True)
class DPOConfig:
    """Settings of `learn.algorithm = "dpo"`."""

    beta: Annotated[float, msgspec.Meta(gt=0.0)] = 0.1
    """Strength of the reference: a small one lets the policy move further away from it."""
    pairs: Annotated[int, msgspec.Meta(ge=1)] = 8
    """Maximum number of pairs of one goal."""
