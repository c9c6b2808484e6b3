/-! Own numbers with addition and order, with the proofs that a course would show. Each uses the lemmas before it by name. -/

inductive N where
  | zero : N
  | succ (n : N) : N

namespace N

def add : N → N → N
  | m, zero => m
  | m, succ n => succ (add m n)

def le (a b : N) : Prop := ∃ c, b = add a c

theorem add_zero (m : N) : add m zero = m := rfl

theorem add_succ (m n : N) : add m (succ n) = succ (add m n) := rfl

theorem zero_add (n : N) : add zero n = n := by
  induction n with
  | zero => rfl
  | succ n ih => rw [add_succ, ih]

theorem succ_add (m n : N) : add (succ m) n = succ (add m n) := by
  induction n with
  | zero => rfl
  | succ n ih => rw [add_succ, ih, add_succ]

theorem add_comm (m n : N) : add m n = add n m := by
  induction n with
  | zero => rw [add_zero, zero_add]
  | succ n ih => rw [add_succ, ih, succ_add]

theorem add_assoc (a b c : N) : add (add a b) c = add a (add b c) := by
  induction c with
  | zero => rw [add_zero, add_zero]
  | succ n ih => rw [add_succ, ih, add_succ, add_succ]

theorem add_right_comm (a b c : N) : add (add a b) c = add (add a c) b := by
  rw [add_assoc, add_comm b, add_assoc]

theorem le_refl (a : N) : le a a := ⟨zero, (add_zero a).symm⟩

theorem zero_le (a : N) : le zero a := ⟨a, (zero_add a).symm⟩

theorem le_succ_self (a : N) : le a (succ a) := ⟨succ zero, by rw [add_succ, add_zero]⟩

theorem le_trans (a b c : N) (h : le a b) (k : le b c) : le a c := by
  obtain ⟨x, hx⟩ := h
  obtain ⟨y, hy⟩ := k
  exact ⟨add x y, by rw [hy, hx, add_assoc]⟩

theorem le_succ (a b : N) (h : le a b) : le a (succ b) :=
  le_trans a b (succ b) h (le_succ_self b)

theorem succ_le_succ (a b : N) (h : le a b) : le (succ a) (succ b) := by
  obtain ⟨x, hx⟩ := h
  exact ⟨x, by rw [hx, succ_add]⟩

theorem add_le_add_right (a b t : N) (h : le a b) : le (add a t) (add b t) := by
  obtain ⟨x, hx⟩ := h
  exact ⟨x, by rw [hx, add_right_comm]⟩

theorem add_le_add_left (a b t : N) (h : le a b) : le (add t a) (add t b) := by
  rw [add_comm t a, add_comm t b]
  exact add_le_add_right a b t h

theorem le_add_right (a b c : N) (h : le a b) : le a (add b c) :=
  le_trans a b (add b c) h ⟨c, rfl⟩

theorem le_total (a b : N) : le a b ∨ le b a := by
  induction a generalizing b with
  | zero => exact Or.inl (zero_le b)
  | succ a ih =>
    cases b with
    | zero => exact Or.inr (zero_le (succ a))
    | succ b =>
      cases ih b with
      | inl h => exact Or.inl (succ_le_succ a b h)
      | inr h => exact Or.inr (succ_le_succ b a h)

end N
