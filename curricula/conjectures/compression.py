"""What a lemma is worth: what it saves when other theorems are proved.

Costs are in Lean calls. A goal that is not proved costs its whole budget. These are pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence


def savings(without: Sequence[int], with_lemma: Sequence[int]) -> int:
    """Lean calls saved on goals, in the same order. Negative if the lemma misleads the search."""
    if len(without) != len(with_lemma):
        raise ValueError(f"costs of {len(without)} goals without the lemma, and of {len(with_lemma)} with it")
    return sum(without) - sum(with_lemma)


def redundancy(alone: float, last: float) -> float:
    """The share of a lemma's savings that the other lemmas give as well, in [0, 1].

    Args:
        alone: Lean calls that the lemma saves as the only one.
        last: Lean calls that it saves when all others are there.
    """
    if alone <= 0:
        return 0.0
    return min(1.0, max(0.0, 1 - last / alone))


def worth(saved: float, own: float, redundant: float = 0.0) -> float:
    """Lean calls that a lemma saves, less those that other lemmas save too, less its own cost."""
    return saved * (1 - redundant) - own


def lemma_worth(alone: float, last: float, own: float) -> float:
    """The worth of a lemma from what it saves alone and what it saves as the last one.

    A lemma that only helps together with others saves nothing alone; it counts with what it saves as the last one.
    """
    return worth(max(alone, last), own, redundancy(max(alone, last), last))
