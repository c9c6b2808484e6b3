"""Files that build on themselves: own types, notation, predicates and lemmas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.lean

FILE = """
inductive Num where
  | nil : Num
  | up (n : Num) : Num

namespace Num

def join : Num → Num → Num
  | a, nil => a
  | a, up b => up (join a b)

instance : Add Num := ⟨join⟩
instance : OfNat Num 0 := ⟨nil⟩

inductive Twice : Num → Prop
  | none : Twice 0
  | more : Twice n → Twice (up (up n))

def within (a b : Num) : Prop := ∃ c, b = a + c

private theorem join_up (a b : Num) : a + up b = up (a + b) := rfl

theorem nil_join (a : Num) : 0 + a = a := by
  sorry

theorem up_join (a b : Num) : up a + b = up (a + b) := by
  sorry

theorem join_comm (a b : Num) : a + b = b + a := by
  sorry

theorem within_self (a : Num) : within a a := by
  sorry

theorem twice_four : Twice (up (up (up (up 0)))) := by
  sorry

theorem not_twice_one : ¬ Twice (up 0) := by
  sorry

theorem twice_join (h : Twice a) (k : Twice b) : Twice (a + b) := by
  sorry

end Num
"""


def test_an_own_theory_is_proved_with_its_own_lemmas(turnstile: Callable, tmp_path: Path) -> None:
    source, out = tmp_path / "Num.lean", tmp_path / "Out.lean"
    source.write_text(FILE)
    done = turnstile("prove", source, "--policy", "explorer", "--budget", 64, "--out", out, "--json")
    assert {t["name"].split(".")[-1]: t["outcome"] for t in done.document["tasks"]} == dict.fromkeys(
        ["nil_join", "up_join", "join_comm", "within_self", "twice_four", "not_twice_one", "twice_join"], "proved"
    )
    assert turnstile("verify", out, "--against", source).code == 0


EXISTENTIAL = """
inductive Row (α : Type) where
  | nil : Row α
  | cons (a : α) (l : Row α) : Row α

namespace Row

def app : Row α → Row α → Row α
  | nil, m => m
  | cons a l, m => cons a (app l m)

theorem app_assoc (l m n : Row α) : app (app l m) n = app l (app m n) := by
  induction l with
  | nil => rfl
  | cons a l ih => rw [app, app, app, ih]

def Has (a : α) (l : Row α) : Prop := ∃ s t, l = app s (cons a t)
def Prefix (l m : Row α) : Prop := ∃ t, m = app l t
def Divides (a b : Int) : Prop := ∃ k, b = a * k
def Onto (f : α → β) : Prop := ∀ y, ∃ x, f x = y
def comp (g : β → γ) (f : α → β) : α → γ := fun x => g (f x)

theorem has_cons (a b : α) (l : Row α) : Has a l → Has a (cons b l) := by
  sorry

theorem not_has_nil (a : α) : ¬ Has a nil := by
  sorry

theorem has_left (a : α) (l m : Row α) (h : Has a l) : Has a (app l m) := by
  sorry

theorem prefix_trans (l m n : Row α) : Prefix l m → Prefix m n → Prefix l n := by
  sorry

theorem divides_product (a b c d : Int) (h : Divides a b) (k : Divides c d) : Divides (a * c) (b * d) := by
  sorry

theorem onto_comp (g : β → γ) (f : α → β) (hg : Onto g) (hf : Onto f) : Onto (comp g f) := by
  sorry

end Row
"""


def test_witnesses_come_from_hypotheses(turnstile: Callable, tmp_path: Path) -> None:
    source = tmp_path / "Row.lean"
    source.write_text(EXISTENTIAL)
    done = turnstile("prove", source, "--policy", "explorer", "--budget", 48, "--json", "--out", tmp_path / "Out.lean")
    assert {t["name"].split(".")[-1]: t["outcome"] for t in done.document["tasks"]} == dict.fromkeys(
        ["has_cons", "not_has_nil", "has_left", "prefix_trans", "divides_product", "onto_comp"], "proved"
    )
