"""Names for lemmas, after the habits of Lean's library: `add_comm`, `zero_add`, `rev_rev`, `map_app`."""

from __future__ import annotations

import re
from collections.abc import Collection

from curricula.conjectures.expressions import Const, Expr, Free, Number
from curricula.conjectures.signature import Signature
from curricula.conjectures.statements import Statement, sides_of

_NOTATION = {f"h{word.title()}": word for word in ("add", "mul", "sub", "div", "pow", "append", "mod")}
_NUMBERS = {0: "zero", 1: "one", 2: "two"}
MOST_WORDS = 5


def name_for(signature: Signature, statement: Statement, taken: Collection[str]) -> str:
    """A name that is not taken."""
    base = _pattern(signature, statement) or "_".join(_words(signature, _main(statement))[:MOST_WORDS]) or "lemma"
    if statement.hypotheses:
        about = "_".join(_words(signature, statement.hypotheses[0].type)[:3]) or "eq"
        base = f"{about}_cancel" if base == "lemma" else f"{base}_of_{about}"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name


def _main(statement: Statement) -> Expr:
    """The larger side of an equation."""
    if statement.sides is None:
        return statement.conclusion
    return max(statement.sides, key=Expr.size)


def _pattern(signature: Signature, statement: Statement) -> str | None:
    """The name of a commutativity, an associativity or an exchange."""
    if (sides := sides_of(statement.conclusion)) is None:
        return None
    found = []
    for side in sides:
        operation = signature.operation_of(side)
        if operation is None or len(operation.arguments) != 2:
            return None
        found.append((operation, operation.data_of(side)))
    (first, left), (second, right) = found
    if first.key != second.key:
        return None
    word = _word(first.head)
    if left == right[::-1] and all(isinstance(x, Free) for x in left):
        return f"{word}_comm"
    inner = [[signature.operation_of(x) for x in data] for data in (left, right)]
    same = [[o is not None and o.key == first.key for o in row] for row in inner]
    if same in ([[True, False], [False, True]], [[False, True], [True, False]]):
        nested, other = (left, right) if same[0][0] else (right, left)
        if (*first.data_of(nested[0]), nested[1]) == (other[0], *first.data_of(other[1])):
            return f"{word}_assoc"
    for row, kind in (([False, True], "left"), ([True, False], "right")):
        if same == [row, row]:
            return f"{word}_{kind}_comm"
    return None


def _words(signature: Signature, expr: Expr) -> list[str]:
    """The operations of a term from the outside to the inside; arguments that are constants come before the operation if they
    stand on its left."""
    head, given = expr.spine()
    if (sides := sides_of(expr)) is not None:
        return [w for side in sides for w in _words(signature, side)]
    if not isinstance(head, Const) or head.name == ("OfNat", "ofNat"):
        numbers = [a.value for a in given if isinstance(a, Number)]
        return [_NUMBERS.get(numbers[0], str(numbers[0]))] if numbers else []
    operation = signature.operation_of(expr)
    data = operation.data_of(expr) if operation is not None else given
    parts = [_words(signature, d) for d in data]
    infix = len(parts) == 2 and (head.name[-1] in _NOTATION or signature.is_constructor(data[0].spine()[0]))
    own = [_word(head)]
    return [*parts[0], *own, *parts[1]] if infix else own + [w for p in parts for w in p]


def _word(head: Const) -> str:
    last = str(head.name[-1])
    word = _NOTATION.get(last, last)
    return re.sub(r"\W", "", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).lower()) or "op"
