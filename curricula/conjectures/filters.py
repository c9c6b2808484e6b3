"""Filters for conjectures, the cheapest first: new, not an instance, well-typed, not false on small instances, not closed by one tactic."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from itertools import product

from curricula.conjectures.bench import Bench
from curricula.conjectures.expressions import FALSE, PROP, TRUE, Binder, Const, Expr, Free, NotExpressible, closed, free
from curricula.conjectures.samples import Samples
from curricula.conjectures.statements import Rules, Statement, instance_of
from curricula.conjectures.values import conjunction, disjunction, implied, negated

INSTANCES = 8
"""Number of small instances of a statement that one Lean call tries to refute."""
MOST_PROPOSITIONS = 6
"""Maximum number of propositional variables of a statement whose truth values are tried."""
MOST_CONNECTIVES = 200
"""Maximum number of parts of a statement that are evaluated."""
_TRUE = "first | rfl | decide | trivial | omega"
_ABSURD = "first | (cases k; done) | (revert k; decide) | omega"
"""Not `nofun`: it reports its failure in a way that `first` takes for success."""
AT_ONCE = ("rfl", "(simp; done)", "omega", "decide", "(simp_all; done)", "grind")


class Novelty:
    """The known statements: those that proofs may use, and those that must not be stated again."""

    def __init__(
        self,
        usable: Iterable[Statement],
        stated: Iterable[Statement] = (),
        less: Callable[[Expr, Expr], bool] | None = None,
    ) -> None:
        """`less`: an order of terms towards which equations rewrite."""
        self.usable: list[Statement] = []
        self.rules = Rules(less)
        self.forms = {s.form for s in stated}
        for statement in usable:
            self.add(statement)

    def add(self, statement: Statement) -> None:
        self.usable.append(statement)
        self.rules.add(statement)
        self.forms.add(statement.form)

    def new(self, statement: Statement) -> bool:
        """Whether a statement is no known one up to renaming and symmetry, no instance of one, and does not follow by rewriting."""
        if statement.sides is not None and statement.sides[0] == statement.sides[1]:
            return False
        if statement.conclusion in statement.given or statement.form in self.forms:
            return False
        return not self.rules.join(statement) and not any(instance_of(statement, known) for known in self.usable)


async def false(bench: Bench, samples: Samples, statement: Statement, rng: random.Random) -> bool:
    """Whether Lean proves that a small instance is false. One Lean call, or none if a type has no sample values."""
    cases: list[str] = []
    for values in samples.valuations(statement.data, INSTANCES, rng):
        try:
            cases.append(_refuted(statement, values))
        except NotExpressible:
            return False
    if not cases:
        return False
    return (await bench.step("refuted", "first\n" + "\n".join(f"| {case}" for case in cases))).ok


def false_for_truth_values(samples: Samples, statement: Statement) -> bool:
    """Whether a propositional statement, which may use the file's own connectives, is false for some truth values of its variables. Such a
    statement has no proof, not even in classical logic. Needs no Lean call."""
    data = statement.data
    if len(data) > MOST_PROPOSITIONS or any(v.type != PROP for v in data):
        return False
    for values in product((True, False), repeat=len(data)):
        truth = _Truth(samples, dict(zip(data, values, strict=True)))
        *given, claim = [truth.of(part) for part in (*statement.given, statement.conclusion)]
        if all(given) and claim is False:
            return True
    return False


class _Truth:
    """Truth values of propositions; None if unknown."""

    def __init__(self, samples: Samples, values: dict[Free, bool]) -> None:
        self.samples, self.values, self.left = samples, values, MOST_CONNECTIVES

    def of(self, proposition: Expr) -> bool | None:
        self.left -= 1
        if self.left < 0:  # a recursive connective
            return None
        if isinstance(proposition, Free):
            return self.values.get(proposition)
        if proposition in (TRUE, FALSE):
            return proposition == TRUE
        if isinstance(proposition, Binder):
            dummy = free("h", proposition.type)
            result = proposition.at(dummy)
            return None if dummy in result.frees() else implied(self.of(proposition.type), self.of(result))
        head, parts = proposition.spine()
        if head == Const(("Not",)):
            return negated(self.of(parts[0]))
        if head == Const(("Iff",)):
            left, right = map(self.of, parts)
            return None if left is None or right is None else left == right
        cases = self.samples.cases(proposition)
        if cases is None:
            return None
        return disjunction([conjunction([self.of(field) for field in fields]) for fields in cases])


def _refuted(statement: Statement, values: dict[Free, Expr]) -> str:
    hypotheses = [free(f"h_{i}", h.substituted(values)) for i, h in enumerate(statement.given)]
    claim = closed(hypotheses, statement.conclusion.substituted(values)).source()
    fact = "h" + f" (by {_TRUE})" * len(hypotheses)
    return f"(have t : ¬ {claim} := by (intro h; have k := {fact}; {_ABSURD}))"


def at_once(names: Sequence[str]) -> str:
    """A tactic that fails if no single tactic closes the goal, with these functions and theorems at hand."""
    named = ", ".join(names)
    return "intros\nfirst | " + " | ".join(
        [*AT_ONCE, *((f"(simp_all [{named}]; done)", f"grind [{named}]") if named else ())]
    )
