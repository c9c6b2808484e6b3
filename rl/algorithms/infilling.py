"""Infilling: learn the tactics between two given goals of a recorded proof.

An example is a goal of an audited proof, a goal further down in the same proof, and the tactic that the proof has on the first. The
model reads both goals and predicts the tactic, as language models learn to fill in text between a prefix and a suffix (Bavarian et al.
2022). A search asks again after each tactic, so one tactic at a time is enough.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prover.search.examples import Example
from rl.algorithms.expert_iteration import policy_examples
from rl.examples import PolicyExample

DISTANCES = (1, 2, 3, 5, 8)
"""Numbers of tactics from the first goal to the second. Each goal has at most one example of each distance."""


def collect_infill(examples: Sequence[Example]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, data) for the ledger, from a search whose proof the audit accepted: the goals of its shortest proof, each with goals below
    it. The second goal of an example is a single one, because no first tactic leads to a group of goals alone."""
    solved = {e.key: e for e in examples if e.solved and e.leading}
    proof = [e for e in solved.values() if e.depth == 0]
    seen = {e.key for e in proof}
    for before in proof:  # grows in the loop, from the root down
        new = [key for key in dict.fromkeys(before.next) if key in solved and key not in seen]
        proof += [solved[key] for key in new]
        seen.update(new)
        level = [before]
        for distance in range(1, DISTANCES[-1] + 1):
            keys = dict.fromkeys(key for e in level for key in e.next)
            if not (level := [solved[key] for key in keys if key in solved]):
                break
            ends = [e for e in level if "\n\n" not in e.text and e.text != before.text]
            if distance in DISTANCES and ends:
                after = min(ends, key=lambda e: zlib.crc32(f"{before.key} {e.key}".encode()))
                yield "infill", _row(before, after, distance)


def _row(before: Example, after: Example, distance: int) -> dict[str, Any]:
    return {
        "state": before.text,
        "towards": after.text,
        "distance": distance,
        "constants": tuple(dict.fromkeys((*before.constants, *after.constants))),
        "premises": before.premises,
        "tactics": [(before.leading, 1.0)],
    }


def infill_examples(rows: Iterable[dict[str, Any]], share: float, others: int, seed: str) -> list[PolicyExample]:
    """Training examples from replay rows, drawn at random without replacement: `share` of all examples, or fewer if there are not
    enough. `others`: number of ordinary examples."""
    every = policy_examples(rows)
    return random.Random(f"infill/{seed}").sample(every, min(len(every), wanted(share, others)))


def wanted(share: float, others: int) -> int:
    """The number of examples that makes up `share` (below 1) of all examples, of which `others` are ordinary ones."""
    return round(others * share / (1 - share))


def clamped(steps: Sequence[tuple[str, str, str]]) -> Iterator[PolicyExample]:
    """Examples from the (state before, tactic, state after) of a human proof, in order. The states between both ends of an example have
    one goal each, and each step starts where the one before ended."""
    for i, (before, tactic, _) in enumerate(steps):
        for j in range(i, min(i + DISTANCES[-1], len(steps))):
            after = steps[j][2]
            if "\n\n" in steps[j][0] + after or after in ("", "no goals", before):
                break
            if j - i + 1 in DISTANCES:
                yield PolicyExample(before, tactic, towards=after)
            if j + 1 == len(steps) or steps[j + 1][0] != after:
                break
