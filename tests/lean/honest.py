"""Honest proofs in bulk: families of theorems with a proof that works for every member."""

from __future__ import annotations

from typing import NamedTuple


class Honest(NamedTuple):
    name: str
    statement: str
    proof: str
    """A tactic script."""


def _numbered(family: str, members: list[tuple[str, str]]) -> list[Honest]:
    return [Honest(f"{family}_{i}", statement, proof) for i, (statement, proof) in enumerate(members)]


_PROPOSITIONS = [
    ("p ∧ q → q ∧ p", "intro h; exact ⟨h.2, h.1⟩"),
    ("p ∨ q → q ∨ p", "intro h; cases h with\n| inl a => exact Or.inr a\n| inr b => exact Or.inl b"),
    ("p → q → p", "intro a _; exact a"),
    ("(p → q) → (q → r) → p → r", "intro f g a; exact g (f a)"),
    ("p ∧ (q ∨ r) → p ∧ q ∨ p ∧ r", "rintro ⟨a, b | c⟩\n· exact Or.inl ⟨a, b⟩\n· exact Or.inr ⟨a, c⟩"),
    ("¬(p ∨ q) → ¬p ∧ ¬q", "intro h; exact ⟨fun a => h (Or.inl a), fun b => h (Or.inr b)⟩"),
    ("p → ¬¬p", "intro a f; exact f a"),
    ("(p ↔ q) → (q ↔ p)", "intro h; exact h.symm"),
    ("p ∨ ¬p", "exact Classical.em p"),
    ("¬¬p → p", "intro h; exact Classical.byContradiction h"),
    ("(p → q) ∨ (q → p)", "by_cases a : p <;> simp [a]"),
    ("((p → q) → p) → p", "intro h; by_cases a : p\n· exact a\n· exact h (fun b => absurd b a)"),
    ("p ∧ q ∧ r → r ∧ q ∧ p", "rintro ⟨a, b, c⟩; exact ⟨c, b, a⟩"),
    ("(p ∧ q → r) ↔ (p → q → r)", "constructor\n· intro h a b; exact h ⟨a, b⟩\n· intro h ⟨a, b⟩; exact h a b"),
    ("False → p", "intro h; exact h.elim"),
    ("p → True", "intro _; trivial"),
    ("(p ∨ q) ∧ ¬p → q", "rintro ⟨a | b, n⟩\n· exact absurd a n\n· exact b"),
    ("(p ↔ q) → (p ∧ r ↔ q ∧ r)", "intro h; rw [h]"),
    ("p ∧ p ↔ p", "simp"),
    ("(p → q) → ¬q → ¬p", "intro f n a; exact n (f a)"),
]


def _arithmetic() -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for k in range(1, 21):
        out += [
            (f"(a b : Nat) (h : a + {k} ≤ b) : a < b + 1", "omega"),
            (f"(a : Nat) (h : a % {k + 1} = 0) (g : a < {k + 1}) : a = 0", "rw [Nat.mod_eq_of_lt g] at h; exact h"),
            (f": {k} * {k} + {k} = {k} * ({k} + 1)", "decide"),
            (f"(x y : Int) (h : x - {k} > y) : x > y", "omega"),
            (f"(a b : Nat) : (a + {k}) * b = a * b + {k} * b", "rw [Nat.add_mul]"),
            (f"(a b c : Nat) (h : a = b + {k}) (g : c = a) : c = b + {k}", "rw [g, h]"),
        ]
    return out


def _lists() -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for k in range(8):
        row = ", ".join(str(i) for i in range(k))
        out += [
            (f": ([{row}] : List Nat).length = {k}", "rfl"),
            (f"(xs : List Nat) : (xs ++ [{row}]).length = xs.length + {k}", "simp"),
            (f": ([{row}] : List Nat).reverse.reverse = [{row}]", "simp"),
            (f": ([{row}] : List Nat).map (· + 1) = [{', '.join(str(i + 1) for i in range(k))}]", "decide"),
            (f"(x : Nat) (h : x ∈ [{row}{', ' if row else ''}{k}]) : x ≤ {k}", "simp at h; omega"),
        ]
    out += [
        (
            "{α : Type} (xs : List α) : xs ++ [] = xs",
            "induction xs with\n| nil => rfl\n| cons x xs ih => rw [List.cons_append, ih]",
        ),
        (
            "{α β : Type} (f : α → β) (xs : List α) : (xs.map f).length = xs.length",
            "induction xs with\n| nil => rfl\n| cons x xs ih => simp",
        ),
        ("{α : Type} (xs ys zs : List α) : xs ++ ys ++ zs = xs ++ (ys ++ zs)", "induction xs <;> simp_all"),
        ("{α : Type} (x : α) (xs : List α) : x :: xs ≠ []", "nofun"),
        (
            "(n : Nat) : (List.replicate n 0).length = n",
            "induction n with\n| zero => rfl\n| succ n ih => simp [List.replicate]",
        ),
    ]
    return out


_TERMS = [
    ("(f : Nat → Nat) (h : ∀ x, f x = x) : f (f 3) = 3", "rw [h, h]"),
    ("{α : Type u} (a b c : α) (h : a = b) (k : b = c) : a = c", "exact h.trans k"),
    ("{α : Sort u} {β : Sort v} (f : α → β) (a b : α) (h : a = b) : f a = f b", "exact congrArg f h"),
    ("(n : Nat) : 0 ≤ n", "exact Nat.zero_le n"),
    ("(n : Nat) : n < n.succ", "exact Nat.lt_succ_self n"),
    ("(p : Nat → Prop) (h : p 3) : ∃ n, p n", "exact ⟨3, h⟩"),
    ("(p : Nat → Prop) (h : ∀ n, p n) : ¬∃ n, ¬p n", "rintro ⟨n, k⟩; exact k (h n)"),
    ("(b : Bool) : (!!b) = b", "cases b <;> rfl"),
    ("(a b : Bool) : (a && b) = (b && a)", "cases a <;> cases b <;> rfl"),
    ("(a b : Nat) (h : a ≤ b) : ∃ c, b = a + c", "exact ⟨b - a, by omega⟩"),
    (
        "(x : Option Nat) : x = none ∨ ∃ y, x = some y",
        "cases x with\n| none => exact Or.inl rfl\n| some y => exact Or.inr ⟨y, rfl⟩",
    ),
    ("{α : Type} (s : α × α) : (s.1, s.2) = s", "rfl"),
    ("(x : Fin 3) : x.val < 3", "exact x.isLt"),
    (": ∀ x : Fin 5, x * 0 = 0", "decide"),
    ("(x y : Nat) (h : x = y) : y = x", "subst h; rfl"),
    ("(n : Nat) : n = 0 ∨ n > 0", "match n with\n| 0 => exact Or.inl rfl\n| n + 1 => exact Or.inr (Nat.succ_pos n)"),
    ("(s : String) : s = s", "rfl"),
    (': ("ab" : String) ≠ "ba"', "decide"),
    ("(a b c : Nat) : a + b + c = c + b + a", "ac_rfl"),
    ("(a b : Nat) (h : a ∣ b) : a ∣ b * 3", "exact Nat.dvd_trans h (Nat.dvd_mul_right b 3)"),
    ("(x : BitVec 8) : x &&& x = x", "simp"),
    ("(a b : Nat) : max a b = max b a", "exact Nat.max_comm a b"),
    ("(f : Nat → Nat) : (fun x => f x) = f", "rfl"),
    ("(f g : Nat → Nat) (h : ∀ x, f x = g x) : f = g", "exact funext h"),
    ("(p q : Prop) (h : p ↔ q) : p = q", "exact propext h"),
    ("(p : Prop) [Decidable p] (h : ¬¬p) : p", "exact Decidable.of_not_not h"),
    (
        "(a b c d : Nat) (h : a = b) (k : c = d) : a + c = b + d",
        "calc a + c = b + c := by rw [h]\n  _ = b + d := by rw [k]",
    ),
    ("(n : Nat) (h : n ≠ 0) : ∃ m, n = m + 1", "obtain _ | m := n\n· exact absurd rfl h\n· exact ⟨m, rfl⟩"),
    ("(a b : Nat) (h : a * b = 0) : a = 0 ∨ b = 0", "exact Nat.mul_eq_zero.mp h"),
    ("(x y z : Nat) (h : x < y) (k : y < z) : x < z", "exact Nat.lt_trans h k"),
    ("(x y : Nat) : (x + y) * (x + y) = x * x + 2 * (x * y) + y * y", "grind"),
    ("(a b : Int) : a - b + b = a", "omega"),
    (
        "(xs : List Nat) (h : xs ≠ []) : xs.length > 0",
        "cases xs with\n| nil => exact absurd rfl h\n| cons x xs => simp",
    ),
    ("(x : Nat) (h : ∃ y, x = 2 * y) : x % 2 = 0", "obtain ⟨y, rfl⟩ := h; omega"),
    ("(p : Prop) (h : Nonempty (PLift p)) : p", "exact h.elim PLift.down"),
    ("(x y : Nat) : x = y → y = x", "exact Eq.symm"),
    ("(x y : Nat) (h : (x, y) = (3, 4)) : x = 3", "injection h"),
    ("(x : Unit) : x = ()", "rfl"),
    ("(x : Empty) : 1 = 2", "exact x.elim"),
    ("(x y : Nat) (h : x + 1 = y + 1) : x = y", "injection h"),
]


def proofs() -> list[Honest]:
    """All of them, at least 300."""
    logic = [(f"({names[0]} {names[1]} {names[2]} : Prop) : {s}", p) for names in ("pqr",) for s, p in _PROPOSITIONS]
    # The same statements at richer propositions.
    for k in range(1, 7):
        for s, p in _PROPOSITIONS:
            binders = f"(p : Prop) (x : Nat) (r : Prop) : let q := x = {k}; "
            if "by_cases" not in p and "p ↔ q" not in s and s != "p ∧ p ↔ p":
                logic.append((binders + f"({s})", "intro q\n" + p))
    return [
        *_numbered("logic", logic),
        *_numbered("arithmetic", _arithmetic()),
        *_numbered("lists", _lists()),
        *_numbered("terms", _TERMS),
    ]


PREAMBLE = "universe u v\n"

DEFINITIONS = """
/-- Definitions of many kinds, and theorems about them: what an honest file may contain. -/
inductive Tree (α : Type u) | leaf | node (l : Tree α) (x : α) (r : Tree α)
deriving Repr

namespace Tree
variable {α : Type u}

def size : Tree α → Nat
  | leaf => 0
  | node l _ r => l.size + 1 + r.size

def mirror : Tree α → Tree α
  | leaf => leaf
  | node l x r => node r.mirror x l.mirror

@[simp] theorem mirror_leaf : (leaf : Tree α).mirror = leaf := rfl

theorem mirror_mirror (t : Tree α) : t.mirror.mirror = t := by
  induction t with
  | leaf => rfl
  | node l x r hl hr => simp [mirror, hl, hr]

theorem size_mirror (t : Tree α) : t.mirror.size = t.size := by
  induction t with
  | leaf => rfl
  | node l x r hl hr => simp [mirror, size, hl, hr]; omega
end Tree

mutual
inductive Even : Nat → Prop
  | zero : Even 0
  | succ (n : Nat) : Odd n → Even (n + 1)
inductive Odd : Nat → Prop
  | succ (n : Nat) : Even n → Odd (n + 1)
end

theorem even_two : Even 2 := .succ 1 (.succ 0 .zero)

inductive Rose | node (children : List Rose)
theorem rose_refl (r : Rose) : r = r := rfl

structure Point where
  x : Nat
  y : Nat
deriving DecidableEq

instance : Add Point := ⟨fun a b => ⟨a.x + b.x, a.y + b.y⟩⟩
theorem point_add (a b : Point) : (a + b).x = a.x + b.x := rfl

class Lucky (n : Nat) : Prop where
  lucky : n % 7 = 0
instance : Lucky 14 := ⟨rfl⟩
theorem fourteen : 14 % 7 = 0 := Lucky.lucky

def gcd' (a b : Nat) : Nat := if h : b = 0 then a else gcd' b (a % b)
termination_by b
decreasing_by exact Nat.mod_lt _ (Nat.pos_of_ne_zero h)
theorem gcd'_zero (a : Nat) : gcd' a 0 = a := by rw [gcd']; simp

notation "⟪" a ", " b "⟫" => Point.mk a b
theorem notation_ok : (⟪1, 2⟫).y = 2 := rfl
macro "triv" : tactic => `(tactic| first | rfl | trivial)
theorem macro_ok : 1 + 1 = 2 := by triv

private def hidden := 3
private theorem hidden_eq : hidden = 3 := rfl
theorem uses_hidden : hidden + 1 = 4 := by rw [hidden_eq]

opaque secret : Nat
theorem secret_refl : secret = secret := rfl
partial def forever (n : Nat) : Nat := forever (n + 1)
unsafe def address (n : Nat) : USize := ptrAddrUnsafe n

abbrev Pred (α : Type u) := α → Prop
theorem pred_ok (P : Pred Nat) (h : P 0) : ∃ n, P n := ⟨0, h⟩
def setoid : Setoid Nat := ⟨fun a b => a % 2 = b % 2, ⟨fun _ => rfl, fun h => h.symm, fun h k => h.trans k⟩⟩
def Parity := Quotient setoid
theorem parity_ok : (Quotient.mk setoid 0 : Parity) = Quotient.mk setoid 2 := Quotient.sound rfl
theorem «a name.with dots» : True := trivial
theorem recursive : ∀ n : Nat, 0 ≤ n
  | 0 => Nat.le_refl 0
  | n + 1 => Nat.le_succ_of_le (recursive n)
theorem by_match (n : Nat) : (match n with | 0 => 1 | m + 1 => m + 1) > 0 := by split <;> omega
"""
