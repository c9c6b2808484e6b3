"""Theorems that need a template which nothing else replaces: the explorer proves each of them within 64 Lean calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.lean

FILE = """namespace Z
opaque g : Nat → Nat
opaque k : Nat → Nat
theorem step (x : Nat) : k x = g (k (x + 1)) := by sorry
theorem product (a b c : Nat) (h : (a : Rat) * b = c + 1) : a * b = c + 1 := by sorry
theorem under (F : (Nat → Nat) → Nat) : F (fun x => g (k (x + 1))) = F k := by sorry
theorem under_at (P : (Nat → Prop) → Prop) (h : P (fun x => g (k (x + 1)) = 0)) : P (fun x => k x = 0) := by sorry
@[irreducible] def next (n : Nat) : Nat := n + 1
theorem hidden (S : (Nat → Nat) → Prop) (h : S (fun n => n + 1)) : S next := by sorry
end Z
"""


def test_casts_rewriting_backwards_under_binders_and_sealed_definitions(turnstile: Callable, tmp_path: Path) -> None:
    file = tmp_path / "F.lean"
    file.write_text(FILE)
    only = "product,under,under_at,hidden"
    done = turnstile("prove", file, "--only", only, "--policy", "explorer", "--workers", 1, "--no-look", "--json")
    proofs = {t["name"].removeprefix("Z."): t["proof"] for t in done.document["tasks"]}
    assert all(proofs.values()), proofs
    assert "cast" in proofs["product"] and "← Z.step" in proofs["under"] and "delta" in proofs["hidden"]


TACTICS = """opaque Secret : Prop
opaque Odd : Nat → Prop
theorem key (a b c : Nat) (h : a * a * a + b * b * b = c * c * c + 1) (k : 1 < a ∧ a < b) : Secret := by sorry
theorem lift {n : Nat} (a b : Nat) (h : a * a = 2 * b * b + 1 ∧ 10 < b) (o : Odd n) : Odd (n + 2) := by sorry
macro "taxi" "cab" " now" : tactic => `(tactic| exact key 9 10 12 rfl (by decide))
macro "climb" "at" x:ident : tactic => `(tactic| exact lift 17 12 (by decide) $x)
macro "with_term" t:term : tactic => `(tactic| exact $t)
theorem secret : Secret := by sorry
theorem odd (n : Nat) (h : n = 3) (o : Odd n) : Odd (n + 2) := by sorry
"""


def test_tactics_of_a_file_may_have_several_words(turnstile: Callable, tmp_path: Path) -> None:
    file = tmp_path / "T.lean"
    file.write_text(TACTICS)
    only = "secret,odd"
    done = turnstile("prove", file, "--only", only, "--policy", "explorer", "--workers", 1, "--no-look", "--json")
    assert [" ".join(t["proof"].split()) for t in done.document["tasks"]] == ["taxi cab now", "climb at o"]


RECORDS = """structure V where
  x : Int
  y : Int
instance : Add V := ⟨fun a b => ⟨a.x + b.x, a.y + b.y⟩⟩
instance : Neg V := ⟨fun a => ⟨-a.x, -a.y⟩⟩
instance : Zero V := ⟨⟨0, 0⟩⟩
def V.scale (k : Int) (v : V) : V := ⟨k * v.x, k * v.y⟩
theorem plus_comm (a b : V) : a + b = b + a := by sorry
theorem minus_plus (a : V) : -a + a = 0 := by sorry
theorem scale_plus (k : Int) (a b : V) : (a + b).scale k = a.scale k + b.scale k := by sorry
inductive Trit | t | f | u
def Trit.and : Trit → Trit → Trit
  | f, _ => f | _, f => f | t, t => t | _, _ => u
theorem Trit.and_assoc (a b c : Trit) : (a.and b).and c = a.and (b.and c) := by sorry
"""


def test_operations_of_structures_and_cases_of_several_variables(turnstile: Callable, tmp_path: Path) -> None:
    file = tmp_path / "R.lean"
    file.write_text(RECORDS)
    done = turnstile("prove", file, "--policy", "explorer", "--workers", 1, "--no-look", "--json")
    assert [t["outcome"] for t in done.document["tasks"]] == ["proved"] * 4, done.document["tasks"]
