import Turnstile.Export

/-! The checker's own conditions on a declaration, besides the kernel's. Lean's kernels before 4.34 have publicly known holes; each
check here closes one kind and names its report at github.com/leanprover/lean4. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

/-- Names with a built-in meaning: the kernel computes with them whatever their definitions are, or they are allowed axioms. `Init`
declares them; a file that starts with `prelude` could give them another meaning. -/
def kernelNames : List Name :=
  [`Nat, `Nat.zero, `Nat.succ, `Nat.add, `Nat.sub, `Nat.mul, `Nat.div, `Nat.mod, `Nat.gcd, `Nat.beq, `Nat.ble, `Nat.land,
   `Nat.lor, `Nat.xor, `Nat.shiftLeft, `Nat.shiftRight, `Nat.pow, `Nat.log2, `Bool, `Bool.true, `Bool.false, `Char,
   `Char.ofNat, `String, `String.mk, `String.ofList, `List, `List.nil, `List.cons, `Eq, `Eq.refl, `Quot, `Quot.mk, `Quot.lift,
   `Quot.ind, `Quot.sound, `propext, `Classical.choice, `Lean.reduceBool, `Lean.reduceNat, `Lean.ofReduceBool,
   `Lean.ofReduceNat, `Lean.trustCompiler, `sorryAx, `eagerReduce, `optParam, `autoParam, `outParam, `dontcare]

/-- First components of names that the kernel (#14616) and the checker use internally. -/
def kernelRoots : List String := ["_nested", "_nested_fresh", "_kernel_fresh", "_ind_fresh", "_turnstile"]

def rootOf (n : Name) : String :=
  match n with
  | .anonymous => ""
  | .str .anonymous s => s
  | .str p _ => rootOf p
  | .num p _ => rootOf p

/-- Whether a level is 0 for all values of its parameters. The kernel compares sorts with `Prop` syntactically (#14613), so such a level
is replaced by 0. -/
partial def alwaysZero (l : Level) : Bool :=
  match l with
  | .zero => true
  | .max a b => alwaysZero a && alwaysZero b
  | .imax _ b => alwaysZero b
  | _ => false

/-- Whether an inductive type's type ends in a sort by unfolding definitions alone. A sort that recursion computes may be stuck for some
arguments, which the kernel takes for "not a proposition" (#14807, #14843). -/
partial def endsInSort (env : Kernel.Environment) (e : Expr) (fuel : Nat) : Bool :=
  if fuel == 0 then false
  else match e with
  | .sort _ => true
  | .forallE _ _ b _ => endsInSort env b (fuel - 1)
  | .mdata _ b => endsInSort env b (fuel - 1)
  | .letE _ _ v b _ => endsInSort env (b.instantiate1 v) (fuel - 1)
  | _ =>
    match e.getAppFn with
    | .lam .. => endsInSort env e.headBeta (fuel - 1)
    | .const n us =>
      match env.find? n with
      | some (.defnInfo v) =>
        endsInSort env (withArguments (v.value.instantiateLevelParams v.levelParams us) (argumentsOf e [])).headBeta (fuel - 1)
      | _ => false
    | _ => false

def isOpen (e : Expr) : Bool := e.hasFVar || e.hasExprMVar || e.hasLevelMVar || e.hasLooseBVars

/-- The first projection in `e` that no structure has (#14632), if any. -/
def badProjection (env : Kernel.Environment) (e : Expr) : Option Expr :=
  e.find? fun
    | .proj s i _ =>
      match env.find? s with
      | some (.inductInfo v) =>
        match v.ctors with
        | [c] => match env.find? c with
          | some (.ctorInfo k) => Nat.ble k.numFields i
          | _ => true
        | _ => true
      | _ => true
    | _ => false

def typesAndValues (d : Declaration) : List Expr :=
  match d with
  | .axiomDecl v => [v.type]
  | .thmDecl v => [v.type, v.value]
  | .defnDecl v => [v.type, v.value]
  | .opaqueDecl v => [v.type, v.value]
  | .inductDecl _ _ ts _ => ofTypes ts
  | _ => []
where
  ofTypes (ts : List InductiveType) : List Expr :=
    match ts with
    | [] => []
    | t :: rest => t.type :: append (mapList (fun c => c.type) t.ctors) (ofTypes rest)

/-- Names that an inductive declaration declares. -/
def inductiveNames (ts : List InductiveType) : List Name :=
  match ts with
  | [] => []
  | t :: rest => t.name :: append (mapList (fun c => c.name) t.ctors) (inductiveNames rest)

def twice (ns : List Name) : Option Name :=
  match ns with
  | [] => none
  | n :: rest => if hasName n rest then some n else twice rest

def anyFails {α : Type} (p : α → Option String) (xs : List α) : Option String :=
  match xs with
  | [] => none
  | x :: rest => match p x with
    | some why => some why
    | none => anyFails p rest

/-- The reason to refuse a declaration before the kernel checks it, if any. `projects`: it may contain projections. -/
def guardBefore (env : Kernel.Environment) (projects : Bool) (d : Declaration) : Option String :=
  match anyFails (fun e => if isOpen e then some "a term with a hole or a free variable" else none) (typesAndValues d) with
  | some why => some why -- #14484
  | none =>
    match d with
    | .inductDecl _ _ ts _ =>
      let recs := mapList (fun (t : InductiveType) => t.name.str "rec") ts
      match twice (append recs (inductiveNames ts)) with
      | some n => some ("an inductive declaration with " ++ nameText n ++ " twice")
      | none => anyFails (fun (t : InductiveType) =>
          if endsInSort env t.type 1000 then none else some ("the sort of " ++ nameText t.name ++ " is computed by recursion")) ts
    | _ =>
      if !projects then none
      else anyFails (fun e => match badProjection env e with
        | some _ => some "a projection that no structure has"
        | none => none) (typesAndValues d)

/-- Whether the kernel accepts the whole of `type` as the type of an axiom. -/
def isType (env : Kernel.Environment) (levels : List Name) (type : Expr) (opts : Options) (token? : Option IO.CancelToken) : Bool :=
  let d := Declaration.axiomDecl { name := `_turnstile.guard, levelParams := levels, type, isUnsafe := false }
  match env.addDecl opts d token? with
  | .ok _ => true
  | .error _ => false

def binders (e : Expr) (n : Nat) : Nat :=
  match e with
  | .forallE _ _ b _ => binders b (n + 1)
  | .mdata _ b => binders b n
  | _ => n

/-- The type of binder number `i`. -/
def binderType (e : Expr) (i : Nat) : Expr :=
  match e with
  | .forallE _ t b _ => if i == 0 then t else binderType b (i - 1)
  | .mdata _ b => binderType b i
  | _ => e

def appliedTo (e : Expr) (n : Nat) : Nat :=
  match e with
  | .app f _ => appliedTo f (n + 1)
  | .mdata _ b => appliedTo b n
  | _ => n

def lambdaBody (e : Expr) : Expr :=
  match e with
  | .lam _ _ b _ => lambdaBody b
  | .mdata _ b => lambdaBody b
  | e => e

/-- Whether each rule of a recursor applies its minor premise to all arguments: a missing induction hypothesis makes a rule ill-typed
(#14806, #14808). -/
def rulesFit (v : RecursorVal) : Bool := !anyOf (fun r => !fits r) v.rules
where
  fits (r : RecursorRule) : Bool :=
    let body := lambdaBody r.rhs
    let first := v.numParams + v.numMotives
    match body.getAppFn with
    | .bvar k =>
      let minor := first + v.numMinors + r.nfields - 1 - k
      Nat.ble first minor && Nat.blt minor (first + v.numMinors) && appliedTo body 0 == binders (binderType v.type minor) 0
    | _ => false

/-- Check an inductive declaration that the kernel has accepted. The kernel does not check the parameters of nested occurrences
(#14576), so the types of all constructors and recursors are checked again. -/
def guardInductive (env : Kernel.Environment) (ts : List InductiveType) (opts : Options) (token? : Option IO.CancelToken) :
    Option String := anyFails ofType ts
where
  refused (n : Name) : Option String := some ("the type of " ++ nameText n ++ " does not type-check")
  ofType (t : InductiveType) : Option String :=
    match anyFails ofConstant (mapList (fun (c : Constructor) => c.name) t.ctors) with
    | some why => some why
    | none => recursors (t.name.str "rec") 0 t.name
  ofConstant (n : Name) : Option String :=
    match env.find? n with
    | some c =>
      match badProjection env c.type with
      | some _ => some "a projection that no structure has"
      | none => if isType env c.levelParams c.type opts token? then none else refused n
    | none => refused n
  /-- `T.rec` and, for nested occurrences, `T.rec_1` and so on. -/
  recursors (n : Name) (i : Nat) (t : Name) : Option String :=
    match env.find? n with
    | some (.recInfo v) =>
      match ofConstant n with
      | some why => some why
      | none =>
        if !rulesFit v then some ("a rule of " ++ nameText n ++ " lacks an induction hypothesis")
        else if i < 64 then recursors (t.str ("rec_" ++ toString (i + 1))) (i + 1) t else none
    | _ => none

end Turnstile
