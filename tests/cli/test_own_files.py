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
