"""The file and the tactics that the tests of LeanDojo share."""

SOURCE = """\
/-! A file with what a theorem can stand behind: a namespace, a variable, notation, a definition. -/
namespace Logic

variable {p q : Prop}

/-- Twice a number. theorem decoy : False := by trivial -/
def twice (n : Nat) : Nat := n + n

local notation "⟪" a "⟫" => twice a

theorem swap (h : p ∧ q) : q ∧ p := by
  exact ⟨h.2, h.1⟩

section
theorem twice_zero (n : Nat := 0) (h : n = 0) : ⟪n⟫ = 0 :=
  h ▸ rfl
end

end Logic
"""

SLOW = "have : ∀ x : BitVec 24, x + 1 ≠ x := by decide +kernel"
"""Runs for minutes: the kernel counts no heartbeats."""
