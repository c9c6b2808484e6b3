/-! Divisibility and evenness, with own definitions on integers and naturals. -/

namespace Own

def Even (n : Nat) : Prop := ∃ k, n = 2 * k
def Odd (n : Nat) : Prop := ∃ k, n = 2 * k + 1
def Divides (a b : Int) : Prop := ∃ k, b = a * k

theorem even_zero : Even 0 := by
  sorry

theorem even_double (n : Nat) : Even (n + n) := by
  sorry

theorem even_add (m n : Nat) (hm : Even m) (hn : Even n) : Even (m + n) := by
  sorry

theorem even_mul_left (m n : Nat) (hm : Even m) : Even (n * m) := by
  sorry

theorem even_mul_right (m n : Nat) : Even m → Even (m * n) := by
  sorry

theorem odd_succ (n : Nat) : Even n → Odd (n + 1) := by
  sorry

theorem even_succ (n : Nat) : Odd n → Even (n + 1) := by
  sorry

theorem odd_add_odd (m n : Nat) (hm : Odd m) (hn : Odd n) : Even (m + n) := by
  sorry

theorem odd_mul (m n : Nat) (hm : Odd m) (hn : Odd n) : Odd (m * n) := by
  sorry

theorem even_or_odd (n : Nat) : Even n ∨ Odd n := by
  sorry

theorem even_sq (n : Nat) (h : Even n) : Even (n ^ 2) := by
  sorry

theorem divides_refl (a : Int) : Divides a a := by
  sorry

theorem divides_zero (a : Int) : Divides a 0 := by
  sorry

theorem one_divides (a : Int) : Divides 1 a := by
  sorry

theorem divides_trans (a b c : Int) : Divides a b → Divides b c → Divides a c := by
  sorry

theorem divides_add (a b c : Int) (h : Divides a b) (k : Divides a c) : Divides a (b + c) := by
  sorry

theorem divides_neg (a b : Int) (h : Divides a b) : Divides a (-b) := by
  sorry

theorem divides_mul_right (a b c : Int) (h : Divides a b) : Divides a (b * c) := by
  sorry

theorem divides_mul_mul (a b c d : Int) (h : Divides a b) (k : Divides c d) : Divides (a * c) (b * d) := by
  sorry

theorem divides_sub_self (a b : Int) (h : Divides a (b - a)) : Divides a b := by
  sorry

end Own
