"""The replacement text of a `sorry` depends on its place. test_prove_file checks it with Lean."""

from __future__ import annotations

import pytest

from prover.solve.proof_layout import layouts

ONE, TWO = "simp", "intro h\nexact h"

CASES = [
    # (text with one sorry, is it a tactic, script, the result)
    ("theorem a : T := by sorry", True, ONE, "theorem a : T := by simp"),
    ("theorem a : T := sorry", False, ONE, "theorem a : T := by simp"),
    ("theorem a : T := by sorry", True, TWO, "theorem a : T := by \n  intro h\n  exact h"),
    ("theorem a : T := sorry", False, TWO, "theorem a : T := by\n  intro h\n  exact h"),
    ("  sorry", True, TWO, "  intro h\n  exact h"),
    ("  · sorry", True, TWO, "  · intro h\n    exact h"),
    ("  · have h : T := sorry", False, TWO, "  · have h : T := by\n      intro h\n      exact h"),
    ("  | zero => sorry", True, TWO, "  | zero => \n    intro h\n    exact h"),
    ("  exact sorry", False, ONE, "  exact by simp"),
    ("  exact (by sorry)", True, TWO, "  exact (by intro h\n            exact h)"),
    ("  exact f sorry x", False, ONE, "  exact f (by simp) x"),
    ("  exact ⟨sorry, x⟩", False, ONE, "  exact ⟨(by simp), x⟩"),
    ("  exact ⟨x, sorry⟩", False, ONE, "  exact ⟨x, by simp⟩"),
    ("  exact ⟨x, sorry⟩", False, TWO, "  exact ⟨x, (by intro h\n                exact h)⟩"),
    ("  constructor <;> sorry", True, "a <;> b", "  constructor <;> (a <;> b)"),
    ("  first | sorry | simp", True, ONE, "  first | (simp) | simp"),
    ("  exact sorry -- why", False, TWO, "  exact by\n    intro h\n    exact h -- why"),
]


@pytest.mark.parametrize(("before", "tactic", "script", "after"), CASES, ids=[c[0].strip() for c in CASES])
def test_first_choice(before: str, tactic: bool, script: str, after: str) -> None:
    at = before.index("sorry")
    options = layouts(before, at, 5, tactic, script)
    assert before[:at] + options[0] + before[at + 5 :] == after
    assert len(set(options)) == len(options)
