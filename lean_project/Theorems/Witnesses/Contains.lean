/-! Own lists that contain, and prefixes. -/

inductive Row (α : Type) where
  | nil : Row α
  | cons (a : α) (l : Row α) : Row α

namespace Row

variable {α : Type}

def app : Row α → Row α → Row α
  | nil, m => m
  | cons a l, m => cons a (app l m)

def one (a : α) : Row α := cons a nil

theorem app_nil (l : Row α) : app l nil = l := by
  induction l with
  | nil => rfl
  | cons a l ih => rw [app, ih]
theorem app_assoc (l m n : Row α) : app (app l m) n = app l (app m n) := by
  induction l with
  | nil => rfl
  | cons a l ih => rw [app, app, app, ih]

def Has (a : α) (l : Row α) : Prop := ∃ s t, l = app s (cons a t)
def Prefix (l m : Row α) : Prop := ∃ t, m = app l t
def Suffix (l m : Row α) : Prop := ∃ s, m = app s l
def Infix (l m : Row α) : Prop := ∃ s t, m = app s (app l t)

theorem has_cons_self (a : α) (l : Row α) : Has a (cons a l) := by
  sorry

theorem has_cons (a b : α) (l : Row α) : Has a l → Has a (cons b l) := by
  sorry

theorem has_one (a : α) : Has a (one a) := by
  sorry

theorem not_has_nil (a : α) : ¬ Has a nil := by
  sorry

theorem has_app_left (a : α) (l m : Row α) : Has a l → Has a (app l m) := by
  sorry

theorem has_app_right (a : α) (l m : Row α) : Has a m → Has a (app l m) := by
  sorry

theorem prefix_refl (l : Row α) : Prefix l l := by
  sorry

theorem nil_prefix (l : Row α) : Prefix nil l := by
  sorry

theorem prefix_app (l m : Row α) : Prefix l (app l m) := by
  sorry

theorem prefix_trans (l m n : Row α) : Prefix l m → Prefix m n → Prefix l n := by
  sorry

theorem prefix_cons (a : α) (l m : Row α) : Prefix l m → Prefix (cons a l) (cons a m) := by
  sorry

theorem of_prefix_cons (a b : α) (l m : Row α) : Prefix (cons a l) (cons b m) → a = b ∧ Prefix l m := by
  sorry

theorem suffix_cons (a : α) (l m : Row α) : Suffix l m → Suffix l (cons a m) := by
  sorry

theorem suffix_trans (l m n : Row α) : Suffix l m → Suffix m n → Suffix l n := by
  sorry

theorem infix_of_prefix (l m : Row α) : Prefix l m → Infix l m := by
  sorry

theorem infix_of_suffix (l m : Row α) : Suffix l m → Infix l m := by
  sorry

theorem has_of_prefix (a : α) (l m : Row α) (h : Prefix l m) (k : Has a l) : Has a m := by
  sorry

theorem nonempty (l : Row α) : l = nil ∨ ∃ a, Has a l := by
  sorry

end Row
