"""A total order of terms in which the equations of a definition reduce: the lexicographic path order (Kamin, Lévy 1980).

A function is above those that are defined before it, and above constructors. So `a * (b + c)` reduces to `a * b + a * c`, and
`rev (l ++ r)` to `rev r ++ rev l`, although the results are longer.
"""

from __future__ import annotations

from collections.abc import Callable

from curricula.conjectures.expressions import Const, Expr, Free
from curricula.conjectures.signature import Signature

Rank = tuple[int, int, str]


def path_order(signature: Signature, variables: bool = True) -> Callable[[Expr, Expr], bool]:
    """A function that says whether the first term is less than the second. `variables`: treat variables as constants with an order of
    their own. Otherwise the answer holds for all values of the variables, and two terms may be incomparable."""
    places = {name: i for i, name in enumerate(signature.constants)}

    def rank(head: Expr) -> Rank:
        if isinstance(head, Free):
            return 0, head.number, ""
        if isinstance(head, Const):
            return (1 if signature.is_constructor(head) else 2), places.get(head.name, -1), str(head)
        return 1, -1, str(head)

    def less(a: Expr, b: Expr) -> bool:
        if a == b:
            return False
        head_a, given_a = a.spine()
        head_b, given_b = b.spine()
        if not variables and isinstance(head_b, Free):
            return False
        if any(a == part or less(a, part) for part in given_b):
            return True
        if not variables and isinstance(head_a, Free):
            return False
        if not all(less(part, b) for part in given_a):
            return False
        if head_a != head_b:
            return rank(head_a) < rank(head_b)
        for first, second in zip(given_a, given_b, strict=False):
            if first != second:
                return less(first, second)
        return len(given_a) < len(given_b)

    return less
