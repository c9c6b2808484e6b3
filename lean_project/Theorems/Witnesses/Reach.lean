/-! Reachability in a machine with steps. -/

inductive Count where
  | base : Count
  | next (n : Count) : Count

namespace Reach

variable {S : Type} (step : S → S)

def iter : Count → S → S
  | .base, s => s
  | .next n, s => step (iter n s)

def plus : Count → Count → Count
  | m, .base => m
  | m, .next n => .next (plus m n)

theorem iter_plus (m n : Count) (s : S) : iter step (plus m n) s = iter step n (iter step m s) := by
  induction n with
  | base => rfl
  | next n ih => rw [plus, iter, iter, ih]

def Reaches (s t : S) : Prop := ∃ n, iter step n s = t
def Loops (s : S) : Prop := ∃ n, iter step (.next n) s = s
def Halts (final : S → Prop) (s : S) : Prop := ∃ t, Reaches step s t ∧ final t

theorem refl (s : S) : Reaches step s s := by
  sorry

theorem one (s : S) : Reaches step s (step s) := by
  sorry

theorem two (s : S) : Reaches step s (step (step s)) := by
  sorry

theorem snoc (s t : S) : Reaches step s t → Reaches step s (step t) := by
  sorry

theorem trans (s t u : S) (h : Reaches step s t) (k : Reaches step t u) : Reaches step s u := by
  sorry

theorem cons (s t : S) (h : Reaches step (step s) t) : Reaches step s t := by
  sorry

theorem halts_final (final : S → Prop) (s : S) (h : final s) : Halts step final s := by
  sorry

theorem halts_of_reaches (final : S → Prop) (s t : S) (h : Reaches step s t) (k : Halts step final t) : Halts step final s := by
  sorry

theorem halts_mono (p q : S → Prop) (s : S) (h : ∀ t, p t → q t) (k : Halts step p s) : Halts step q s := by
  sorry

theorem loops_of_fixed (s : S) (h : step s = s) : Loops step s := by
  sorry

theorem halts_or (p q : S → Prop) (s : S) (h : Halts step p s ∨ Halts step q s) : Halts step (fun t => p t ∨ q t) s := by
  sorry

theorem reaches_of_eq (s t u : S) (h : s = t) (k : Reaches step t u) : Reaches step s u := by
  sorry

end Reach
