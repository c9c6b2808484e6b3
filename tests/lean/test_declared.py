"""What a reference asks of a candidate, on synthetic reports without Lean."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from prover.lean.declared import (
    EXAMPLE,
    Command,
    Declaration,
    Head,
    NameParts,
    Report,
    declared,
    name_of,
    obligations,
    shown,
    user_name,
)

many = settings(max_examples=300, deadline=None)
THEOREM = "Lean.Parser.Command.theorem"

parts = st.sampled_from(["A", "B", "t", "f", "with.dot", "_root_x", "«"])
names = st.lists(parts, min_size=1, max_size=3).map(tuple)


def command(
    number: int, name: NameParts, namespace: NameParts = (), private: bool = False, more: tuple[str, ...] = ()
) -> Command:
    """A theorem of that name, in that namespace, with `more` constants that elaboration made for it."""
    full = (*(("_private", "M", 0) if private else ()), *namespace, *name)
    new = (full, *((*full, m) for m in more))
    return Command(number, number + 1, "c", (Head(THEOREM, name, 0),), (), new, (full,), (), (), (), (), "")


def example(number: int, namespace: NameParts = ()) -> Command:
    name = (*namespace, "_example", number)
    return Command(number, number + 1, "c", (Head(EXAMPLE, (), 0),), (), (), (), (), (name,), (), (), "")


def report(commands: list[Command]) -> Report:
    return Report((), tuple(commands), [])


@st.composite
def texts(draw: st.DrawFn) -> list[Command]:
    """Theorems of different names, and examples, in namespaces."""
    found: list[Command] = []
    seen: set[NameParts] = set()
    for number in range(draw(st.integers(0, 8))):
        namespace = draw(st.sampled_from([(), ("N",), ("N", "M")]))
        if draw(st.booleans()):
            found.append(example(number, namespace))
            continue
        one = command(
            number,
            draw(names),
            namespace,
            draw(st.booleans()),
            draw(st.sampled_from([(), ("match_1",), ("_proof_1", "eq_1")])),
        )
        if one.new[0] not in seen:
            seen.add(one.new[0])
            found.append(one)
    return found


def asked_of(
    commands: list[Command], others: list[Command]
) -> tuple[dict[NameParts, tuple[NameParts, ...]], list[Declaration]]:
    asked, besides = obligations(report(commands), report(others))
    return {o.asked.name: o.offered for o in asked}, besides


@given(texts())
@many
def test_everything_is_declared_once_in_its_order(commands):
    found = declared(report(commands))
    assert [d.name for d in found] == [n for c in commands for n in (*c.written, *c.examples)]
    assert all(d.example == (not d.command.written) for d in found)


@given(texts())
@many
def test_a_text_satisfies_itself(commands):
    asked, besides = asked_of(commands, commands)
    assert list(asked) == [d.name for d in declared(report(commands))]
    assert all(name in offered for name, offered in asked.items())
    assert not [d for d in besides if not d.example]


@given(texts(), texts())
@many
def test_nothing_is_left_out_on_either_side(reference, candidate):
    asked, besides = asked_of(reference, candidate)
    assert list(asked) == [d.name for d in declared(report(reference))]
    judged = {d.name for d in besides} | {name for offered in asked.values() for name in offered}
    assert {d.name for d in declared(report(candidate))} <= judged
    assert max(Counter(d.name for d in besides).values(), default=1) == 1


@given(texts(), texts())
@many
def test_a_name_is_met_by_that_name_alone_and_an_example_by_examples_of_its_place(reference, candidate):
    there = {d.name: d for d in declared(report(candidate))}
    for d in declared(report(reference)):
        offered = asked_of(reference, candidate)[0][d.name]
        if not d.example:
            assert offered == (d.name,)
        else:
            assert all(there[name].example and name[:-2] == d.name[:-2] for name in offered)


@given(texts(), st.data())
@many
def test_dropped_declarations_are_still_required(commands, data):
    left = list(commands)
    if left:
        del left[data.draw(st.integers(0, len(left) - 1))]
    before, after = asked_of(commands, commands)[0], asked_of(commands, left)[0]
    assert before.keys() == after.keys()
    gone = {d.name for d in declared(report(commands))} - {d.name for d in declared(report(left))}
    assert all(name not in offered for name in gone for asked, offered in after.items() if asked != name)


@given(texts(), st.data())
@many
def test_added_theorems_move_no_example(commands, data):
    """Theorems that are not asked for move no example; examples may be added."""
    more = list(commands)
    for i in range(data.draw(st.integers(1, 4))):
        one = command(100 + i, (f"new{i}",), ("N",)) if data.draw(st.booleans()) else example(100 + i, ("N",))
        more.insert(data.draw(st.integers(0, len(more))), one)
    asked, besides = asked_of(commands, more)
    assert all(name in offered for name, offered in asked.items())
    assert {d.name for d in declared(report(more))} - asked.keys() <= {d.name for d in besides}


@given(texts(), st.data())
@many
def test_a_declaration_moved_to_a_new_namespace_is_not_the_one_asked_for(commands, data):
    """What is moved into a namespace is no longer what was asked for, an example neither."""
    if not commands:
        return
    at = data.draw(st.integers(0, len(commands) - 1))
    one = commands[at]
    moved = list(commands)
    moved[at] = (
        example(one.number, ("Elsewhere",)) if one.examples else command(one.number, one.heads[0].name, ("Elsewhere",))
    )
    asked, _ = asked_of(commands, moved)
    new = declared(report([moved[at]]))[0].name
    assert all(new not in offered for offered in asked.values())


@given(names, names, st.booleans(), st.lists(st.sampled_from(["match_1", "_proof_1", "t"]), max_size=3, unique=True))
@many
def test_a_head_finds_its_constant_among_what_was_made_for_it(namespace, name, private, more):
    one = command(0, name, namespace, private, tuple(more))
    assert name_of(one.heads[0], one.new) == one.new[0]
    rooted = Head(THEOREM, ("_root_", *name), 0)
    assert name_of(rooted, [name, (*name, "match_1")]) == name


@given(names)
@many
def test_private_names_are_shown_as_written(name):
    private = ("_private", "Some", "Module", 0, *name)
    assert user_name(private) == name
    assert shown(private) == shown(name)


@given(names, names)
@many
def test_different_names_look_different(one, other):
    assert (shown(one) == shown(other)) == (one == other)


def test_an_instance_without_a_name_is_declared_by_what_lean_called_it():
    head = Head("Lean.Parser.Command.instance", (), 0)
    made = (("N", "instAddP"), ("N", "instAddP", "match_1"))
    one = Command(0, 1, "c", (head,), (), made, made[:1], (), (), (), (), "")
    assert [d.name for d in declared(report([one]))] == [made[0]]


def test_a_shown_name_can_be_written_in_lean():
    plain = ("theorem'", "foo_1!?", "α₁", "ℕ", "é", "𝒜", "_x")
    assert [shown((name,)) for name in plain] == list(plain)
    odd = ("at", "theorem", "a,b", "λ", "a(b", "my thm", "1", "", "a.b")
    assert [shown((name,)) for name in odd] == [f"«{name}»" for name in odd]
