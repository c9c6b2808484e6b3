/-! Proofs in the styles that people use. Some steps cannot be replayed: see test_extract.py. -/

namespace Proofs

variable {α β : Type}

/-- A tree with values at its nodes. -/
inductive Tree (α : Type) where
  | leaf : Tree α
  | node : Tree α → α → Tree α → Tree α

namespace Tree

def size : Tree α → Nat
  | leaf => 0
  | node l _ r => size l + size r + 1

def mirror : Tree α → Tree α
  | leaf => leaf
  | node l x r => node (mirror r) x (mirror l)

@[simp] theorem size_leaf : size (leaf : Tree α) = 0 := rfl

theorem mirror_mirror (t : Tree α) : mirror (mirror t) = t := by
  induction t with
  | leaf => rfl
  | node l x r ihl ihr =>
    simp only [mirror]
    rw [ihl, ihr]

theorem size_mirror (t : Tree α) : size (mirror t) = size t := by
  induction t with
  | leaf => rfl
  | node l x r ihl ihr =>
    simp only [mirror, size, ihl, ihr]
    omega

theorem size_eq_zero : ∀ t : Tree α, size t = 0 → t = leaf
  | leaf, _ => rfl
  | node l x r, h => by
    simp [size] at h

end Tree

def Tree.depth : Tree α → Nat
  | .leaf => 0
  | .node l _ r => max l.depth r.depth + 1

theorem Tree.depth_le_size (t : Tree α) : t.depth ≤ t.size := by
  induction t with
  | leaf => exact Nat.le_refl _
  | node l x r ihl ihr =>
    -- `depth` and `size` are names of the namespace that the theorem's own name opens.
    simp only [depth, size]
    omega

theorem and_assoc' (p q r : Prop) : (p ∧ q) ∧ r ↔ p ∧ (q ∧ r) := by
  constructor
  · rintro ⟨⟨hp, hq⟩, hr⟩
    exact ⟨hp, hq, hr⟩
  · intro h
    have ⟨hp, hq, hr⟩ := h
    refine ⟨⟨?_, ?_⟩, ?_⟩
    · assumption
    · assumption
    · exact hr

theorem or_comm' (p q : Prop) : p ∨ q ↔ q ∨ p := by
  constructor <;> (intro h; cases h <;> simp [*])

theorem not_exists' {p : α → Prop} (h : ¬ ∃ x, p x) (x : α) : ¬ p x :=
  fun hx => h ⟨x, hx⟩

theorem add_sub_self (a b : Nat) : a + b - b = a := by
  show (a + b) - b = a
  exact Nat.add_sub_cancel ..

theorem square_pos (n : Nat) (h : n ≠ 0) : 0 < n * n := by
  have pos : 0 < n := by
    match n, h with
    | 0, h => exact absurd rfl h
    | k + 1, _ => exact Nat.succ_pos k
  calc
    0 < n := pos
    _ = n * 1 := (Nat.mul_one n).symm
    _ ≤ n * n := Nat.mul_le_mul_left n pos

theorem length_map' (f : α → β) (xs : List α) : (xs.map f).length = xs.length := by
  induction xs
  case nil => rfl
  case cons x xs ih =>
    simp only [List.map_cons, List.length_cons]
    exact congrArg (· + 1) ih

theorem exists_add (a b : Nat) (h : a ≤ b) : ∃ c, b = a + c := by
  obtain ⟨c, hc⟩ := Nat.le.dest h
  exists c
  exact hc.symm

theorem max_cases (a b : Nat) : max a b = a ∨ max a b = b := by
  by_cases h : a ≤ b
  · right; exact Nat.max_eq_right h
  · left
    exact Nat.max_eq_left (by omega)

theorem bounds (a b : Nat) (h : a < b) : a ≤ b ∧ a ≠ b := by
  constructor
  all_goals omega

theorem swap_goals (p q : Prop) (hp : p) (hq : q) : p ∧ q := by
  apply And.intro
  rotate_left
  · exact hq
  case left => exact hp

theorem from_cases (p q : Prop) : p ∨ q → q ∨ p := by
  intro h
  cases h
  · rename_i hp
    exact Or.inr hp
  next hq => exact Or.inl hq

open Nat in
/-- With `open … in`, attributes and universes. -/
@[simp] theorem le_trans'.{u} {γ : Type u} (f : γ → Nat) (x y z : γ) (h : f x ≤ f y) (g : f y ≤ f z) : f x ≤ f z := by
  exact le_of_lt_succ (lt_succ_of_le (Nat.le_trans h g))

private theorem hidden (n : Nat) : n ≤ n + 1 := Nat.le_succ n

theorem uses_hidden (n : Nat) : n ≤ n + 2 := by
  have := hidden n
  have := hidden (n + 1)
  omega

protected theorem first_wins (p : Prop) (h : p) : p ∨ False := by
  first
  | exact Or.inr h
  | exact Or.inl h

theorem conv_works (a b c : Nat) (h : a = b) : a + c = b + c := by
  conv => lhs; rw [h]

theorem rewrites_at (a b : Nat) (h : a + 0 = b) : b = a := by
  rw [Nat.add_zero] at h
  subst h
  rfl

theorem decided : (3 : Nat) ∣ 12 := by
  exact ⟨4, by decide⟩

example : ∃ n : Nat, n * n = 49 := ⟨7, by rfl⟩

end Proofs
