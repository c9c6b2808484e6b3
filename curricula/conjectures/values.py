"""Computes values of terms with the equations of a file's functions, without Lean: cheap evidence for and against a statement.

Values are numbers that identify terms of constructors: equal terms have equal numbers. Callers ask Lean if a function has no equations
here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import islice, product
from typing import Any

from curricula.conjectures.expressions import (
    FALSE,
    LEVEL_0,
    NAT,
    PROP,
    TRUE,
    Binder,
    Const,
    Expr,
    Free,
    Number,
    Sort,
    Var,
)
from curricula.conjectures.samples import Samples
from curricula.conjectures.statements import Statement
from prover.lean.declared import NameParts

MOST_DEPTH = 60
"""Maximum nesting of calls."""
MOST_SIZE = 300
"""Maximum number of constructors in a value."""
VALUATIONS = 200
"""Maximum number of assignments to the variables of a statement that are tried."""
WITNESS_DEPTH = 9
"""Maximum nesting of constructors in the witnesses of an existential statement."""
Environment = Mapping[Free, int]


def negated(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


def disjunction(truths: Sequence[bool | None]) -> bool | None:
    return True if True in truths else None if None in truths else False


def conjunction(truths: Sequence[bool | None]) -> bool | None:
    return False if False in truths else None if None in truths else True


def implied(premise: bool | None, result: bool | None) -> bool | None:
    return disjunction([negated(premise), result])


class Unknown(Exception):
    """A term whose value is not known: a function has no equations here, or the value is too large."""


class Values:
    """Values of a file's terms. Each is a node: a constructor, or a function with too few arguments, and its arguments."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.signature = samples.signature
        self._nodes: list[tuple[Any, ...]] = []
        self._sizes: list[int] = []
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._results: dict[tuple[Any, ...], int | bool | None] = {}
        self._depth = 0

    # -- values ------------------------------------------------------------------------------------------------------

    def of(self, expr: Expr, env: Environment, stack: tuple[int, ...] = ()) -> int:
        """The value of a term. `stack`: values of loose bound variables, the innermost last. Raises Unknown."""
        if isinstance(expr, Free):
            if expr not in env:
                raise Unknown
            return env[expr]
        if isinstance(expr, Var):
            return stack[-1 - expr.index]
        if isinstance(expr, Number):
            return self._node(("number", expr.value), 1)
        if isinstance(expr, Binder) and expr.lam:
            captured = tuple((v, env[v]) for v in expr.body.frees() if v in env)
            return self._node(("fun", expr.body, captured, stack), 1)
        head, given = expr.spine()
        if head == Const(("OfNat", "ofNat"), (LEVEL_0,)) and isinstance(given[1], Number):
            return self.of(given[1], env)
        values = tuple(self.of(g, env, stack) for g in given)
        if isinstance(head, Const):
            return self._constant(head.name, values)
        return reduce(self._applied, values, self.of(head, env, stack))

    def _constant(self, name: NameParts, given: tuple[int, ...]) -> int:
        constant = self.signature.constants.get(name)
        if name == ("Nat", "succ") and given and self._nodes[given[0]][0] == "number":
            return self._node(("number", self._nodes[given[0]][1] + 1), 1)
        if constant is None and name != NAT.name and name != ("Nat", "succ"):
            raise Unknown
        if constant is not None and constant.kind == "def":
            result = self._computed(name, given)
            assert not isinstance(result, bool)
            return result
        return self._node((name, *given), 1 + sum(self._sizes[g] for g in given))

    def _applied(self, function: int, argument: int) -> int:
        kind, *rest = self._nodes[function]
        if kind == "fun":
            body, captured, stack = rest
            return self.of(body, dict(captured), (*stack, argument))
        if kind == "number":
            raise Unknown
        return self._constant(kind, (*rest, argument))

    def _computed(self, name: NameParts, given: tuple[int, ...], truth: bool = False) -> int | bool:
        """The function's value, or its truth value, by its first equation that matches. Raises Unknown."""
        key = (name, given)
        if key not in self._results:
            self._results[key] = None
            self._depth += 1
            try:
                if self._depth <= MOST_DEPTH:
                    self._results[key] = self._by_equations(name, given, truth)
            except Unknown:
                pass
            finally:
                self._depth -= 1
        result = self._results[key]
        if result is None:
            raise Unknown
        return result

    def _by_equations(self, name: NameParts, given: tuple[int, ...], truth: bool) -> int | bool:
        for equation in self.signature.equations.get(name, ()):
            assert equation.sides is not None
            left, right = equation.sides
            patterns = left.spine()[1]
            if len(patterns) > len(given):
                return self._node((name, *given), 1)
            env: dict[Free, int] = {}
            if not all(self._fits(p, g, env) for p, g in zip(patterns, given, strict=False)):
                continue
            if not all(self.truth(h, env) for h in equation.given):
                continue
            if truth:
                found = self.truth(right, env)
                if found is None:
                    raise Unknown
                return found
            return reduce(self._applied, given[len(patterns) :], self.of(right, env))
        raise Unknown

    def _fits(self, pattern: Expr, value: int, env: dict[Free, int]) -> bool:
        if isinstance(pattern, Free):
            return env.setdefault(pattern, value) == value
        head, parts = pattern.spine()
        kind, *given = self._nodes[value]
        own = self.signature.constants.get(kind) if isinstance(kind, tuple) else None
        if not isinstance(head, Const) or own is None or own.kind == "def":
            raise Unknown
        return head.name == kind and all(self._fits(p, g, env) for p, g in zip(parts, given, strict=True))

    def _node(self, node: tuple[Any, ...], size: int) -> int:
        if node not in self._numbers:
            if size > MOST_SIZE:
                raise Unknown
            self._numbers[node] = len(self._nodes)
            self._nodes.append(node)
            self._sizes.append(size)
        return self._numbers[node]

    # -- statements --------------------------------------------------------------------------------------------------

    def truth(self, proposition: Expr, env: Environment, stack: tuple[int, ...] = ()) -> bool | None:
        """Whether a proposition holds; None if unknown. Searches witnesses of existential statements among small values only."""
        if proposition in (TRUE, FALSE):
            return proposition == TRUE
        if isinstance(proposition, Binder):
            if not self.signature.is_proposition(proposition.type):
                return None
            premise = self.truth(proposition.type, env, stack)
            return implied(premise, self.truth(proposition.body, env, (*stack, -1)))
        head, given = proposition.spine()
        if not isinstance(head, Const):
            return None
        match head.name:
            case ("Eq",):
                return self._equal(given[1], given[2], env, stack)
            case ("Not",):
                return negated(self.truth(given[0], env, stack))
            case ("And",):
                return conjunction([self.truth(g, env, stack) for g in given])
            case ("Or",):
                return disjunction([self.truth(g, env, stack) for g in given])
            case ("Exists",):
                return self._witnessed(given[0], given[1], env, stack)
            case name if name in self.signature.equations:
                try:
                    return bool(self._computed(name, tuple(self.of(g, env, stack) for g in given), truth=True))
                except Unknown:
                    return None
        return None

    def _equal(self, left: Expr, right: Expr, env: Environment, stack: tuple[int, ...]) -> bool | None:
        try:
            first, second = self.of(left, env, stack), self.of(right, env, stack)
        except Unknown:
            return None
        return True if first == second else None if self._is_function(first) or self._is_function(second) else False

    def _is_function(self, value: int) -> bool:
        kind = self._nodes[value][0]
        own = self.signature.constants.get(kind)
        return kind == "fun" or (own is not None and own.kind == "def")

    def _witnessed(self, type_: Expr, predicate: Expr, env: Environment, stack: tuple[int, ...]) -> bool | None:
        if not isinstance(predicate, Binder):
            return None
        try:
            witnesses = [self.of(w, {}) for w in self.samples.of(type_, WITNESS_DEPTH)]
        except Unknown:
            return None
        return disjunction([self.truth(predicate.body, env, (*stack, w)) for w in witnesses]) if witnesses else None

    def holds(self, statement: Statement) -> bool | None:
        """Whether a statement holds for all small values of its variables, and its hypotheses for at least one of them; None if unknown."""
        tried = impossible = 0
        seen = False
        for env in self.valuations(statement.data):
            tried += 1
            given = [self.truth(h, env) for h in statement.given]
            if False in given:
                impossible += 1
                continue
            claim = self.truth(statement.conclusion, env)
            if claim is False and None not in given:
                return False
            seen = seen or claim is not None
        # Hypotheses that are false for all tried values make the statement useless.
        return True if seen else False if 0 < tried == impossible else None

    def valuations(self, variables: Sequence[Free]) -> list[dict[Free, int]]:
        """All combinations of small values for the variables, at most VALUATIONS; empty if a type has no known values."""
        choices: list[list[int]] = []
        types: dict[Free, Expr] = {v: NAT for v in variables if isinstance(v.type, Sort) and v.type != PROP}
        try:
            for v in variables:
                values = (NAT,) if v in types else self.samples.of(v.type.substituted(types))
                choices.append([self.of(x, {}) for x in values])
        except Unknown:
            return []
        if not choices or not all(choices):
            return []
        each = max(2, int(VALUATIONS ** (1 / len([c for c in choices if len(c) > 1] or [1]))))
        drawn = islice(product(*(c[:each] for c in choices)), VALUATIONS)
        return [dict(zip(variables, values, strict=True)) for values in drawn]
