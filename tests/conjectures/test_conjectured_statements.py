"""Statements as data: the export, source text, equality up to renaming and symmetry, instances, and rewriting."""

from __future__ import annotations

import pytest

from curricula.conjectures.expressions import Binder, Const, NotExpressible, Opaque, Var, constants_of
from curricula.conjectures.statements import Rules, instance_of, opened
from tests.conjectures.small import ZERO, N, add, equal, law, mul, numbers, succ

ENTRIES = [
    ["n", "N"],
    ["l", "z"],
    ["l", "s", 0],
    ["e", "s", 1],
    ["d", "axiom", 0, [], 0],
    ["n", "t"],
    ["n", "n"],
    ["n", "Eq"],
    ["e", "c", 0, []],
    ["e", "c", 3, [1]],
    ["e", "a", 2, 1],
    ["e", "b", 0],
    ["e", "a", 3, 4],
    ["e", "a", 5, 4],
    ["e", "P", 2, 0, 1, 6],
    ["n", "sorryAx"],
    ["e", "c", 4, []],
    ["d", "theorem", 1, [], 7, 8],
]


def test_an_export_gives_types_and_says_which_proofs_are_open() -> None:
    constants = constants_of(ENTRIES)
    theorem = constants[("t",)]
    assert theorem.open and theorem.kind == "theorem"
    assert theorem.type == Binder(False, "n", 0, Const(("N",)), equal(Var(0), Var(0)))
    assert theorem.type.source() == "(∀ (n : @_root_.N), (@_root_.Eq.{(0+1)} @_root_.N n n))"


@pytest.mark.parametrize("entry", [["e", "a", 99, 0], ["d", "theorem", 0], ["x"], ["e", "c", 99, []], 3])
def test_an_export_of_another_form_is_refused(entry: object) -> None:
    with pytest.raises(ValueError):
        constants_of([*ENTRIES, entry])  # type: ignore[list-item]


def test_an_expression_that_is_huge_as_a_tree_is_not_looked_into() -> None:
    doubled = [["e", "a", i, i] for i in range(8, 60)]
    entries = [*ENTRIES, *doubled, ["n", "huge"], ["d", "axiom", 5, [], 8 + len(doubled)]]
    assert isinstance(constants_of(entries)[("huge",)].type, Opaque)


@pytest.mark.parametrize("name", [("_private", "M", 0, "x"), ("a»b",), ("a\nb",), ()])
def test_names_that_cannot_be_written_are_not_written(name: tuple[str | int, ...]) -> None:
    with pytest.raises(NotExpressible):
        Const(name).source()


def test_binders_that_hide_each_other_get_other_names() -> None:
    inner = Binder(False, "n", 0, N, equal(Var(0), Var(1)))
    assert Binder(False, "n", 0, N, inner).source().count("n_1") == 2


def test_forms_are_equal_up_to_names_order_and_symmetry() -> None:
    a, b, c = numbers("a b c")
    assert law(add(a, b), add(b, a)).form == law(add(c, a), add(a, c)).form
    assert law(add(a, ZERO), a).form == law(b, add(b, ZERO)).form
    assert law(a, b, equal(b, c), equal(a, c)).form == law(a, b, equal(a, c), equal(b, c)).form
    assert law(add(a, ZERO), a).form != law(add(ZERO, a), a).form
    assert law(add(a, b), add(b, a)).form != law(add(a, a), add(a, a)).form


def test_instances_up_to_symmetry_and_weaker_hypotheses() -> None:
    a, b, c = numbers("a b c")
    comm = law(add(a, b), add(b, a))
    assert instance_of(law(add(succ(c), ZERO), add(ZERO, succ(c))), comm)
    assert not instance_of(law(add(a, b), add(a, b)), law(add(a, a), add(a, a)))
    cancel = law(a, b, equal(succ(a), succ(b)))
    assert instance_of(law(c, ZERO, equal(succ(c), succ(ZERO)), equal(c, c)), cancel)
    assert not instance_of(law(c, ZERO), cancel)


def test_opening_and_closing_a_statement_gives_it_back() -> None:
    a, b = numbers("a b")
    statement = law(a, b, equal(succ(a), succ(b)))
    assert opened(statement.expr).expr == statement.expr
    assert len(opened(statement.expr).hypotheses) == 1


def test_rules_decide_equations_without_loops() -> None:
    a, b, c = numbers("a b c")
    rules = Rules()
    rules.add(law(add(a, b), add(b, a)))
    rules.add(law(add(a, ZERO), a))
    assert rules.join(law(add(ZERO, mul(b, c)), mul(b, c)))
    assert rules.join(law(add(add(a, b), c), add(c, add(b, a))))
    assert not rules.join(law(add(add(a, b), c), add(a, add(b, c))))
    assert rules.reduce(add(mul(a, b), ZERO)) and not rules.reduce(mul(a, ZERO))
