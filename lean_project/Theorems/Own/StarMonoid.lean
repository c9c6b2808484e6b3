/-! Monoids with an involution that reverses products. -/

class StarMonoid (M : Type) where
  mul : M → M → M
  one : M
  star : M → M
  mul_assoc : ∀ a b c : M, mul (mul a b) c = mul a (mul b c)
  one_mul : ∀ a : M, mul one a = a
  mul_one : ∀ a : M, mul a one = a
  star_star : ∀ a : M, star (star a) = a
  star_mul : ∀ a b : M, star (mul a b) = mul (star b) (star a)

namespace StarMonoid

variable {M : Type} [StarMonoid M]

local infixl:70 " ⋄ " => StarMonoid.mul
local postfix:max "†" => StarMonoid.star

def pow (a : M) : Nat → M
  | 0 => one
  | n + 1 => pow a n ⋄ a

/-- Equal to its own star. -/
def Hermitian (a : M) : Prop := a† = a

/-- The star is a two-sided inverse. -/
def Unitary (a : M) : Prop := a† ⋄ a = one ∧ a ⋄ a† = one

theorem star_inj (a b : M) (h : a† = b†) : a = b := by sorry

theorem star_one : (one : M)† = one := by sorry

theorem hermitian_mul_star (a : M) : Hermitian (a ⋄ a†) := by sorry

theorem hermitian_mul_iff (a b : M) (ha : Hermitian a) (hb : Hermitian b) :
    Hermitian (a ⋄ b) ↔ a ⋄ b = b ⋄ a := by sorry

theorem hermitian_conj (a b : M) (hb : Hermitian b) : Hermitian (a ⋄ b ⋄ a†) := by sorry

theorem pow_add (a : M) (m n : Nat) : pow a (m + n) = pow a m ⋄ pow a n := by sorry

theorem pow_succ_left (a : M) (n : Nat) : pow a (n + 1) = a ⋄ pow a n := by sorry

theorem star_pow (a : M) (n : Nat) : (pow a n)† = pow a† n := by sorry

theorem unitary_mul (a b : M) (ha : Unitary a) (hb : Unitary b) : Unitary (a ⋄ b) := by sorry

theorem unitary_solve (a b : M) (ha : Unitary a) : ∃ x, a ⋄ x = b ∧ ∀ y, a ⋄ y = b → y = x := by sorry

end StarMonoid
