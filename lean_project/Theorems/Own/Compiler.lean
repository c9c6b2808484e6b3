/-! A compiler from expressions to code with an explicit continuation, and a constant folder. -/

namespace Mini

inductive Exp where
  | num (n : Nat)
  | var (x : String)
  | plus (a b : Exp)
  | times (a b : Exp)
  | cond (c a b : Exp)

abbrev Env := String → Nat

/-- Zero counts as false, everything else as true. -/
def eval (ρ : Env) : Exp → Nat
  | .num n => n
  | .var x => ρ x
  | .plus a b => eval ρ a + eval ρ b
  | .times a b => eval ρ a * eval ρ b
  | .cond c a b => if eval ρ c = 0 then eval ρ b else eval ρ a

def both (a b : Exp) : Exp := .cond a b (.num 0)

inductive Code where
  | halt
  | push (n : Nat) (k : Code)
  | load (x : String) (k : Code)
  | add (k : Code)
  | mul (k : Code)
  | branch (yes no : Code)

/-- Run code on a stack. The machine fails on a stack that is too short. -/
def exec (ρ : Env) : Code → List Nat → Option (List Nat)
  | .halt, s => some s
  | .push n k, s => exec ρ k (n :: s)
  | .load x k, s => exec ρ k (ρ x :: s)
  | .add k, b :: a :: s => exec ρ k ((a + b) :: s)
  | .mul k, b :: a :: s => exec ρ k ((a * b) :: s)
  | .branch yes no, c :: s => if c = 0 then exec ρ no s else exec ρ yes s
  | _, _ => none

def comp : Exp → Code → Code
  | .num n, k => .push n k
  | .var x, k => .load x k
  | .plus a b, k => comp a (comp b (.add k))
  | .times a b, k => comp a (comp b (.mul k))
  | .cond c a b, k => comp c (.branch (comp a k) (comp b k))

def compile (e : Exp) : Code := comp e .halt

def mkPlus : Exp → Exp → Exp
  | .num m, .num n => .num (m + n)
  | .num 0, b => b
  | a, b => .plus a b

def mkTimes : Exp → Exp → Exp
  | .num m, .num n => .num (m * n)
  | .num 1, b => b
  | a, b => .times a b

def mkCond : Exp → Exp → Exp → Exp
  | .num n, a, b => if n = 0 then b else a
  | c, a, b => .cond c a b

def fold : Exp → Exp
  | .num n => .num n
  | .var x => .var x
  | .plus a b => mkPlus (fold a) (fold b)
  | .times a b => mkTimes (fold a) (fold b)
  | .cond c a b => mkCond (fold c) (fold a) (fold b)

def Closed : Exp → Prop
  | .num _ => True
  | .var _ => False
  | .plus a b => Closed a ∧ Closed b
  | .times a b => Closed a ∧ Closed b
  | .cond c a b => Closed c ∧ Closed a ∧ Closed b

def subst (x : String) (u : Exp) : Exp → Exp
  | .num n => .num n
  | .var y => if y = x then u else .var y
  | .plus a b => .plus (subst x u a) (subst x u b)
  | .times a b => .times (subst x u a) (subst x u b)
  | .cond c a b => .cond (subst x u c) (subst x u a) (subst x u b)

def update (ρ : Env) (x : String) (v : Nat) : Env := fun y => if y = x then v else ρ y

theorem eval_both (ρ : Env) (a b : Exp) :
    eval ρ (both a b) ≠ 0 ↔ eval ρ a ≠ 0 ∧ eval ρ b ≠ 0 := by sorry

theorem comp_correct (ρ : Env) (e : Exp) (k : Code) (s : List Nat) :
    exec ρ (comp e k) s = exec ρ k (eval ρ e :: s) := by sorry

theorem compile_correct (ρ : Env) (e : Exp) : exec ρ (compile e) [] = some [eval ρ e] := by sorry

theorem eval_mkPlus (ρ : Env) (a b : Exp) : eval ρ (mkPlus a b) = eval ρ a + eval ρ b := by sorry

theorem eval_mkTimes (ρ : Env) (a b : Exp) : eval ρ (mkTimes a b) = eval ρ a * eval ρ b := by sorry

theorem eval_mkCond (ρ : Env) (c a b : Exp) :
    eval ρ (mkCond c a b) = if eval ρ c = 0 then eval ρ b else eval ρ a := by sorry

theorem eval_fold (ρ : Env) (e : Exp) : eval ρ (fold e) = eval ρ e := by sorry

theorem compile_fold (ρ : Env) (e : Exp) :
    exec ρ (compile (fold e)) [] = exec ρ (compile e) [] := by sorry

theorem fold_closed (e : Exp) (h : Closed e) : ∃ n, fold e = .num n := by sorry

theorem eval_subst (ρ : Env) (x : String) (u e : Exp) :
    eval ρ (subst x u e) = eval (update ρ x (eval ρ u)) e := by sorry

end Mini
