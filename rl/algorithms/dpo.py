"""Direct preference optimisation (DPO; Rafailov et al. 2023) on the tactics of one goal: prefers those that start a proof to errors.

The pairs come from the tactics that the ranker learns from. A tactic that leaves open goals is neither a success nor a failure. The
reference is the model that the run starts from. For a goal x, a tactic w that worked and a tactic l that failed, the loss is (eq. 7)

    -log σ(β [log π(w|x) - log π_ref(w|x)] - β [log π(l|x) - log π_ref(l|x)])
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

from rl.algorithms.tactic_ranking import ERROR, WORKED, levels_by_goal
from rl.examples import PreferencePair, row_weight

if TYPE_CHECKING:
    from torch import Tensor


def preference_pairs(rows: Iterable[Mapping[str, Any]], most: int, seed: int = 0) -> list[PreferencePair]:
    """Pairs from the ledger's examples of kind `tried`: at most `most` for each goal, sampled without replacement."""
    found: list[PreferencePair] = []
    for row, levels in levels_by_goal(rows):
        worked, failed = ([t for t, level in levels.items() if level == wanted] for wanted in (WORKED, ERROR))
        pairs = list(product(worked, failed))
        if len(pairs) > most:
            pairs = random.Random(f"{seed}/{row['state']}").sample(pairs, most)
        weight = row_weight(row)
        found += [PreferencePair(row["state"], w, f, tuple(row["premises"]), weight) for w, f in pairs]
    return found


def loss(worked: Tensor, failed: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """(loss, margin) of each pair. `worked`, `failed`: [pairs], log π - log π_ref of the whole tactic. The margin is the difference of
    the implicit rewards β (log π - log π_ref)."""
    import torch.nn.functional as F

    margin = beta * (worked - failed)
    return -F.logsigmoid(margin), margin
