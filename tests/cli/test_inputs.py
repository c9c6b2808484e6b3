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
    ]
    done = turnstile("prove", f"set:{description}", "--json", "--workers", 1)
    assert {t["name"]: t["outcome"] for t in done.document["tasks"]} == {
        t["name"]: "proved" for t in listed["theorems"]
    }
    assert done.code == 0


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
