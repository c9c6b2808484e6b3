"""LeanDojo's split by premises (Yang et al. 2023, section 4): every theorem outside the training split uses a premise that no training
theorem uses."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from curricula.library import Split

OUTSIDE = 0.3
"""Share of the theorems outside the training split, as in `split_of`. LeanDojo puts 4,000 of about 120,000 there."""
VALIDATION = 1 / 3
"""Share of these that goes into the validation split."""


def novel_premises(premises: Mapping[str, Sequence[str]]) -> dict[str, Split]:
    """The split of each theorem. `premises`: the constants that each theorem's proof names.

    The rarest premises come first: all theorems that use one leave the training split, until enough have. A theorem that names no
    premise stays in training. Unlike LeanDojo's, the order is a hash and the same each time.
    """
    users: dict[str, list[str]] = {}
    for theorem, used in premises.items():
        for premise in dict.fromkeys(used):
            users.setdefault(premise, []).append(theorem)
    outside: dict[str, None] = {}
    for premise in sorted(users, key=lambda p: (len(users[p]), _order(p))):
        if len(outside) >= OUTSIDE * len(premises):
            break
        outside.update(dict.fromkeys(users[premise]))
    shuffled = sorted(outside, key=_order)
    validation = set(shuffled[: round(VALIDATION * len(shuffled))])
    return {
        name: "validation" if name in validation else "held-out" if name in outside else "train" for name in premises
    }


def _order(name: str) -> bytes:
    return hashlib.sha256(f"turnstile novel premises {name}".encode()).digest()
