/-! Binary search trees with natural numbers as keys. -/

inductive Tree where
  | leaf : Tree
  | node (l : Tree) (key : Nat) (r : Tree) : Tree

namespace Tree

/-- The number of keys. -/
def size : Tree → Nat
  | leaf => 0
  | node l _ r => l.size + 1 + r.size

/-- The length of the longest path. -/
def height : Tree → Nat
  | leaf => 0
  | node l _ r => max l.height r.height + 1

/-- Swap left and right everywhere. -/
def mirror : Tree → Tree
  | leaf => leaf
  | node l k r => node r.mirror k l.mirror

/-- The keys from left to right. -/
def toList : Tree → List Nat
  | leaf => []
  | node l k r => l.toList ++ k :: r.toList

/-- The key occurs somewhere in the tree. -/
def Mem (x : Nat) : Tree → Prop
  | leaf => False
  | node l k r => x = k ∨ Mem x l ∨ Mem x r

/-- Search for a key, guided by the order. -/
def member (x : Nat) : Tree → Bool
  | leaf => false
  | node l k r => if x < k then member x l else if k < x then member x r else true

/-- Insert a key, guided by the order. -/
def insert (x : Nat) : Tree → Tree
  | leaf => node leaf x leaf
  | node l k r =>
    if x < k then node (insert x l) k r
    else if k < x then node l k (insert x r)
    else node l k r

/-- The search tree invariant. -/
def Ordered : Tree → Prop
  | leaf => True
  | node l k r => (∀ y, Mem y l → y < k) ∧ (∀ y, Mem y r → k < y) ∧ Ordered l ∧ Ordered r

theorem mirror_mirror (t : Tree) : t.mirror.mirror = t := by sorry

theorem size_mirror (t : Tree) : t.mirror.size = t.size := by sorry

theorem toList_mirror (t : Tree) : t.mirror.toList = t.toList.reverse := by sorry

theorem height_le_size (t : Tree) : t.height ≤ t.size := by sorry

theorem mem_toList (t : Tree) (x : Nat) : x ∈ t.toList ↔ Mem x t := by sorry

theorem member_insert_self (x : Nat) (t : Tree) : member x (insert x t) = true := by sorry

theorem size_insert (x : Nat) (t : Tree) :
    (insert x t).size = if member x t then t.size else t.size + 1 := by sorry

theorem mem_insert (x y : Nat) (t : Tree) : Mem y (insert x t) ↔ y = x ∨ Mem y t := by sorry

theorem ordered_insert (x : Nat) (t : Tree) (h : Ordered t) : Ordered (insert x t) := by sorry

theorem member_iff_mem (x : Nat) (t : Tree) (h : Ordered t) : member x t = true ↔ Mem x t := by sorry

end Tree
