"""Features of a premise for a goal, as an assessor sees it (prover/models/assessor.py).

The names of a file's own lemmas mean little, so the features are mostly relations between the premise's statement and the goal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from prover.lean.theorem import Goal
from prover.models.ranker import Candidate, feature_hash, name_parts
from prover.models.type_shape import shape_of
from prover.premises.index import Premise
from prover.premises.local import LocalCandidate
from prover.premises.symbols import is_plumbing

ANONYMOUS = "[anonymous]"
Offered = Mapping[str, Candidate]
"""The premises of a goal by name, as an assessor sees them."""


def premise_candidates(goal: Goal, local: Sequence[LocalCandidate], library: Sequence[Premise]) -> Offered:
    """The features of a goal's premises: theorems of its surroundings, and theorems of the library, best first."""
    said = _Goal(goal)
    found: dict[str, Candidate] = {}
    ordered = sorted(local, key=lambda c: -c.symbolic)
    for rank, c in enumerate(ordered):
        near = f"near {round(4 * c.features[1])}" if len(c.features) > 1 else "near"
        found[c.premise.name] = said.candidate(c.premise, ["own", near, f"own rank {min(rank, 12)}"])
    for rank, p in enumerate(p for p in library if p.name not in found):
        parts = [f"part {x}" for x in name_parts(p.name)[-5:]]
        found[p.name] = said.candidate(p, ["library", f"library rank {min(rank, 12)}", *parts])
    return found


class _Goal:
    def __init__(self, goal: Goal) -> None:
        self.constants = frozenset(c for c in goal.constants if not is_plumbing(c))
        self.outermost = shape_of(goal.target).outermost

    def candidate(self, p: Premise, where: Sequence[str]) -> Candidate:
        symbols = [c for c in dict.fromkeys(p.constants) if not is_plumbing(c)]
        shared = [c for c in symbols if c in self.constants]
        strange = len(symbols) - len(shared)
        kind = f"{p.head if p.rewrites else 'other'} goal {self.outermost}"
        sides = " ".join(self._side(side) for side in p.sides)
        found = [
            *where,
            kind,
            f"sides {sides}",
            f"sides {sides} {kind}",
            f"same sides {p.sides[0] == p.sides[1] != ANONYMOUS}",
            f"head {self._side(p.head)}",
            f"arguments {min(p.explicit, 5)}",
            f"shared {min(len(shared), 4)}",
            f"strange {min(strange, 4)}",
            f"shared {min(len(shared), 4)} strange {min(strange, 4)}",
            f"missing {min(len(self.constants) - len(shared), 4)}",
            f"size {round(math.log2(len(symbols) + 1))}",
            *(f"about {c}" for c in symbols[:6]),
        ]
        return Candidate(0, tuple(dict.fromkeys(feature_hash(f"premise {x}") for x in found)))

    def _side(self, symbol: str) -> str:
        return "none" if symbol == ANONYMOUS else "met" if symbol in self.constants else "strange"
