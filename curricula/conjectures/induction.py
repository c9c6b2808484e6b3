"""Proofs by structural induction, which use the lemmas and definitions about a statement's functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from curricula.conjectures.expressions import Const, Expr, Free, plain_name
from curricula.conjectures.signature import Signature
from curricula.conjectures.statements import Statement
from prover.lean.declared import NameParts

MOST_VARIABLES = 2
MOST_LEMMAS = 30
FINISH = ("simp_all [{}]", "grind [{}]")


class Related:
    """The functions and theorems that are related to a statement."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.theorems: dict[str, frozenset[NameParts]] = {}
        """The functions of each theorem that proofs may use."""

    def add(self, name: str, statement: Statement) -> None:
        self.theorems[name] = frozenset(self._functions(statement.parts))

    def _functions(self, exprs: Iterable[Expr]) -> set[NameParts]:
        own = self.signature.constants
        found = {p.name for e in exprs for p in e.subterms() if isinstance(p, Const)}
        return {n for n in found if n not in own or own[n].kind == "def"}

    def names(self, statement: Statement) -> list[str]:
        """The functions of the statement, the functions that these call, and the theorems that mention no other functions."""
        functions = self._functions(statement.parts)
        todo = list(functions)
        while todo:
            for equation in self.signature.equations.get(todo.pop(), ()):
                new = self._functions(equation.parts) - functions
                functions |= new
                todo += new
        theorems = [name for name, about in self.theorems.items() if about <= functions]
        computed = [plain_name(n) for n in self.signature.equations if n in functions]
        return [*computed, *theorems[-MOST_LEMMAS:]]

    def inductions(self, statement: Statement) -> list[str]:
        """Tactics that may prove the statement by induction on one of its variables. Variables that functions recurse on come first."""
        used = ", ".join(self.names(statement))
        variables = self._recursed(statement)[:MOST_VARIABLES]
        return [f"induction {v.name} <;> {finish.format(used)}" for finish in FINISH for v in variables]

    def without_idle(self, script: str, mentioned: frozenset[str]) -> str:
        """The script without the theorems in its lists that the finished proof does not mention. Functions stay."""

        def kept(found: re.Match[str]) -> str:
            names = found[1].split(", ")
            return f"[{', '.join(n for n in names if n not in self.theorems or n.split('.')[-1] in mentioned)}]"

        return re.sub(r"(?<= )\[(.*?)\]", kept, script)

    def _recursed(self, statement: Statement) -> list[Free]:
        scores: dict[Free, int] = {}
        for expr in statement.parts:
            for part in expr.subterms():
                head, given = part.spine()
                places = self._recursive_places(head.name) if isinstance(head, Const) else set()
                for place, argument in enumerate(given):
                    if isinstance(argument, Free) and place in places:
                        scores[argument] = scores.get(argument, 0) + 1
        return sorted(scores, key=lambda v: (-scores[v], statement.variables.index(v)))

    def _recursive_places(self, function: NameParts) -> set[int]:
        """Indices of the arguments on which the function's equations match a pattern."""
        lefts: Sequence[Expr] = [e.sides[0] for e in self.signature.equations.get(function, ()) if e.sides is not None]
        return {i for left in lefts for i, p in enumerate(left.spine()[1]) if not isinstance(p, Free)}
