/-! Lists: length, append, reverse, map, and a few functions defined here. -/

/-- Reverse, the slow way. (`noncomputable` because the embedded Lean cannot compile `++`.) -/
noncomputable def slowReverse {α : Type} : List α → List α
  | [] => []
  | x :: xs => slowReverse xs ++ [x]

/-- The sum of a list of numbers. -/
def total : List Nat → Nat
  | [] => 0
  | x :: xs => x + total xs

/-- Every element twice in a row. -/
def twice {α : Type} : List α → List α
  | [] => []
  | x :: xs => x :: x :: twice xs

theorem append_nil_basic {α : Type} (xs : List α) : xs ++ [] = xs := by sorry

theorem length_append_basic {α : Type} (xs ys : List α) : (xs ++ ys).length = ys.length + xs.length := by sorry

theorem cons_injective {α : Type} (x y : α) (xs ys : List α) (h : x :: xs = y :: ys) : xs = ys := by sorry

theorem map_twice {α β γ : Type} (f : α → β) (g : β → γ) (xs : List α) :
    (xs.map f).map g = xs.map (fun x => g (f x)) := by sorry

theorem mem_append_left_basic {α : Type} (x : α) (xs ys : List α) (h : x ∈ xs) : x ∈ xs ++ ys := by sorry

theorem reverse_append_basic {α : Type} (xs ys : List α) : (xs ++ ys).reverse = ys.reverse ++ xs.reverse := by sorry

theorem length_filter_le_basic {α : Type} (p : α → Bool) (xs : List α) : (xs.filter p).length ≤ xs.length := by sorry

theorem take_append_drop_basic {α : Type} (n : Nat) (xs : List α) : xs.take n ++ xs.drop n = xs := by sorry

theorem total_append (xs ys : List Nat) : total (xs ++ ys) = total xs + total ys := by sorry

theorem total_reverse (xs : List Nat) : total xs.reverse = total xs := by sorry

theorem slowReverse_append {α : Type} (xs ys : List α) :
    slowReverse (xs ++ ys) = slowReverse ys ++ slowReverse xs := by sorry

theorem slowReverse_involutive {α : Type} (xs : List α) : slowReverse (slowReverse xs) = xs := by sorry

theorem slowReverse_is_reverse {α : Type} (xs : List α) : slowReverse xs = xs.reverse := by sorry

theorem length_twice {α : Type} (xs : List α) : (twice xs).length = 2 * xs.length := by sorry

theorem mem_twice {α : Type} (x : α) (xs : List α) : x ∈ twice xs ↔ x ∈ xs := by sorry

theorem twice_append {α : Type} (xs ys : List α) : twice (xs ++ ys) = twice xs ++ twice ys := by sorry

theorem twice_reverse {α : Type} (xs : List α) : twice xs.reverse = (twice xs).reverse := by sorry

theorem total_le_of_mem (x : Nat) (xs : List Nat) (h : x ∈ xs) : x ≤ total xs := by sorry

theorem total_map_double (xs : List Nat) : total (xs.map (2 * ·)) = 2 * total xs := by sorry
