/-! Relations: converse, composition, and a rewriting system's joinability. -/

namespace Rel

variable {α : Type}

def Comp (r s : α → α → Prop) (a c : α) : Prop := ∃ b, r a b ∧ s b c
def Conv (r : α → α → Prop) (a b : α) : Prop := r b a

inductive Star (r : α → α → Prop) : α → α → Prop
  | refl (a : α) : Star r a a
  | step (a b c : α) : r a b → Star r b c → Star r a c

def Join (r : α → α → Prop) (a b : α) : Prop := ∃ c, Star r a c ∧ Star r b c
def Total (r : α → α → Prop) : Prop := ∀ a, ∃ b, r a b
def Normal (r : α → α → Prop) (a : α) : Prop := ¬ ∃ b, r a b

theorem star_one (r : α → α → Prop) (a b : α) (h : r a b) : Star r a b := by
  sorry

theorem star_trans (r : α → α → Prop) (a b c : α) (h : Star r a b) (k : Star r b c) : Star r a c := by
  sorry

theorem join_refl (r : α → α → Prop) (a : α) : Join r a a := by
  sorry

theorem join_symm (r : α → α → Prop) (a b : α) (h : Join r a b) : Join r b a := by
  sorry

theorem join_of_star (r : α → α → Prop) (a b : α) (h : Star r a b) : Join r a b := by
  sorry

theorem join_step (r : α → α → Prop) (a b c : α) (h : r a b) (k : Join r b c) : Join r a c := by
  sorry

theorem comp_assoc (r s t : α → α → Prop) (a d : α) : Comp (Comp r s) t a d → Comp r (Comp s t) a d := by
  sorry

theorem conv_comp (r s : α → α → Prop) (a c : α) : Conv (Comp r s) a c ↔ Comp (Conv s) (Conv r) a c := by
  sorry

theorem comp_mono (r s t : α → α → Prop) (h : ∀ a b, r a b → s a b) (a c : α) : Comp r t a c → Comp s t a c := by
  sorry

theorem total_comp (r s : α → α → Prop) (hr : Total r) (hs : Total s) : Total (Comp r s) := by
  sorry

theorem normal_star (r : α → α → Prop) (a b : α) (h : Normal r a) (k : Star r a b) : a = b := by
  sorry

theorem comp_or (r s t : α → α → Prop) (a c : α) : Comp r (fun x y => s x y ∨ t x y) a c → Comp r s a c ∨ Comp r t a c := by
  sorry

theorem total_not_normal (r : α → α → Prop) (h : Total r) (a : α) : ¬ Normal r a := by
  sorry

end Rel
