"""What a lemma is worth, and the library as a file."""

from __future__ import annotations

import pytest

from curricula.conjectures.measure import Costs, Worth
from curricula.conjectures.signature import Known
from curricula.conjectures.worlds import found_again, textbook, world_file
from prover.errors import UserError
from prover.lean.text import parse
from prover.solve.job import Found
from prover.solve.lemmas import Lemma, block, inserted, joined, read_lemmas, with_only, without_unused
from tests.conjectures.small import ZERO, add, law, mul, numbers, with_equations

FIRST = Lemma(
    "zero_add", "(n : N) : 0 + n = n", "induction n with\n| zero => rfl\n| succ n ih => rw [add_succ, ih]", "Found."
)
SECOND = Lemma("use", "(n : N) : 0 + n = n", "exact zero_add n")


def test_a_lemma_that_the_others_replace_is_redundant() -> None:
    def redundancy(alone: int, last: int) -> float:
        return Worth(alone, last, 0, 1).redundancy

    assert redundancy(100, 100) == 0
    assert redundancy(100, 25) == 0.75
    assert redundancy(100, -5) == 1
    assert redundancy(0, 0) == 0
    assert Worth(alone=100, last=50, own=30, uses=1).worth == 20
    assert Worth(alone=100, last=0, own=30, uses=1).worth == -30
    assert Worth(alone=0, last=80, own=30, uses=1).worth == 50  # helps only together with others


def test_a_goal_without_a_proof_costs_its_budget() -> None:
    costs = Costs(
        (Found("found", "simp [foo]", 3), Found("budget", lean_calls=70), Found("exhausted", lean_calls=9)), 64
    )
    assert costs.calls == [3, 64, 64] and costs.solved == 1 and costs.uses("foo") == 1 and costs.uses("fo") == 0


def test_a_lemma_pays_if_a_proof_uses_it_and_it_saves_calls() -> None:
    assert Worth(alone=10, last=0, own=500, uses=1).pays
    assert not Worth(alone=10, last=0, own=500, uses=0).pays
    assert not Worth(alone=-3, last=0, own=1, uses=2).pays


def test_a_library_is_read_as_it_was_written() -> None:
    text = parse(joined("inductive N", []).encode() + block([FIRST, SECOND]).encode(), "lib.lean")
    assert read_lemmas(text) == [FIRST, SECOND]


@pytest.mark.parametrize("source", ["", "theorem a : True := trivial", block([FIRST]).partition("induction")[0]])
def test_another_file_is_no_library(source: str) -> None:
    with pytest.raises(UserError, match=r"lib\.lean"):
        read_lemmas(parse(source.encode(), "lib.lean"))


def test_lemmas_are_inserted_before_the_goals() -> None:
    text = parse("import Init\n-- ⊢\n\ndef x := 1\n\ntheorem t : True := by\n  sorry\n".encode(), "f.lean")
    new = inserted(text, text.text.encode().index(b"\n\ntheorem"), [FIRST])
    assert new.imports == text.imports
    assert with_only(new.text, [FIRST], []) == text.text
    assert new.text.index("def x") < new.text.index("theorem zero_add") < new.text.index("theorem t")


def test_the_library_is_minimal() -> None:
    third = Lemma("idle", ": True", "trivial")
    assert without_unused([FIRST, third, SECOND], ["use"]) == [FIRST, SECOND]


def test_a_world_is_a_file_of_definitions_and_goals() -> None:
    text = world_file("peano", 3, 1)
    assert text == world_file("peano", 3, 1) != world_file("peano", 3, 2)
    assert text.text.count("sorry") == 3 and "theorem add_comm" not in text.text and "theorem add_succ" in text.text
    assert "theorem add_comm" in textbook("peano")
    with pytest.raises(UserError, match="choose one of peano, sequences"):
        world_file("logic", 1, 0)


def test_a_textbook_is_compared_with_a_library() -> None:
    a, b, c = numbers("a b c")
    own = with_equations(law(add(a, ZERO), a))
    textbook = [
        Known((name,), statement, True)
        for name, statement in {
            "given": law(add(b, ZERO), b),
            "comm": law(add(a, b), add(b, a)),
            "zero_add": law(add(ZERO, a), a),
            "mul_comm": law(mul(a, b), mul(b, a)),
        }.items()
    ]
    found = found_again(own, textbook, [law(add(c, b), add(b, c))])
    assert found == {"found": ["comm"], "follows": ["zero_add"], "missing": ["mul_comm"]}
