/-! Binary relations as predicates. -/

abbrev Rel (α β : Type) := α → β → Prop

namespace Rel

variable {α β γ δ : Type}

def Incl (R S : Rel α β) : Prop := ∀ a b, R a b → S a b
def comp (R : Rel α β) (S : Rel β γ) : Rel α γ := fun a c => ∃ b, R a b ∧ S b c
def inv (R : Rel α β) : Rel β α := fun b a => R a b
def inter (R S : Rel α β) : Rel α β := fun a b => R a b ∧ S a b
def diag (α : Type) : Rel α α := fun a b => a = b
def graph (f : α → β) : Rel α β := fun a b => f a = b
def image (R : Rel α β) (A : α → Prop) : β → Prop := fun b => ∃ a, A a ∧ R a b

infix:50 " ⊑ " => Incl
infixr:80 " ⨾ " => comp

/-- The least transitive relation that contains `R`. -/
inductive Plus (R : Rel α α) : Rel α α
  | base {a b : α} : R a b → Plus R a b
  | step {a b c : α} : Plus R a b → R b c → Plus R a c

theorem incl_antisymm (R S : Rel α β) (h₁ : R ⊑ S) (h₂ : S ⊑ R) : R = S := by sorry

theorem diag_comp (R : Rel α β) : diag α ⨾ R = R := by sorry

theorem comp_assoc (R : Rel α β) (S : Rel β γ) (T : Rel γ δ) : (R ⨾ S) ⨾ T = R ⨾ (S ⨾ T) := by sorry

theorem inv_comp (R : Rel α β) (S : Rel β γ) : inv (R ⨾ S) = inv S ⨾ inv R := by sorry

theorem modular_law (R : Rel α β) (S : Rel β γ) (T : Rel α γ) :
    inter (R ⨾ S) T ⊑ R ⨾ inter S (inv R ⨾ T) := by sorry

theorem symm_iff (R : Rel α α) : inv R ⊑ R ↔ inv R = R := by sorry

theorem image_comp (R : Rel α β) (S : Rel β γ) (A : α → Prop) :
    image (R ⨾ S) A = image S (image R A) := by sorry

theorem graph_injective_iff (f : α → β) :
    graph f ⨾ inv (graph f) ⊑ diag α ↔ ∀ x y, f x = f y → x = y := by sorry

theorem plus_trans (R : Rel α α) : Plus R ⨾ Plus R ⊑ Plus R := by sorry

theorem plus_least (R S : Rel α α) (h : R ⊑ S) (hS : S ⨾ S ⊑ S) : Plus R ⊑ S := by sorry

end Rel
