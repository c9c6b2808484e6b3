"""Natural numbers from nothing: laws of addition, multiplication, doubling, powers and order, and equations that follow from them."""

from __future__ import annotations

from curricula.worlds.chains import RADIUS
from curricula.worlds.development import Development
from curricula.worlds.lemmas import lemmas

DIFFICULTIES = (2, 9)
HARDER = 2 * RADIUS
"""`split=harder` begins above this. The distance of an equation is exact up to here, so no statement is on both sides."""
SAMPLES = 1000
"""Samples without a new theorem after which the world counts as exhausted."""

LEMMAS = lemmas("""
zero_add (n : N) : (add (zero) n) = n
  induction n with
  | (zero) => rfl
  | (succ n) ih => rw [add_succ, ih]
succ_add (m n : N) : (add (succ m) n) = (succ (add m n))
  induction n with
  | (zero) => rfl
  | (succ n) ih => rw [add_succ, ih, add_succ]
add_comm (m n : N) : (add m n) = (add n m)
  induction n with
  | (zero) => rw [add_zero, zero_add]
  | (succ n) ih => rw [add_succ, ih, succ_add]
add_assoc (a b c : N) : (add (add a b) c) = (add a (add b c))
  induction c with
  | (zero) => rfl
  | (succ c) ih => rw [add_succ, ih, add_succ, add_succ]
add_left_comm (a b c : N) : (add a (add b c)) = (add b (add a c))
  rw [← add_assoc a b c, add_comm a b, add_assoc b a c]
add_right_comm (a b c : N) : (add (add a b) c) = (add (add a c) b)
  rw [add_assoc a b c, add_comm b c, ← add_assoc a c b]
zero_mul (n : N) : (mul (zero) n) = (zero)
  induction n with
  | (zero) => rfl
  | (succ n) ih => rw [mul_succ, ih, add_zero]
succ_mul (m n : N) : (mul (succ m) n) = (add (mul m n) n)
  induction n with
  | (zero) => rfl
  | (succ n) ih => rw [mul_succ, ih, mul_succ, add_succ, add_succ, add_right_comm]
mul_comm (m n : N) : (mul m n) = (mul n m)
  induction n with
  | (zero) => rw [mul_zero, zero_mul]
  | (succ n) ih => rw [mul_succ, ih, succ_mul]
mul_one (n : N) : (mul n (succ (zero))) = n
  rw [mul_succ, mul_zero, zero_add]
mul_add (a b c : N) : (mul a (add b c)) = (add (mul a b) (mul a c))
  induction c with
  | (zero) => rfl
  | (succ c) ih => rw [add_succ, mul_succ, ih, mul_succ, add_assoc]
add_mul (a b c : N) : (mul (add a b) c) = (add (mul a c) (mul b c))
  rw [mul_comm (add a b) c, mul_add, mul_comm c a, mul_comm c b]
mul_assoc (a b c : N) : (mul (mul a b) c) = (mul a (mul b c))
  induction c with
  | (zero) => rfl
  | (succ c) ih => rw [mul_succ, ih, mul_succ, mul_add]
dbl_add (m n : N) : (dbl (add m n)) = (add (dbl m) (dbl n))
  induction n with
  | (zero) => rfl
  | (succ n) ih => rw [add_succ, dbl_succ, ih, dbl_succ, add_succ, add_succ]
add_self (n : N) : (add n n) = (dbl n)
  induction n with
  | (zero) => rfl
  | (succ n) ih => rw [add_succ, succ_add, ih, dbl_succ]
mul_dbl (m n : N) : (mul m (dbl n)) = (dbl (mul m n))
  rw [← add_self, mul_add, add_self]
pow_one (n : N) : (pow n (succ (zero))) = n
  rw [pow_succ, pow_zero, mul_comm, mul_one]
pow_add (a b c : N) : (pow a (add b c)) = (mul (pow a b) (pow a c))
  induction c with
  | (zero) => rw [add_zero, pow_zero, mul_one]
  | (succ c) ih => rw [add_succ, pow_succ, ih, pow_succ, mul_assoc]
mul_pow (a b c : N) : (pow (mul a b) c) = (mul (pow a c) (pow b c))
  induction c with
  | (zero) => rfl
  | (succ c) ih => rw [pow_succ, ih, pow_succ, pow_succ, mul_assoc, mul_assoc, ← mul_assoc (pow b c) a b, mul_comm (pow b c) a, mul_assoc a (pow b c) b]
succ_inj (m n : N) (h : (succ m) = (succ n)) : m = n
  injection h
succ_ne_zero (n : N) (h : (succ n) = (zero)) : False
  cases h
add_left_cancel (a b c : N) (h : (add a b) = (add a c)) : b = c
  induction a with
  | (zero) =>
    rw [zero_add, zero_add] at h
    exact h
  | (succ a) ih =>
    rw [succ_add, succ_add] at h
    exact ih (succ_inj _ _ h)
add_right_cancel (a b c : N) (h : (add b a) = (add c a)) : b = c
  rw [add_comm b a, add_comm c a] at h
  exact add_left_cancel a b c h
add_eq_zero (a b : N) (h : (add a b) = (zero)) : b = (zero)
  cases b with
  | (zero) => rfl
  | (succ b) => cases h
dbl_inj (m n : N) (h : (dbl m) = (dbl n)) : m = n
  induction m generalizing n with
  | (zero) =>
    cases n with
    | (zero) => rfl
    | (succ n) => cases h
  | (succ m) ih =>
    cases n with
    | (zero) => cases h
    | (succ n) =>
      rw [dbl_succ, dbl_succ] at h
      rw [ih n (succ_inj _ _ (succ_inj _ _ h))]
le_refl (a : N) : Le a a
  exact ⟨(zero), add_zero a⟩
le_zero (a : N) : Le (zero) a
  exact ⟨a, zero_add a⟩
le_trans (a b c : N) (h : Le a b) (k : Le b c) : Le a c
  obtain ⟨d, hd⟩ := h
  obtain ⟨e, he⟩ := k
  exact ⟨(add d e), by rw [← add_assoc, hd, he]⟩
le_succ (a b : N) (h : Le a b) : Le a (succ b)
  obtain ⟨d, hd⟩ := h
  exact ⟨(succ d), by rw [add_succ, hd]⟩
succ_le_succ (a b : N) (h : Le a b) : Le (succ a) (succ b)
  obtain ⟨d, hd⟩ := h
  exact ⟨d, by rw [succ_add, hd]⟩
le_add (a b c : N) (h : Le a b) : Le (add c a) (add c b)
  obtain ⟨d, hd⟩ := h
  exact ⟨d, by rw [add_assoc, hd]⟩
le_add_both (a b c d : N) (h : Le a b) (k : Le c d) : Le (add a c) (add b d)
  have first := le_add a b c h
  rw [add_comm c a, add_comm c b] at first
  exact le_trans _ _ _ first (le_add c d b k)
le_dbl (a b : N) (h : Le a b) : Le (dbl a) (dbl b)
  obtain ⟨d, hd⟩ := h
  exact ⟨(dbl d), by rw [← dbl_add, hd]⟩
""")

ADDITION = LEMMAS[:6]
"""The laws of addition, which other worlds need too."""
NUMBER_NAMES = {"N": ("Num", "Card"), "zero": ("nought", "base"), "succ": ("next", "up"), "add": ("plus", "more")}

OPERATIONS = {"zero": ((), "N"), "succ": (("N",), "N"), "add": (("N", "N"), "N")}
"""The operations of these laws."""

WORLD = Development(
    name="peano",
    types={"N": {"zero": (), "succ": ("N",)}},
    functions=(
        "add : N → N → N\n(add m (zero)) = m\n(add m (succ n)) = (succ (add m n))",
        "mul : N → N → N\n(mul m (zero)) = (zero)\n(mul m (succ n)) = (add (mul m n) m)",
        "dbl : N → N\n(dbl (zero)) = (zero)\n(dbl (succ n)) = (succ (succ (dbl n)))",
        "pow : N → N → N\n(pow m (zero)) = (succ (zero))\n(pow m (succ n)) = (mul (pow m n) m)",
    ),
    relations="def Le (a b : N) : Prop := ∃ c, (add a c) = b",
    lemmas=LEMMAS,
    lean_types={"N": "N"},
    own={**OPERATIONS, "mul": (("N", "N"), "N"), "dbl": (("N",), "N"), "pow": (("N", "N"), "N")},
    variables={"N": ("a", "b", "c", "d", "m", "n")},
    names={
        **NUMBER_NAMES,
        "mul": ("times", "prod"),
        "dbl": ("double", "twice"),
        "pow": ("power", "raise"),
        "Le": ("Below", "AtMost"),
        "le": ("below", "most"),
    },
    swaps=(("add",), ("mul",), ("pow",)),
)
sample = WORLD.sample
