"""Statements that leave an answer open, as `answer(sorry)` does."""

from __future__ import annotations

import pytest

from prover.solve.ledger import theorem_from_json, theorem_json
from prover.solve.negation import negation
from prover.solve.theorem_rows import theorem_of_row

OPEN_ANSWERS = [
    ("theorem t : answer(sorry) ↔ ∀ n : Nat, n = n := by sorry", ": ∀ n : Nat, n = n", "", "proposition"),
    ("theorem t (n : Nat) : n = n ↔ answer( sorry ) := by sorry", "(n : Nat) : n = n", "", "proposition"),
    ("theorem t : (answer(sorry)) ↔ 1 = 1 := by sorry", ": 1 = 1", "", "proposition"),
    ("theorem t : ((answer(sorry) : Prop) ↔ 1 = 1) := sorry", ": ((_root_.True : Prop) ↔ 1 = 1)", "", "proposition"),
    (
        "abbrev t_solution : Prop := sorry\n-- True\ntheorem t : 1 = 1 ↔ t_solution := sorry",
        ": 1 = 1",
        "abbrev t_solution : Prop := _root_.True",
        "proposition",
    ),
    ("theorem t : 2 = answer(sorry) := by sorry", ": ∀ answer_1, 2 = answer_1", "", "data"),
    (
        "theorem t (x : Nat) : answer(sorry) = answer(sorry) := by sorry",
        "(x : Nat) : ∀ answer_1 answer_2, answer_1 = answer_2",
        "",
        "data",
    ),
    (
        "theorem t (x : Nat) (h : x = answer(sorry)) : x = x := by sorry",
        ": ∀ answer_1, ∀ (x : Nat) (h : x = answer_1), (x = x)",
        "",
        "data",
    ),
    (
        "noncomputable abbrev t_solution : Nat → Nat := sorry\n/-- It. -/\ntheorem t (x : Nat) : x = t_solution x := sorry",
        "(x : Nat) : x = t_solution x",
        "variable (t_solution : Nat → Nat)",
        "data",
    ),
    (
        "def holds (n : Nat) : Prop := by sorry\ntheorem t : holds 1 := sorry",
        ": holds 1",
        "variable (holds : ∀ (n : Nat), Prop)",
        "data",
    ),
    ("theorem t : answer(True) ↔ 1 = 1 := by sorry", ": (True) ↔ 1 = 1", "", ""),
    ("theorem t : answer(f (2)) = 1 := by sorry", ": (f (2)) = 1", "", ""),
    (
        "def answer (n : Nat) := n\ntheorem t : answer(3) = 3 := by sorry",
        ": answer(3) = 3",
        "def answer (n : Nat) := n",
        "",
    ),
    # Names that the source has are not taken.
    (
        "theorem t (answer_1 : Nat) : answer_1 = answer(sorry) := by sorry",
        "(answer_1 : Nat) : ∀ answer_2, answer_1 = answer_2",
        "",
        "data",
    ),
    (
        "theorem t : ∃ answer_1 : Nat, answer_1 = answer(sorry) := by sorry",
        ": ∀ answer_2, ∃ answer_1 : Nat, answer_1 = answer_2",
        "",
        "data",
    ),
    # A condition is no question.
    (
        "theorem t (h : answer(sorry) ↔ 1 = 2) : 2 = 2 := by sorry",
        ": ∀ answer_1, ∀ (h : answer_1 ↔ 1 = 2), (2 = 2)",
        "",
        "data",
    ),
    ("def p : Prop := sorry\ntheorem t : p → 1 = 1 := sorry", ": p → 1 = 1", "variable (p : Prop)", "data"),
    ('theorem t : "answer(sorry) answer(x)" = "" := by sorry', ': "answer(sorry) answer(x)" = ""', "", ""),
]


@pytest.mark.parametrize(("source", "statement", "context", "answer"), OPEN_ANSWERS)
def test_open_answers(source: str, statement: str, context: str, answer: str) -> None:
    t = theorem_of_row({"formal_statement": source}, "x.jsonl:1")
    assert (t.statement, t.context, t.answer) == (statement, context, answer)
    assert (negation(t) is None) == (answer == "data")


@pytest.mark.parametrize(
    ("source", "statement", "context"),
    [
        ("theorem t (n : Nat) : answer(sorry) ↔ n = 0 := by sorry", "(n : Nat) : _root_.False ↔ n = 0", ""),
        ("theorem t : ∀ n, n = 0 ↔ answer(sorry) := by sorry", ": ∀ n, n = 0 ↔ _root_.False", ""),
        ("theorem t : 1 = 2 → answer(sorry) ↔ 3 = 4 := by sorry", ": 1 = 2 → _root_.False ↔ 3 = 4", ""),
        ("theorem t : (answer(sorry) ↔ 1 = 1) ∧ 2 = 3 := by sorry", ": (_root_.False ↔ 1 = 1) ∧ 2 = 3", ""),
        (
            "abbrev sol : Prop := sorry\ntheorem t (n : Nat) : sol ↔ n = 0 := by sorry",
            "(n : Nat) : sol ↔ n = 0",
            "abbrev sol : Prop := _root_.False",
        ),
    ],
)
def test_the_second_attempt_at_an_open_answer_has_false_for_it(source: str, statement: str, context: str) -> None:
    t = theorem_of_row({"formal_statement": source}, "x.jsonl:1")
    false = negation(t)
    assert false is not None and (false.statement, false.context) == (statement, context)
    stored = theorem_from_json(theorem_json(t))
    assert stored == t and negation(stored) == false
