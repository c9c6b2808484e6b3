/-! The order of own naturals. -/

inductive N where
  | zero : N
  | succ (n : N) : N

namespace N

def add : N → N → N
  | m, zero => m
  | m, succ n => succ (add m n)

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
  | zero => rfl
  | succ n ih => rw [add_succ, ih, add_succ, add_succ]

def le (a b : N) : Prop := ∃ c, b = add a c
def lt (a b : N) : Prop := le (succ a) b

theorem le_refl (a : N) : le a a := by
  sorry

theorem zero_le (a : N) : le zero a := by
  sorry

theorem le_succ_self (a : N) : le a (succ a) := by
  sorry

theorem le_succ (a b : N) : le a b → le a (succ b) := by
  sorry

theorem le_trans (a b c : N) : le a b → le b c → le a c := by
  sorry

theorem le_zero (a : N) : le a zero → a = zero := by
  sorry

theorem succ_le_succ (a b : N) : le a b → le (succ a) (succ b) := by
  sorry

theorem le_of_succ_le_succ (a b : N) : le (succ a) (succ b) → le a b := by
  sorry

theorem add_le_add_right (a b t : N) : le a b → le (add a t) (add b t) := by
  sorry

theorem add_le_add_left (a b t : N) : le a b → le (add t a) (add t b) := by
  sorry

theorem le_add_right (a b c : N) : le a b → le a (add b c) := by
  sorry

theorem le_total (a b : N) : le a b ∨ le b a := by
  sorry

theorem lt_succ_self (a : N) : lt a (succ a) := by
  sorry

theorem le_of_lt (a b : N) : lt a b → le a b := by
  sorry

theorem lt_of_lt_of_le (a b c : N) : lt a b → le b c → lt a c := by
  sorry

theorem exists_larger (a : N) : ∃ b, lt a b := by
  sorry

theorem exists_upper (a b : N) : ∃ c, le a c ∧ le b c := by
  sorry

theorem eq_zero_or_succ (a : N) : a = zero ∨ ∃ b, a = succ b := by
  sorry

end N
