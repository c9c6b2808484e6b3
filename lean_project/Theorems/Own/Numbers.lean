/-! Recursion and inequalities on numbers, with functions defined here. -/

namespace Numbers

def larger (a b : Nat) : Nat := if a ≤ b then b else a

def dist (x y : Int) : Int := if x ≤ y then y - x else x - y

def absolute (x : Int) : Int := if x < 0 then -x else x

def sumTo : Nat → Nat
  | 0 => 0
  | n + 1 => sumTo n + (n + 1)

def sumCubes : Nat → Nat
  | 0 => 0
  | n + 1 => sumCubes n + (n + 1) * (n + 1) * (n + 1)

def fib : Nat → Nat
  | 0 => 0
  | 1 => 1
  | n + 2 => fib n + fib (n + 1)

def sumFib : Nat → Nat
  | 0 => 0
  | n + 1 => sumFib n + fib (n + 1)

def power (b : Nat) : Nat → Nat
  | 0 => 1
  | n + 1 => b * power b n

theorem larger_le_iff (a b c : Nat) : larger a b ≤ c ↔ a ≤ c ∧ b ≤ c := by sorry

theorem dist_triangle (x y z : Int) : dist x z ≤ dist x y + dist y z := by sorry

theorem absolute_mul (x y : Int) : absolute (x * y) = absolute x * absolute y := by sorry

theorem two_sumTo (n : Nat) : 2 * sumTo n = n * (n + 1) := by sorry

theorem sumCubes_eq (n : Nat) : sumCubes n = sumTo n * sumTo n := by sorry

theorem power_add (b m n : Nat) : power b (m + n) = power b m * power b n := by sorry

theorem sumFib_eq (n : Nat) : sumFib n + 1 = fib (n + 2) := by sorry

theorem fib_add (m n : Nat) : fib (m + n + 1) = fib m * fib n + fib (m + 1) * fib (n + 1) := by sorry

theorem fib_unbounded (b : Nat) : ∃ n, b < fib n := by sorry

theorem coins (n : Nat) (h : 8 ≤ n) : ∃ a b, n = 3 * a + 5 * b := by sorry

end Numbers
