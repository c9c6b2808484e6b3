"""Every kind of input of `turnstile prove`, and theorem sets: library areas and user files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

# One of each shape that tests/curricula/test_jsonl.py reads, of what Lean has without Mathlib.
ROWS = [
    {"name": "plain", "statement": "(n : Nat) : succ n = n + 1", "context": "open Nat", "imports": ["Std"]},
    {
        "name": "minif2f",
        "split": "valid",
        "header": "import Init\n\nset_option maxHeartbeats 400000\n\nopen Nat\n",
        "formal_statement": "theorem minif2f\n    (n : Nat) (h₀ : n % 2 = 1) :\n    succ n % 2 = 0 := by\n",
    },
    {
        "problem_name": "putnam",
        "lean4_statement": "abbrev answer : Nat := 3\n-- 3\ntheorem putnam\n  (x : Nat) (h : x = 3) : x = answer :=\nsorry\n",
    },
    {
        "id": "ProofNet|exercise",
        "formal_statement": "theorem exercise {G : Type} (a : G) :\n  a = a := by sorry",
        "lean4_header": "open Function\n",
    },
    {"id": "lean_workbook_0", "formal_statement": "theorem lean_workbook_0 (a b : Nat) : a + b = b + a  :=  by sorry"},
    {
        "name": "deepseek",
        "header": "import Init\n",
        "formal_statement": "\ntheorem deepseek (x : Nat) : (let y := x; y = x) := by\n",
        "formal_proof": "simp",
    },
    {
        "theorem_names": "formalmath",
        "refined_statement": "Show it.",
        "autoformalization": "import Init\nopen Nat\n\ntheorem formalmath (n : Nat) (h : 0 < n) : succ n ≠ 1 := by sorry",
    },
    {
        "id": "Book|proofnet_sharp",
        "lean4_src_header": "import Init\nopen Function\n",
        "lean4_formalization": "theorem proofnet_sharp {α : Type} (f : α → α) (x : α) : (f ∘ f) x = f (f x) :=",
    },
    {
        "uuid": "0c7e-2",
        "formal_statement": "@[simp] theorem helper (n : Nat) : 2 * n = n + n := by sorry\n\n"
        "theorem numina (n : Nat) : 2 * n = n + n := by sorry\n",
    },
    {
        "problem_name": "value",
        "lean4_statement": "abbrev value_solution : Nat := sorry\n-- 2\n/-- Find it. -/\ntheorem value (x : Nat) (h : x + 2 = 4) "
        ": x = 2 ∨ x = value_solution :=\nsorry\n",
    },
    {
        "name": "conjecture",
        "formal_statement": "@[category research open, AMS 11]\ntheorem conjecture : answer(sorry) ↔ ∀ n : Nat, n < n + 1 := by sorry",
    },
    {"name": "bare", "statement": "∀ a b : Nat, a + b = b + a"},
]
SET = 'name = "own"\ntitle = "Own"\nkind = "jsonl"\nfiles = ["own.jsonl"]\nlean = "4.28.0"\nlicence = "MIT"\n'


def test_the_library_by_area(turnstile: Callable) -> None:
    document = turnstile("sets", "--areas", "--json").document
    areas = document["areas"]
    assert document["all"]["theorems"] == sum(a["theorems"] for a in areas) > 30_000
    assert all(a["train"] + a["validation"] + a["held-out"] <= a["below"] <= a["theorems"] for a in areas)
    assert {"Init.Data.List", "Init.Data.Nat"} <= {a["area"] for a in areas} and any(
        a["area"].startswith("Std") for a in areas
    )


@pytest.mark.lean
def test_a_set_of_ones_own_in_every_shape(turnstile: Callable, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    description = tmp_path / "own.toml"
    description.write_text(SET)
    listed = turnstile("sets", description, "--json").document
    assert [t["name"] for t in listed["theorems"]] == [
        "plain",
        "minif2f",
        "putnam",
        "exercise",
        "lean_workbook_0",
        "deepseek",
        "formalmath",
        "proofnet_sharp",
        "numina",
        "value",
        "conjecture",
        "bare",
    ]
    done = turnstile("prove", f"set:{description}", "--json", "--workers", 1)
    assert {t["name"]: t["outcome"] for t in done.document["tasks"]} == {
        t["name"]: "proved" for t in listed["theorems"]
    }
    assert done.code == 0
    remarks = {t["name"]: {r["kind"]: r["detail"] for r in t["remarks"]} for t in done.document["tasks"]}
    assert remarks["conjecture"]["answer"] == "True"


@pytest.mark.lean
def test_an_open_answer_is_never_one_of_two_sorries(turnstile: Callable, tmp_path: Path) -> None:
    rows = {
        "no": "theorem no : (∃ n : Nat, n + 1 = 0) ↔ answer(sorry) := by sorry",
        "numeral": "theorem numeral : (∀ n : Nat, n * n ≠ 49) ↔ answer(sorry) := by sorry",
        "not_all": "theorem not_all : ∀ n : Nat, n = 0 ↔ answer(sorry) := by sorry",
        "for_n": "theorem for_n (n : Nat) : answer(sorry) ↔ n = 0 := by sorry",
        "sol": "abbrev s : Prop := sorry\ntheorem sol (n : Nat) : s ↔ n = 0 := by sorry",
        "implied": "theorem implied : (1 = 2) → answer(sorry) ↔ 3 = 4 := by sorry",
        "both": "theorem both : (answer(sorry) ↔ 1 = 1) ∧ 2 = 3 := by sorry",
        "captured": "theorem captured (False : Prop) : answer(sorry) ↔ False := by sorry",
        "clash": "theorem clash (answer_1 : Nat) : (answer_1 : Nat) = answer(sorry) := by sorry",
        "given": "theorem given (h : answer(sorry) ↔ 1 = 2) : 2 = 2 := by sorry",
        "twins": "theorem twins : (answer(sorry) : Nat) = answer(sorry) := by sorry",
        "defined": "abbrev a : Nat := sorry\nabbrev b : Nat := sorry\ntheorem defined : a = b := by sorry",
        "guessed": "theorem guessed : answer(sorry) = 2 + 2 := by sorry",
    }
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps({"id": n, "formal_statement": s}) + "\n" for n, s in rows.items()))
    done = turnstile("prove", file, "--json", "--workers", 1)
    tasks = {t["name"]: t for t in done.document["tasks"]}
    assert {n: t["outcome"] for n, t in tasks.items() if t["outcome"] in ("proved", "disproved")} == {
        "no": "disproved",
        "numeral": "disproved",
        "given": "proved",
    }
    assert not {n for n, t in tasks.items() if t["outcome"] == "error"}
    assert not {r["kind"] for r in tasks["given"]["remarks"]} & {"answer"}
    assert {r["kind"]: r["detail"] for r in tasks["no"]["remarks"]}["answer"] == "False"


IN_NAMESPACES = """namespace A.B
inductive T where | a : T
section Inner
open Nat
variable (n : Nat)
theorem first : n + 0 = n := rfl
/-- end -/
theorem second (t : T) : t = .a := by cases t; rfl
end Inner
noncomputable section
def x : T := .a
theorem third : x = .a := rfl
end
mutual
def even : Nat → Bool
  | 0 => true
  | n + 1 => odd n
def odd : Nat → Bool
  | 0 => false
  | n + 1 => even n
end
theorem fourth : even 0 = true := by simp [even]
end A.B
theorem fifth (p q : Prop) (h : p ∧ q) : q ∧ p := ⟨h.2, h.1⟩
"""


@pytest.mark.lean
def test_proofs_of_a_file_with_namespaces_are_a_lean_file(turnstile: Callable, tmp_path: Path) -> None:
    file, out = tmp_path / "A.lean", tmp_path / "proofs.lean"
    file.write_text(IN_NAMESPACES)
    done = turnstile("prove", f"set:{file}", "--json", "--workers", 1, "--out", out, "--budget", 64)
    assert [t["outcome"] for t in done.document["tasks"]] == ["proved"] * 5
    verified = turnstile("verify", out)
    assert verified.code == 0, (verified.out, verified.err, out.read_text())


@pytest.mark.lean
def test_a_library_module_and_a_single_statement(turnstile: Callable, tmp_path: Path) -> None:
    out = tmp_path / "proofs.lean"
    done = turnstile("prove", "library:Init.Data.Option.Lemmas", "--limit", 4, "--json", "--workers", 1, "--out", out)
    tasks = done.document["tasks"]
    assert len(tasks) == 4 and all(t["name"].startswith("Option.") for t in tasks)
    assert done.code == (0 if all(t["outcome"] == "proved" for t in tasks) else 1)
    assert out.read_text().count("-- ") == done.document["proved"]
    done = turnstile("prove", "--statement", "(p q : Prop) (h : p ∧ q) : q ∧ p", "--workers", 1)
    assert done.code == 0 and "theorem statement (p q : Prop) (h : p ∧ q) : q ∧ p := by" in done.out
    assert turnstile("prove", "--statement", "(p q : Prop) (h : p ∨ q) : q ∧ p", "--workers", 1, "--json").code == 1
