"""Rows in the shapes of the public sets. The samples are written here; only their fields and layout are like the originals."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from prover.errors import UserError
from prover.solve.data_sets import load_theorems
from prover.solve.statements import statement_of, theorem_of
from prover.solve.theorem_rows import fields_of, theorem_of_row

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
        "FormalMATH",
        {
            "theorem_names": "sample_6",
            "source": "made up",
            "refined_statement": "Show it: every theorem holds.",
            "solution": "Clear.",
            "autoformalization": "import Mathlib\nopen Real Nat\n\n/-- theorem of old := -/\ntheorem sample_6 {a b : ℕ} "
            "(h : a = b) :\n  b = a := by sorry",
            "domain": ["Algebra"],
        },
        ("sample_6", "{a b : ℕ} (h : a = b) :\n  b = a", ("Init", "Mathlib"), "open Real Nat"),
    ),
    (
        "ProofNet#",
        {
            "id": "Sample|exercise_2_1a",
            "nl_statement": "Prove: it holds.",
            "nl_proof": "Clear.",
            "lean4_src_header": "import Mathlib\n\nopen Function\n",
            "lean4_formalization": "theorem exercise_2_1a {α : Type*} (f : α → α)\n  (h : Injective f) : Injective (f ∘ f) :=",
        },
        (
            "exercise_2_1a",
            "{α : Type*} (f : α → α)\n  (h : Injective f) : Injective (f ∘ f)",
            ("Init", "Mathlib"),
            "open Function",
        ),
    ),
    (
        "NuminaMath-LEAN, with an open lemma",
        {
            "uuid": "4f2a-9",
            "problem": "Show it.",
            "formal_statement": "import Mathlib\n\nopen Finset\n\n/-- first -/\n@[simp] lemma helper (n : ℕ) : n ≤ n + n := by\n"
            "  sorry\n\n/-- then -/\ntheorem algebra_77 (n : ℕ) :\n    n ≤ n + n + 1 := by\n  sorry\n",
            "formal_ground_truth": "import Mathlib\ntheorem other : 1 = 1 := rfl",
            "author": "human",
        },
        ("algebra_77", "(n : ℕ) :\n    n ≤ n + n + 1", ("Init", "Mathlib"), "open Finset"),
    ),
    (
        "NuminaMath-LEAN, with a lemma that is used",
        {
            "uuid": "4f2a-10",
            "formal_statement": "theorem helper : 0 < 1 := by sorry\n\ntheorem t (f : 0 < 1 → Nat) : f helper = 1 := by sorry",
        },
        ("t", "(f : 0 < 1 → Nat) : f helper = 1", ("Init",), "theorem helper : 0 < 1 := by sorry"),
    ),
    (
        "ProverBench, with a lemma that is proved and modifiers",
        {
            "name": "sample_8",
            "header": "import Mathlib\n\nset_option maxHeartbeats 400000\nopen Nat\n",
            "formal_statement": "lemma step : 1 = 1 := rfl\n\nopen List in\n@[simp, grind =]\nprivate noncomputable theorem sample_8 "
            ": 1 = 1 := by\n",
        },
        (
            "sample_8",
            ": 1 = 1",
            ("Init", "Mathlib"),
            "set_option maxHeartbeats 400000\nopen Nat\n\ntheorem step : 1 = 1 := rfl\nopen List",
        ),
    ),
    (
        "Kimina: the statement in words is not Lean",
        {"problem_id": "p_1", "statement": "Prove it.", "formal_statement": "theorem p_1 : 2 + 2 = 4 := by sorry"},
        ("p_1", ": 2 + 2 = 4", ("Init",), ""),
    ),
    (
        "imports in the header and in the statement",
        {"id": 1, "header": "import A\nopen X", "formal_statement": "import B\n\ntheorem t : 1 = 1 := by\n  sorry"},
        ("t", ": 1 = 1", ("Init", "A", "B"), "open X"),
    ),
    (
        "the theorem that the row names is not the last",
        {
            "name": "N.t",
            "formal_statement": "namespace N\ntheorem t : 1 = 1 := by sorry\ntheorem u : 2 = 2 := t\nend N",
        },
        ("t", ": 1 = 1", ("Init",), "namespace N"),
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


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("∀ a b : Nat, a + b = b + a", ": ∀ a b : Nat, a + b = b + a"),
        ("2 + 2 = 4", ": 2 + 2 = 4"),
        ("∃ x : Nat, x = 2", ": ∃ x : Nat, x = 2"),
        ("¬ (∀ x : Nat, x = 2)", ": ¬ (∀ x : Nat, x = 2)"),
        ("(2 : Nat) = 2", ": (2 : Nat) = 2"),
        ("let x : Nat := 2; x = 2", ": let x : Nat := 2; x = 2"),
        ("fun_of (x : Nat)", ": fun_of (x : Nat)"),
        ("(∀ x : Nat, x = x)", ": (∀ x : Nat, x = x)"),
        ("True", ": True"),
        (": 1 = 1", ": 1 = 1"),
        ("(n : Nat) : n = n", "(n : Nat) : n = n"),
        ("n {α : Type} «a b» : n = n", "n {α : Type} «a b» : n = n"),
        ("(n : Nat)", None),
        ("{n m : Nat} [Inhabited α]", None),
        ("[Inhabited α] (n : Nat)", None),
    ],
)
def test_a_bare_proposition_is_a_statement(text: str, statement: str | None) -> None:
    assert statement_of(text) == statement
    row = {"name": "x", "statement": text}
    if statement is None:
        for read in (theorem_of, theorem_of_row):
            with pytest.raises(UserError, match="no `:` before its type"):
                read(row, "x.jsonl:1")
    else:
        assert theorem_of(row, "x.jsonl:1").statement == statement
        if ":=" not in text:
            assert theorem_of_row(row, "x.jsonl:1").statement == statement


def test_a_row_without_statement_says_which_fields_there_are() -> None:
    row = {"problem": "Show it.", "lean": "theorem t : 1 = 1 := by sorry", "bad\x1bfield": 1}
    with pytest.raises(UserError, match=r"x:1: no statement; .*problem, lean, bad\\x1bfield.*--fields statement=FIELD"):
        theorem_of_row(row, "x:1")
    assert theorem_of_row(row, "x:1", fields=fields_of(["statement=lean"])).statement == ": 1 = 1"
    with pytest.raises(UserError, match="no field 'laen'.*problem, lean"):
        theorem_of_row(row, "x:1", fields={"statement": "laen"})
    for option in ("statement", "statement=", "state=lean"):
        with pytest.raises(UserError, match="write PART=FIELD"):
            fields_of([option])
    wide = {f"f{i}": i for i in range(100)}
    with pytest.raises(UserError, match="f29 and 70 more"):
        theorem_of_row(wide, "x:1")


@pytest.mark.parametrize(
    "source",
    [
        "def (" * 100_000,
        "] theorem a : b := sorry\n" * 40_000,
        "def a : Nat := sorry\n" * 40_000 + "theorem t : a = a := sorry",
        "open A in " * 50_000 + "theorem t : 1 = 1 := sorry",
        "\n" * 300_000 + "theorem t : 1 = 1",
        "lemma a : b := rfl\n" * 40_000 + "theorem t : 1 = 1",
        "theorem t : " + "answer(sorry) ∧ answer(x) ∧ " * 20_000 + "True",
        "private " * 100_000 + "theorem t : 1 = 1",
    ],
    ids=lambda source: source[:10],
)
def test_hostile_text_takes_linear_time(source: str) -> None:
    """Under 20 s of processor time."""
    began = time.process_time()
    with suppress(UserError):
        theorem_of_row({"name": "x", "formal_statement": source}, "x:1")
    assert time.process_time() - began < 20
