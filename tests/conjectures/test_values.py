"""Values of terms by a file's own equations, the order of terms, and proofs by induction."""

from __future__ import annotations

from curricula.conjectures.expressions import Const, Expr
from curricula.conjectures.induction import Related
from curricula.conjectures.order import path_order
from curricula.conjectures.samples import Samples
from curricula.conjectures.statements import Rules, stated
from curricula.conjectures.values import Values
from tests.conjectures.small import PROP, ZERO, add, equal, law, le, mul, numbers, signature, succ, with_equations

a, b, c = numbers("a b c")
OWN = with_equations(law(add(a, ZERO), a))
VALUES = Values(Samples(OWN))


def number(n: int) -> Expr:
    return succ(number(n - 1)) if n else ZERO


def test_terms_are_computed_with_the_equations_of_their_functions() -> None:
    assert VALUES.of(mul(number(3), number(2)), {}) == VALUES.of(number(6), {})
    assert VALUES.of(add(a, b), {a: VALUES.of(number(1), {}), b: VALUES.of(number(4), {})}) == VALUES.of(number(5), {})


def test_statements_are_tried_on_small_values() -> None:
    assert VALUES.holds(law(add(a, b), add(b, a))) is True
    assert VALUES.holds(law(mul(a, b), add(a, b))) is False
    assert VALUES.holds(law(b, c, equal(add(a, b), add(a, c)))) is True
    assert VALUES.holds(law(b, c, equal(mul(a, b), mul(a, c)))) is False, "both are 0 for a = 0"
    assert VALUES.holds(law(a, b, equal(succ(a), ZERO))) is False, "its hypothesis never holds"


def test_relations_are_unfolded_and_witnesses_looked_for() -> None:
    assert VALUES.holds(stated(le(a, succ(a)))) is True
    assert VALUES.holds(stated(le(succ(a), a))) is False
    assert VALUES.holds(stated(le(a, c), [le(a, b), le(b, c)])) is True
    assert VALUES.holds(stated(le(b, a), [le(a, b)])) is False


def test_what_has_no_equations_is_not_known() -> None:
    bare = Values(Samples(signature()))
    assert bare.holds(law(add(a, b), add(b, a))) is None
    assert VALUES.holds(stated(Const(("Odd",)).apply(a))) is None
    assert VALUES.holds(stated(Const(("Not",)).apply(equal(succ(a), ZERO)))) is True
    p = Const(("And",)).apply(equal(a, a), equal(a, ZERO))
    assert VALUES.holds(stated(p)) is False and PROP not in VALUES.signature.library


def test_equations_reduce_towards_earlier_functions() -> None:
    less = path_order(OWN, variables=False)
    assert less(add(mul(a, b), mul(a, c)), mul(a, add(b, c))), "distributed, although it is longer"
    assert less(succ(add(a, b)), add(succ(a), b)) and less(add(a, add(b, c)), add(add(a, b), c))
    assert not less(add(a, b), add(b, a)) and not less(add(b, a), add(a, b))
    total = path_order(OWN)
    assert total(add(a, b), add(b, a)) != total(add(b, a), add(a, b))
    rules = Rules(total)
    rules.add(law(mul(a, add(b, c)), add(mul(a, b), mul(a, c))))
    assert rules.join(law(mul(c, add(a, add(b, b))), add(mul(c, a), add(mul(c, b), mul(c, b)))))


def test_induction_is_on_the_variable_that_functions_recurse_on_with_related_theorems() -> None:
    related = Related(OWN)
    related.add("add_zero", law(add(a, ZERO), a))
    related.add("mul_comm", law(mul(a, b), mul(b, a)))
    first, second = related.inductions(law(add(ZERO, b), b))
    assert (first, second) == tuple(f"induction b <;> {t} [N.add, add_zero]" for t in ("simp_all", "grind"))
    assert "mul_comm" in related.names(law(mul(a, b), ZERO)) and "add_zero" in related.names(law(mul(a, b), ZERO))
    assert related.inductions(law(succ(a), succ(b))) == []


def test_a_proof_names_no_theorem_in_vain() -> None:
    related = Related(OWN)
    related.add("add_zero", law(add(a, ZERO), a))
    related.add("zero_add", law(add(ZERO, a), a))
    script = "induction b <;> simp_all [N.add, add_zero, zero_add]"
    assert related.without_idle(script, frozenset({"zero_add"})) == "induction b <;> simp_all [N.add, zero_add]"
