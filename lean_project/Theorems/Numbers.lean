/-! Natural numbers: arithmetic, order, divisibility, and a few functions defined here. -/

/-- The sum 0 + 1 + … + n. -/
def sumTo : Nat → Nat
  | 0 => 0
  | n + 1 => sumTo n + (n + 1)

/-- The factorial of n. -/
def fact : Nat → Nat
  | 0 => 1
  | n + 1 => (n + 1) * fact n

/-- The Fibonacci numbers, from 0 and 1. -/
def fib : Nat → Nat
  | 0 => 0
  | 1 => 1
  | n + 2 => fib n + fib (n + 1)

theorem zero_add_basic (n : Nat) : 0 + n = n := by sorry

theorem add_swap (a b c : Nat) : a + b + c = c + b + a := by sorry

theorem lt_double (n : Nat) (h : 0 < n) : n < 2 * n := by sorry

theorem square_of_sum (a b : Nat) : (a + b) * (a + b) = a * a + 2 * (a * b) + b * b := by sorry

theorem le_square (n : Nat) : n ≤ n * n := by sorry

theorem even_or_odd (n : Nat) : (∃ k, n = 2 * k) ∨ (∃ k, n = 2 * k + 1) := by sorry

theorem sub_add_cancel_basic (a b : Nat) (h : b ≤ a) : a - b + b = a := by sorry

theorem half_le (n : Nat) : n / 2 ≤ n := by sorry

theorem mod_two_cases (n : Nat) : n % 2 = 0 ∨ n % 2 = 1 := by sorry

theorem min_add_max (a b : Nat) : min a b + max a b = a + b := by sorry

theorem product_of_consecutive_even (n : Nat) : n * (n + 1) % 2 = 0 := by sorry

theorem square_mod_four (n : Nat) : n * n % 4 = 0 ∨ n * n % 4 = 1 := by sorry

theorem dvd_sum (a b c : Nat) (h : a ∣ b) (h' : a ∣ c) : a ∣ b + c := by sorry

theorem two_pow_pos_basic (n : Nat) : 0 < 2 ^ n := by sorry

theorem lt_two_pow_basic (n : Nat) : n < 2 ^ n := by sorry

theorem gauss (n : Nat) : 2 * sumTo n = n * (n + 1) := by sorry

theorem fact_positive (n : Nat) : 0 < fact n := by sorry

theorem le_fact (n : Nat) : n ≤ fact n := by sorry

theorem fact_even (n : Nat) : fact (n + 2) % 2 = 0 := by sorry

theorem fib_positive (n : Nat) : 0 < fib (n + 1) := by sorry

theorem fib_le_two_pow (n : Nat) : fib n ≤ 2 ^ n := by sorry

theorem cubes_mod_three (n : Nat) : n * n * n % 3 = n % 3 := by sorry
