/-! Propositional and first-order logic, from a single step to classical arguments. -/

theorem and_swap_basic (p q : Prop) (h : p ∧ q) : q ∧ p := by sorry

theorem or_swap_basic (p q : Prop) (h : p ∨ q) : q ∨ p := by sorry

theorem imp_chain (p q r : Prop) (f : p → q) (g : q → r) : p → r := by sorry

theorem curry_basic (p q r : Prop) : (p ∧ q → r) ↔ (p → q → r) := by sorry

theorem not_not_intro_basic (p : Prop) (h : p) : ¬¬p := by sorry

theorem triple_negation (p : Prop) : ¬¬¬p ↔ ¬p := by sorry

theorem contrapose_basic (p q : Prop) (h : p → q) : ¬q → ¬p := by sorry

theorem and_over_or (p q r : Prop) : p ∧ (q ∨ r) ↔ (p ∧ q) ∨ (p ∧ r) := by sorry

theorem or_over_and (p q r : Prop) : p ∨ (q ∧ r) ↔ (p ∨ q) ∧ (p ∨ r) := by sorry

theorem not_or_both (p q : Prop) : ¬(p ∨ q) ↔ ¬p ∧ ¬q := by sorry

theorem or_imp_both (p q r : Prop) : (p ∨ q → r) ↔ (p → r) ∧ (q → r) := by sorry

theorem iff_chain (p q r : Prop) (h₁ : p ↔ q) (h₂ : q ↔ r) : p ↔ r := by sorry

theorem no_liar (p : Prop) : ¬(p ↔ ¬p) := by sorry

theorem excluded_middle_not_refuted (p : Prop) : ¬¬(p ∨ ¬p) := by sorry

theorem peirce_basic (p q : Prop) : ((p → q) → p) → p := by sorry

theorem not_and_classical (p q : Prop) : ¬(p ∧ q) ↔ ¬p ∨ ¬q := by sorry

theorem imp_or_classical (p q r : Prop) : (p → q ∨ r) → (p → q) ∨ (p → r) := by sorry

theorem linear_order_of_implications (p q : Prop) : (p → q) ∨ (q → p) := by sorry

theorem forall_and_split {α : Type} (p q : α → Prop) : (∀ x, p x ∧ q x) ↔ (∀ x, p x) ∧ (∀ x, q x) := by sorry

theorem exists_or_split {α : Type} (p q : α → Prop) : (∃ x, p x ∨ q x) ↔ (∃ x, p x) ∨ (∃ x, q x) := by sorry

theorem drinker {α : Type} (someone : α) (drinks : α → Prop) : ∃ x, drinks x → ∀ y, drinks y := by sorry

theorem barber {α : Type} (shaves : α → α → Prop) (barber : α) :
    ¬ ∀ x, shaves barber x ↔ ¬ shaves x x := by sorry
