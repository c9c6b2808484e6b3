"""Rules that keep a few lemmas of a library, so that rewards for conjectures can be compared. Each returns names, the best first."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from curricula.conjectures.expressions import Const, Expr, Free
from curricula.conjectures.measure import Worth
from curricula.conjectures.statements import Statement

_VARIABLE = Const(("variable",))


def by_compression(worths: Mapping[str, Worth]) -> list[str]:
    """By the Lean calls that only this lemma saves, then by all that it saves. The cost of finding a lemma does not count: it is spent."""

    def reward(name: str) -> tuple[float, int, int]:
        w = worths[name]
        return w.saved * (1 - w.redundancy), w.saved, w.uses

    return sorted(worths, key=reward, reverse=True)


def by_novelty(statements: Mapping[str, Statement], known: Sequence[Statement]) -> list[str]:
    """Repeatedly takes the statement farthest from the known ones and those taken before: by the Jaccard distance of the sets of subterms
    to the nearest one (farthest-first traversal)."""
    near = [_shape(s) for s in known]
    left = {name: _shape(s) for name, s in statements.items()}
    order: list[str] = []
    while left:
        name = max(left, key=lambda n: min((_distance(left[n], other) for other in near), default=1.0))
        near.append(left[name])
        order.append(name)
        del left[name]
    return order


def at_random(names: Sequence[str], seed: int) -> list[str]:
    """In random order. Equal arguments give equal orders."""
    return random.Random(f"turnstile lemmas {seed}").sample(list(names), len(names))


def _distance(a: frozenset[Expr], b: frozenset[Expr]) -> float:
    return 1 - len(a & b) / len(a | b) if a | b else 0.0


def _shape(statement: Statement) -> frozenset[Expr]:
    """The subterms of a statement, with all variables replaced by the same constant."""
    alike = (part.rebuilt(lambda e, _: _VARIABLE if isinstance(e, Free) else None) for part in statement.parts)
    return frozenset(sub for part in alike for sub in part.subterms())
