"""Proposals: each mutation, small terms, sample values and names."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

from curricula.conjectures.filters import Novelty, at_once
from curricula.conjectures.laws import constant_results, injective, laws
from curricula.conjectures.mutations import (
    abstracted,
    composed,
    converse,
    fewer_hypotheses,
    mutations,
    other_operations,
    swapped_arguments,
)
from curricula.conjectures.naming import name_for
from curricula.conjectures.samples import Samples
from curricula.conjectures.statements import Statement, instance_of, stated
from curricula.conjectures.terms import Terms, equations
from curricula.conjectures.values import Values
from tests.conjectures.small import ZERO, N, add, equal, law, le, mul, numbers, signature, succ, with_equations

a, b, c = numbers("a b c")
ADD_ZERO = law(add(a, ZERO), a)
ADD_SUCC = law(add(a, succ(b)), succ(add(a, b)))


def forms(statements: Iterable[Statement]) -> set[str]:
    return {s.form for s in statements}


def test_arguments_are_swapped_in_one_place() -> None:
    assert forms(swapped_arguments(signature(), ADD_ZERO)) == {law(add(ZERO, a), a).form}


def test_a_part_is_replaced_by_a_variable() -> None:
    found = forms(abstracted(signature(), law(add(a, succ(ZERO)), succ(a))))
    assert law(add(a, b), succ(a)).form in found
    assert law(add(a, succ(b)), succ(a)).form in found


def test_hypotheses_are_dropped_and_exchanged_with_the_conclusion() -> None:
    cancel = law(a, b, equal(succ(a), succ(b)))
    assert forms(fewer_hypotheses(cancel)) == {law(a, b).form}
    assert forms(converse(cancel)) == {law(succ(a), succ(b), equal(a, b)).form}


def test_other_operations_are_exchanged_consistently() -> None:
    found = forms(other_operations(signature(), law(add(add(a, b), c), add(a, add(b, c)))))
    assert law(mul(mul(a, b), c), mul(a, mul(b, c))).form in found
    assert law(mul(add(a, b), c), mul(a, add(b, c))).form not in found


def test_one_equation_rewrites_another() -> None:
    found = forms(composed(ADD_SUCC, law(add(a, b), add(b, a))))
    assert law(add(succ(b), a), succ(add(a, b))).form in found


def test_every_argument_of_an_operation_may_be_injective() -> None:
    own = signature(ADD_ZERO)
    found = forms(s for o in own.operations for s in injective(o))
    assert law(a, b, equal(add(c, a), add(c, b))).form in found
    assert law(a, b, equal(succ(a), succ(b))).form in found


def test_a_constant_result_may_need_constant_arguments() -> None:
    own = signature(ADD_ZERO)
    found = forms(s for o in own.operations for s in constant_results(own, o))
    assert {law(a, ZERO, equal(add(a, b), ZERO)).form, law(b, ZERO, equal(add(a, b), ZERO)).form} <= found


def test_laws_of_an_own_relation() -> None:
    own = with_equations()
    found = forms(s for kind, s in laws(own) if kind == "relation")
    assert {stated(le(a, a)).form, stated(le(ZERO, a)).form, stated(le(a, c), [le(a, b), le(b, c)]).form} <= found
    assert stated(le(succ(a), succ(b)), [le(a, b)]).form in found
    assert stated(le(add(c, a), add(c, b)), [le(a, b)]).form in found


def test_equal_input_gives_equal_proposals() -> None:
    first, second = (
        [(k, s.form) for k, s in mutations(signature(ADD_ZERO, ADD_SUCC), [ADD_ZERO, ADD_SUCC])] for _ in range(2)
    )
    assert first == second and len(first) > 10


def test_nothing_known_is_new() -> None:
    novelty = Novelty([ADD_ZERO, law(add(a, b), add(b, a))], [law(mul(a, b), mul(b, a))])
    assert not novelty.new(law(a, add(a, ZERO)))
    assert not novelty.new(law(add(b, add(a, ZERO)), add(a, b)))  # from two of them
    assert not novelty.new(law(mul(b, c), mul(c, b)))
    assert not novelty.new(law(a, a))
    assert novelty.new(law(mul(a, ZERO), ZERO))


def test_terms_are_well_typed_and_of_their_size() -> None:
    own = signature(ADD_SUCC)
    terms = Terms(own, 0)
    sizes = [len(terms.of(N, size)) for size in (1, 2, 3)]
    variables = len(terms.variables[N]) + 1  # and zero
    assert sizes == [variables, variables, variables + 2 * variables**2]
    assert all(own.infer(t) == N for t in terms.of(N, 3))
    assert len({t for t, _, _ in terms.all(lambda _: False)}) > 100


def test_sample_values_tell_variables_apart() -> None:
    samples = Samples(signature())
    assert len(samples.of(N)) >= 4
    drawn = samples.valuations([a, b, c], 8, random.Random(0))
    assert len(drawn) > 4 and any(len({v[a], v[b], v[c]}) == 3 for v in drawn)


def test_names_follow_the_library() -> None:
    own = signature()
    assert name_for(own, law(add(a, b), add(b, a)), ()) == "add_comm"
    assert name_for(own, law(add(add(a, b), c), add(a, add(b, c))), ()) == "add_assoc"
    assert name_for(own, law(add(a, b), add(b, a)), {"add_comm"}) == "add_comm_2"
    assert name_for(own, law(add(ZERO, a), a), ()) == "zero_add"
    assert name_for(own, law(add(a, ZERO), a), ()) == "add_zero"
    assert name_for(own, law(succ(add(a, b)), add(succ(a), b)), ()).startswith("succ_add")


def test_one_tactic_may_use_what_is_known() -> None:
    assert "simp_all [foo]" in at_once(["foo"]) and "grind [foo]" in at_once(["foo"])
    assert "[" not in at_once([])


def test_equations_are_found_without_lean_for_functions_with_equations() -> None:
    own = with_equations()
    found = forms(asyncio.run(equations(None, Terms(own, 0), [ADD_ZERO, ADD_SUCC], 0)))  # type: ignore[arg-type]
    assert {
        law(add(ZERO, a), a).form,
        law(add(succ(a), b), succ(add(a, b))).form,
        law(add(a, b), add(b, a)).form,
    } <= found
    assert {law(mul(a, b), mul(b, a)).form, law(mul(a, add(b, c)), add(mul(a, b), mul(a, c))).form} <= found
    assert law(add(add(a, b), c), add(a, add(b, c))).form in found
    values = Values(Samples(own))
    assert all(values.holds(s) for s in asyncio.run(equations(None, Terms(own, 1), [], 0)))  # type: ignore[arg-type]


def test_no_equation_is_an_instance_of_another() -> None:
    found = asyncio.run(equations(None, Terms(with_equations(), 0), [], 0))  # type: ignore[arg-type]
    assert len(found) > 5
    for place, statement in enumerate(found):
        assert not any(instance_of(statement, earlier) for earlier in found[:place])
