"""Proposes statements related to one that is hard to prove: special cases, parts, simpler statements, and some with a further hypothesis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from curricula.conjectures import mutations
from curricula.conjectures.expressions import FALSE, LEVEL_0, NAT, PROP, TRUE, Binder, Const, Expr, Free, Number, free
from curricula.conjectures.samples import Samples
from curricula.conjectures.signature import Signature
from curricula.conjectures.statements import Statement

_NUMERAL_0, _NUMERAL_1 = (
    Const(("OfNat", "ofNat"), (LEVEL_0,)).apply(NAT, Number(n), Const(("instOfNatNat",)).apply(Number(n)))
    for n in (0, 1)
)


def relatives(
    signature: Signature, statement: Statement, usable: Sequence[Statement]
) -> dict[str, Iterator[Statement]]:
    """Statements by kind of change. `usable`: known theorems by which the statement is rewritten.

    Only special cases, cases of hypotheses and further hypotheses of a true statement are always true.
    """
    samples = Samples(signature)
    return {
        "special case": special_cases(samples, statement),
        "induction step": induction_steps(samples, statement),
        "case of a hypothesis": hypothesis_cases(signature, samples, statement),
        "part of the conclusion": conclusion_parts(signature, samples, statement),
        "further hypothesis": further_hypotheses(signature, statement),
        "simplified": simplified(signature, statement),
        "fewer hypotheses": mutations.fewer_hypotheses(statement),
        "converse": mutations.converse(statement),
        "swapped arguments": mutations.swapped_arguments(signature, statement),
        "abstracted": mutations.abstracted(signature, statement),
        "other operations": mutations.other_operations(signature, statement),
        "rewritten": (new for known in usable for new in mutations.composed(statement, known)),
    }


def _data(statement: Statement) -> list[Free]:
    """The variables that are not hypotheses and that no other variable's type mentions."""
    return [v for v in statement.data if not any(v in w.type.frees() for w in statement.data)]


def _at(statement: Statement, variable: Free, value: Expr) -> Statement:
    """The statement with a value for a variable."""
    conclusion, *hypotheses = [e.substituted({variable: value}) for e in statement.parts]
    return mutations.restated(statement, conclusion, hypotheses)


def special_cases(samples: Samples, statement: Statement) -> Iterator[Statement]:
    """The statement with two variables identified, and with each constructor of a variable's type in place of the variable."""
    data = _data(statement)
    for i, variable in enumerate(data):
        for other in data[:i]:
            if other.type == variable.type:
                yield _at(statement, variable, other)
        for value, _ in _values(samples, variable):
            yield _at(statement, variable, value)


def _values(samples: Samples, variable: Free) -> Iterator[tuple[Expr, list[Free]]]:
    """(a constructor applied to new variables, those of them that have the same type as the whole)."""
    if variable.type == PROP:
        yield from ((value, []) for value in (TRUE, FALSE))
    elif variable.type == NAT:  # as people write numbers
        smaller = free(variable.name, NAT)
        plus = Const(("HAdd", "hAdd"), (LEVEL_0,) * 3).apply(NAT, NAT, NAT)
        instance = Const(("instHAdd",), (LEVEL_0,)).apply(NAT, Const(("instAddNat",)))
        yield _NUMERAL_0, []
        yield plus.apply(instance, smaller, _NUMERAL_1), [smaller]
    else:
        for constructor, types in samples.constructors(variable.type):
            fields = [free(variable.name if t == variable.type else "x", t) for t in types]
            yield constructor.apply(*fields), [f for f in fields if f.type == variable.type]


def induction_steps(samples: Samples, statement: Statement) -> Iterator[Statement]:
    """For each constructor of a variable's type that contains smaller values: the statement about it, with the statement about these as
    hypotheses."""
    for variable in _data(statement):
        if any(variable in h.frees() for h in statement.given):
            continue
        for value, smaller in _values(samples, variable):
            if smaller:
                known = [statement.conclusion.substituted({variable: x}) for x in smaller]
                new = statement.conclusion.substituted({variable: value})
                yield mutations.restated(statement, new, [*statement.given, *known])


def _implication(signature: Signature, proposition: Expr) -> tuple[Expr, Expr] | None:
    """(premise, result) of `premise → result`."""
    if not isinstance(proposition, Binder) or not signature.is_proposition(proposition.type):
        return None
    proof = free("h", proposition.type)
    result = proposition.at(proof)
    return None if proof in result.frees() else (proposition.type, result)


def hypothesis_cases(signature: Signature, samples: Samples, statement: Statement) -> Iterator[Statement]:
    """The statement with a hypothesis replaced by the parts of one of its cases, or, for an implication, by its result."""
    hypotheses = statement.given
    for i, hypothesis in enumerate(hypotheses):
        rest = [*hypotheses[:i], *hypotheses[i + 1 :]]
        for parts in samples.cases(hypothesis) or ():
            yield mutations.restated(statement, statement.conclusion, [*rest, *parts])
        if (implication := _implication(signature, hypothesis)) is not None:
            yield mutations.restated(statement, statement.conclusion, [*rest, implication[1]])


def conclusion_parts(signature: Signature, samples: Samples, statement: Statement) -> Iterator[Statement]:
    """The statement with a part of the conclusion as its conclusion, or with the premise of a hypothesis, which applying that leaves open."""
    for parts in samples.cases(statement.conclusion) or ():
        for part in parts:
            yield mutations.restated(statement, part)
    for hypothesis in statement.given:
        if (implication := _implication(signature, hypothesis)) is not None:
            yield mutations.restated(statement, implication[0])


def _propositions(signature: Signature, statement: Statement) -> list[Expr]:
    """The propositions in the statement that mention no bound variable."""
    parts = dict.fromkeys(p for e in statement.parts for p in e.subterms())
    return [p for p in parts if not p.is_loose() and signature.is_proposition(p)]


def _components(signature: Signature, proposition: Expr) -> list[Expr]:
    """The direct parts of a proposition that are propositions."""
    if (implication := _implication(signature, proposition)) is not None:
        return list(implication)
    return [a for a in proposition.spine()[1] if signature.is_proposition(a)]


def simplified(signature: Signature, statement: Statement) -> Iterator[Statement]:
    """The statement with a proposition replaced everywhere by one of its components."""
    for proposition in _propositions(signature, statement):
        for component in _components(signature, proposition):
            conclusion, *hypotheses = [e.replaced(proposition, component) for e in statement.parts]
            yield mutations.restated(statement, conclusion, hypotheses)


def further_hypotheses(signature: Signature, statement: Statement) -> Iterator[Statement]:
    """The statement with one of its parts as a further hypothesis."""
    for proposition in _propositions(signature, statement):
        if proposition not in statement.parts:
            yield mutations.restated(statement, statement.conclusion, [*statement.given, proposition])
