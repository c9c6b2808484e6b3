"""Statements beside a hard one: each kind of change, and the truth values that refute some of them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from curricula.conjectures.expressions import FALSE, TRUE, Const, Constant, Expr, Free, closed, free
from curricula.conjectures.filters import false_for_truth_values
from curricula.conjectures.relatives import (
    conclusion_parts,
    further_hypotheses,
    hypothesis_cases,
    induction_steps,
    relatives,
    simplified,
    special_cases,
)
from curricula.conjectures.samples import Samples
from curricula.conjectures.signature import Signature
from curricula.conjectures.statements import Statement, stated
from tests.conjectures.small import PROP, ZERO, add, arrow, equal, law, numbers, signature, succ

a, b = numbers("a b")


def propositions(names: str) -> list[Free]:
    return [free(name, PROP) for name in names.split()]


p, q, r = propositions("p q r")


def logic() -> Signature:
    """Own connectives: Both, Either and Never."""
    x, y = propositions("p q")

    def about(name: str, fields: list[Expr]) -> Expr:
        return closed([x, y], arrow(*fields, Const((name,)).apply(x, y)))

    constants = [
        *(Constant((name,), "inductive", (), arrow(PROP, PROP, PROP)) for name in ("Both", "Either")),
        Constant(("Never",), "inductive", (), PROP),
        Constant(("Both", "mk"), "constructor", (), about("Both", [x, y])),
        Constant(("Either", "left"), "constructor", (), about("Either", [x])),
        Constant(("Either", "right"), "constructor", (), about("Either", [y])),
    ]
    return Signature([], {k.name: k for k in constants})


def both(x: Expr, y: Expr) -> Expr:
    return Const(("Both",)).apply(x, y)


def either(x: Expr, y: Expr) -> Expr:
    return Const(("Either",)).apply(x, y)


NEVER = Const(("Never",))
LOGIC = logic()
SAMPLES = Samples(LOGIC)


def forms(statements: Iterable[Statement]) -> set[str]:
    return {s.form for s in statements}


def test_special_cases_identify_variables_and_split_by_constructors() -> None:
    found = forms(special_cases(Samples(signature()), law(add(a, b), add(b, a))))
    n = numbers("n")[0]
    assert law(add(a, a), add(a, a)).form in found
    assert law(add(ZERO, b), add(b, ZERO)).form in found and law(add(succ(n), b), add(b, succ(n))).form in found
    assert len(found) == 3, "either variable at zero, or at succ: the same up to names and symmetry"
    told = forms(special_cases(SAMPLES, stated(p, [either(p, q)])))
    assert {stated(p, [either(p, p)]).form, stated(TRUE, [either(TRUE, q)]).form} <= told


def test_an_induction_step_has_the_statement_about_the_smaller_value_as_a_hypothesis() -> None:
    found = forms(induction_steps(Samples(signature()), law(add(ZERO, a), a)))
    assert found == {law(add(ZERO, succ(b)), succ(b), equal(add(ZERO, b), b)).form}
    assert not list(induction_steps(Samples(signature()), law(a, b, equal(succ(a), succ(b)))))


def test_hypotheses_are_split_into_cases_and_applied() -> None:
    found = forms(hypothesis_cases(LOGIC, SAMPLES, stated(r, [either(p, q), arrow(p, r)])))
    assert stated(r, [p, arrow(p, r)]).form in found and stated(r, [q, arrow(p, r)]).form in found
    assert stated(r, [either(p, q), r]).form in found
    parts = forms(conclusion_parts(LOGIC, SAMPLES, stated(both(p, q), [arrow(r, p)])))
    assert parts == {s.form for s in (stated(p, [arrow(r, p)]), stated(q, [arrow(r, p)]), stated(r, [arrow(r, p)]))}


def test_a_proposition_becomes_one_of_its_components_everywhere() -> None:
    found = forms(simplified(LOGIC, stated(both(p, q), [either(both(p, q), r)])))
    assert stated(p, [either(p, r)]).form in found and stated(both(p, q), [both(p, q)]).form in found


def test_parts_of_a_statement_become_hypotheses() -> None:
    found = forms(further_hypotheses(LOGIC, stated(either(p, q), [arrow(r, p)])))
    assert stated(either(p, q), [arrow(r, p), r]).form in found and len(found) == 3


def test_special_cases_and_further_hypotheses_of_a_true_statement_are_true() -> None:
    true = stated(either(both(p, q), both(p, r)), [both(p, either(q, r))])
    assert not false_for_truth_values(SAMPLES, true)
    kinds = relatives(LOGIC, true, [])
    sure = [s for kind in ("special case", "case of a hypothesis", "further hypothesis") for s in kinds[kind]]
    assert len(sure) > 10 and not any(false_for_truth_values(SAMPLES, s) for s in sure)


@pytest.mark.parametrize(
    ("statement", "false"),
    [
        (stated(both(p, q), [either(p, q)]), True),
        (stated(either(p, q), [both(p, q)]), False),
        (stated(NEVER, [arrow(p, NEVER)]), True),
        (stated(arrow(arrow(p, FALSE), NEVER), [p]), False),
        (stated(p, [arrow(arrow(p, q), p)]), False),  # classically true: whether it has a proof is left open
        (stated(p, [Const(("Unknown",)).apply(p)]), False),
        (law(add(a, b), a), False),  # about data
    ],
)
def test_truth_values_refute(statement: Statement, false: bool) -> None:
    assert false_for_truth_values(SAMPLES, statement) is false


def test_a_recursive_connective_is_not_evaluated() -> None:
    x = propositions("p")[0]
    loop = Const(("Loop",)).apply(x)
    constants = {
        ("Loop",): Constant(("Loop",), "inductive", (), arrow(PROP, PROP)),
        ("Loop", "mk"): Constant(("Loop", "mk"), "constructor", (), closed([x], arrow(loop, loop))),
    }
    statement = stated(NEVER, [Const(("Loop",)).apply(p)])
    assert not false_for_truth_values(Samples(Signature([], constants)), statement)
