/-! Functions, images and relations with own definitions. -/

namespace Fn

variable {α β γ : Type}

def Injective (f : α → β) : Prop := ∀ x y, f x = f y → x = y
def Surjective (f : α → β) : Prop := ∀ y, ∃ x, f x = y
def comp (g : β → γ) (f : α → β) : α → γ := fun x => g (f x)
def Image (f : α → β) (s : α → Prop) : β → Prop := fun y => ∃ x, s x ∧ f x = y
def Preimage (f : α → β) (t : β → Prop) : α → Prop := fun x => t (f x)
def Subset (s t : α → Prop) : Prop := ∀ x, s x → t x
def HasUpper (f : Nat → Nat) : Prop := ∃ a, ∀ x, f x ≤ a

theorem injective_comp (g : β → γ) (f : α → β) (hg : Injective g) (hf : Injective f) : Injective (comp g f) := by
  sorry

theorem surjective_comp (g : β → γ) (f : α → β) (hg : Surjective g) (hf : Surjective f) : Surjective (comp g f) := by
  sorry

theorem surjective_of_comp (g : β → γ) (f : α → β) (h : Surjective (comp g f)) : Surjective g := by
  sorry

theorem injective_of_comp (g : β → γ) (f : α → β) (h : Injective (comp g f)) : Injective f := by
  sorry

theorem surjective_id : Surjective (fun x : α => x) := by
  sorry

theorem surjective_of_inverse (f : α → β) (g : β → α) (h : ∀ y, f (g y) = y) : Surjective f := by
  sorry

theorem image_mono (f : α → β) (s t : α → Prop) (h : Subset s t) : Subset (Image f s) (Image f t) := by
  sorry

theorem image_subset_iff (f : α → β) (s : α → Prop) (t : β → Prop) : Subset (Image f s) t ↔ Subset s (Preimage f t) := by
  sorry

theorem subset_preimage_image (f : α → β) (s : α → Prop) : Subset s (Preimage f (Image f s)) := by
  sorry

theorem image_preimage_subset (f : α → β) (t : β → Prop) : Subset (Image f (Preimage f t)) t := by
  sorry

theorem subset_image_preimage (f : α → β) (t : β → Prop) (h : Surjective f) : Subset t (Image f (Preimage f t)) := by
  sorry

theorem image_comp (g : β → γ) (f : α → β) (s : α → Prop) : Subset (Image (comp g f) s) (Image g (Image f s)) := by
  sorry

theorem comp_assoc (f : Nat → Nat) (g : Nat → Nat) (h : Nat → Nat) : comp (comp f g) h = comp f (comp g h) := by
  sorry

theorem upper_add (f g : Nat → Nat) (hf : HasUpper f) (hg : HasUpper g) : HasUpper (fun x => f x + g x) := by
  sorry

theorem upper_succ (f : Nat → Nat) (h : HasUpper f) : HasUpper (fun x => f x + 1) := by
  sorry

theorem image_id (s : α → Prop) : Image (fun x => x) s = s := by
  sorry

end Fn
