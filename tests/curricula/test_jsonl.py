"""JSONL in the shapes of the public sets. The samples are written here; only their fields and layout are like the originals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prover.solve.data_sets import load_theorems
from prover.solve.theorem_rows import theorem_of_row

SHAPES: list[tuple[str, dict[str, Any], tuple[str, str, tuple[str, ...], str]]] = [
    (
        "plain",
        {"name": "a.b", "statement": "(n : Nat) : n = n", "imports": ["Std"], "context": "open Nat"},
        ("a.b", "(n : Nat) : n = n", ("Init", "Std"), "open Nat"),
    ),
    (
        "miniF2F",
        {
            "name": "sample_numbertheory_1",
            "split": "valid",
            "informal_prefix": "/-- Show it. -/\n",
            "formal_statement": "theorem sample_numbertheory_1\n    (n : Nat) (h₀ : n % 2 = 0) :\n    n * n % 4 = 0 := by\n",
            "goal": "n : Nat\n⊢ n * n % 4 = 0",
            "header": "import Mathlib\nimport Aesop\n\nset_option maxHeartbeats 400000\n\nopen Nat Real\n\n",
        },
        (
            "sample_numbertheory_1",
            "(n : Nat) (h₀ : n % 2 = 0) :\n    n * n % 4 = 0",
            ("Init", "Mathlib", "Aesop"),
            "set_option maxHeartbeats 400000\n\nopen Nat Real",
        ),
    ),
    (
        "PutnamBench",
        {
            "problem_name": "sample_2001_a1",
            "lean4_statement": "abbrev sample_2001_a1_solution : Nat := sorry\n-- 3\n/-- theorem of old -/\n"
            "theorem sample_2001_a1\n  (x : Nat) : x = x ∧ sample_2001_a1_solution = 3 :=\nsorry\n",
            "tags": ["algebra"],
        },
        (
            "sample_2001_a1",
            "(x : Nat) : x = x ∧ sample_2001_a1_solution = 3",
            ("Init",),
            "variable (sample_2001_a1_solution : Nat)",
        ),
    ),
    (
        "ProofNet",
        {
            "id": "Sample|exercise_1_1",
            "nl_statement": "Prove.",
            "lean4_formalization": "ignored",
            "formal_statement": "theorem exercise_1_1 {G : Type} (mul : G → G → G)\n  (h : ∀ a b, mul a b = mul b a) :\n"
            "  ∀ a b, mul b a = mul a b := by sorry",
            "lean4_header": "import Mathlib\nopen Function\n",
        },
        (
            "exercise_1_1",
            "{G : Type} (mul : G → G → G)\n  (h : ∀ a b, mul a b = mul b a) :\n  ∀ a b, mul b a = mul a b",
            ("Init", "Mathlib"),
            "open Function",
        ),
    ),
    (
        "Lean Workbook",
        {
            "id": "lean_workbook_0",
            "status": "proved",
            "formal_statement": "theorem lean_workbook_0 (a b : ℕ) : a + b = b + a  :=  by sorry",
            "natural_language_statement": "…",
        },
        ("lean_workbook_0", "(a b : ℕ) : a + b = b + a", ("Init",), ""),
    ),
    (
        "DeepSeek-Prover",
        {
            "name": "thm_7",
            "formal_statement": "\ntheorem thm_7 (x : Nat) : (let y := x; y = x) := by\n",
            "formal_proof": "simp",
            "header": "import Mathlib\n",
        },
        ("thm_7", "(x : Nat) : (let y := x; y = x)", ("Init", "Mathlib"), ""),
    ),
    (
        "number for a name, an example for a statement",
        {"id": 12, "formal_statement": "example : 1 = 1 := by\n  sorry"},
        ("«12»", ": 1 = 1", ("Init",), ""),
    ),
]


@pytest.mark.parametrize(("shape", "row", "expected"), SHAPES, ids=[s[0] for s in SHAPES])
def test_shape(shape: str, row: dict[str, Any], expected: tuple[str, str, tuple[str, ...], str]) -> None:
    t = theorem_of_row(row, "x.jsonl:1")
    assert (t.name, t.statement, t.imports, t.context) == expected
    assert t.source == "x.jsonl:1"


def test_imports_for_what_names_none(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    rows = [
        {"name": "a", "statement": ": 1 = 1"},
        {"name": "b", "formal_statement": "import B\ntheorem b : 1 = 1 := by sorry"},
    ]
    file.write_text("\n".join(json.dumps(r) for r in rows))
    assert [t.imports for t in load_theorems(file, ["Mathlib"])] == [("Init", "Mathlib"), ("Init", "B")]


@pytest.mark.parametrize(
    ("source", "name", "statement", "context"),
    [
        ("theorem foo.{u} (α : Type u) : α = α := by sorry", "foo", "(α : Type u) : α = α", "universe u"),
        (
            "theorem a.foo.{u, v} (α : Type u) (β : Type v) : α = α := by sorry",
            "a.foo",
            "(α : Type u) (β : Type v) : α = α",
            "universe u v",
        ),
        ("universe u\ntheorem foo.{u} (α : Type u) : α = α := by sorry", "foo", "(α : Type u) : α = α", "universe u"),
        ("theorem a.b (n : Nat) : n = n := by sorry", "a.b", "(n : Nat) : n = n", ""),
    ],
)
def test_universes_of_a_declaration(source: str, name: str, statement: str, context: str) -> None:
    t = theorem_of_row({"formal_statement": source}, "x.jsonl:1")
    assert (t.name, t.statement, t.context) == (name, statement, context)


@pytest.mark.parametrize(
    ("source", "statement"),
    [
        (
            "theorem t (a b c : Nat) (x : a = b) (y : b = c) : a = c := by\n  have h : a = b := by exact x\n  rw [h, y]",
            "(a b c : Nat) (x : a = b) (y : b = c) : a = c",
        ),
        (
            "theorem t (a b : Nat) (h : a = b) : a = b := calc a = a := by rfl\n  _ = b := by exact h",
            "(a b : Nat) (h : a = b) : a = b",
        ),
        ("theorem t : let x := 2; x + x = 4 := by sorry", ": let x := 2; x + x = 4"),
        ("theorem t (a : Nat) -- (see := there\n  : a = a := by sorry", "(a : Nat) -- (see := there\n  : a = a"),
        ("theorem t (a : Nat := 3) : a = a := rfl", "(a : Nat := 3) : a = a"),
    ],
)
def test_a_statement_ends_where_its_own_proof_begins(source: str, statement: str) -> None:
    assert theorem_of_row({"formal_statement": source}, "x.jsonl:1").statement == statement


def test_two_theorems_may_have_one_name(tmp_path: Path) -> None:
    """As exercises of two books in ProofNet."""
    file = tmp_path / "x.jsonl"
    names = ["a", "a", "a_2", "a", "an odd one", "an odd one"]
    rows = [{"name": name, "statement": f": {i} = {i}"} for i, name in enumerate(names)]
    file.write_text("\n".join(json.dumps(r) for r in rows))
    found = load_theorems(file)
    assert [t.name for t in found] == ["a", "a_2", "a_2_2", "a_3", "«an odd one»", "«an odd one_2»"]
    assert [t.statement for t in found] == [r["statement"] for r in rows]
