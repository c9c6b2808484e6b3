import Compat.Native

/-! The representation of proof states for the search: readable names, independent groups, text, and a stable key. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

/-- A group of goals that share metavariables, with all of Lean's state that further steps need. -/
structure Saved where
  core : Core.State
  mstate : Meta.State
  term : Term.State
  goals : List MVarId
  /-- Its theorem, as an index into the server's table. -/
  thm : Nat

def localDecls (lctx : LocalContext) : List LocalDecl := present (persistentList lctx.decls)
where
  present (xs : List (Option LocalDecl)) : List LocalDecl :=
    match xs with
    | [] => []
    | some d :: rest => d :: present rest
    | none :: rest => present rest

/-- A readable name not in `used`: `h✝` becomes `h`, or `h_1`, `h_2` … if that is taken. -/
partial def freshName (used : List Name) (base : String) (i : Nat) : Name :=
  let candidate := Name.mkSimple (if i == 0 then base else base ++ "_" ++ toString i)
  if hasName candidate used then freshName used base (i + 1) else candidate

/-- A name that a tactic can refer to: no macro scopes, one component. -/
def readableBase (n : Name) : String :=
  match n.eraseMacroScopes with
  | .str .anonymous s => if s == "" || s == "_" || s == "x✝" || s == "this" then "x" else s
  | _ => "x"

def visible (ds : List LocalDecl) : List LocalDecl := keep (fun d => !d.isImplementationDetail) ds

/-- Hypotheses without a usable name, oldest first: macro-scoped, or shadowed by a later one. -/
def inaccessible (reversed : List LocalDecl) (later : NameSet) (acc : List LocalDecl) : List LocalDecl :=
  match reversed with
  | [] => acc
  | d :: rest =>
    let n := d.userName
    inaccessible rest (later.insert n) (if n.hasMacroScopes || later.contains n then d :: acc else acc)

-- A closure over a library function would need its boxed version, which the embedded library lacks.
def userNameOf (d : LocalDecl) : Name := d.userName

def renameAll (g : MVarId) (ds : List LocalDecl) (used : List Name) (acc : List Name) : MetaM (MVarId × List Name) :=
  match ds with
  | [] => return (g, revOnto acc [])
  | d :: rest => do
    let n := freshName used (readableBase d.userName) 0
    let g ← g.rename d.fvarId n
    renameAll g rest (n :: used) (n :: acc)

def declOf (g : MVarId) : MetaM MetavarDecl := g.getDecl

/-- Rename hypotheses without usable names, as `rename_i` does. Returns the new goal and the names, oldest first. -/
def makeReadable (g : MVarId) : MetaM (MVarId × List Name) := do
  let decl ← declOf g
  let ds := visible (localDecls decl.lctx)
  match inaccessible (revOnto ds []) {} [] with
  | [] => return (g, [])
  | hidden => renameAll g hidden (mapList userNameOf ds) []

/-- A goal's local context and target, instantiated. -/
structure View where
  goal : MVarId
  decls : List LocalDecl
  target : Expr
  form : Expr
  mvars : List MVarId

def inst (e : Expr) : MetaM Expr := do
  if e.hasMVar then
    let (e, mctx) := instantiateMVarsCore (← getMCtx) e
    setMCtx mctx
    return e
  else return e

def hasMVarIn (ds : List LocalDecl) : Bool := anyOf (fun d => d.type.hasMVar || match d with
  | .ldecl (value := v) .. => v.hasMVar
  | _ => false) ds

def instantiateDecls (ds : List LocalDecl) (acc : List LocalDecl) : MetaM (List LocalDecl) :=
  match ds with
  | [] => return revOnto acc []
  | .cdecl i f n t b k :: rest => do
    instantiateDecls rest (LocalDecl.cdecl i f n (← inst t) b k :: acc)
  | .ldecl i f n t v nd k :: rest => do
    instantiateDecls rest (LocalDecl.ldecl i f n (← inst t) (← inst v) nd k :: acc)

def variables (ds : List LocalDecl) (acc : Array Expr) : Array Expr :=
  match ds with
  | [] => acc
  | d :: rest => variables rest (acc.push (.fvar d.fvarId))

/-- Bind hypotheses, the last one first, in a term whose loose variables they are. `xs`: their free variables, in order.
`LocalContext.mkLambda` leaves out unused `let`s before Lean 4.23. -/
def bound (backwards : List LocalDecl) (xs : Array Expr) (e : Expr) : Expr :=
  match backwards with
  | [] => e
  | .cdecl _ _ n t b _ :: rest =>
    let before := xs.pop
    bound rest before (.lam n (t.abstract before) e b)
  | .ldecl _ _ n t v nd _ :: rest =>
    let before := xs.pop
    bound rest before (.letE n (t.abstract before) (v.abstract before) e nd)

/-- The goal as a closed term: hypotheses abstracted in order, metavariables kept. A mark before the target separates it from the
hypotheses, since a target may bind variables too. -/
def closedForm (ds : List LocalDecl) (target : Expr) : Expr :=
  let xs := variables ds #[]
  bound (revOnto ds []) xs (Expr.abstract (.app (.lit (.natVal 0)) target) xs)

/-- The goals that assigned metavariables wait for: `?f` in `fun x => ?d x`, where Lean assigns `?d` when `?f` is solved. -/
partial def awaited (ms : List MVarId) (seen : List MVarId) : MetaM (List MVarId) :=
  match ms with
  | [] => return revOnto seen []
  | m :: rest => do
    if anyOf (fun n => n == m) seen then awaited rest seen
    else match (← getMCtx).getDelayedMVarAssignmentCore? m with
      | none => awaited rest (m :: seen)
      | some d =>
        let e ← inst (.mvar d.mvarIdPending)
        awaited (append rest (e.collectMVars {}).result.toList) (m :: seen)

def view (g : MVarId) : MetaM View := do
  let decl ← declOf g
  let target ← inst decl.type
  let ds := visible (localDecls decl.lctx)
  let decls ← if hasMVarIn ds then instantiateDecls ds [] else pure ds
  let form := closedForm decls target
  let mvars ← if form.hasExprMVar then awaited (form.collectMVars {}).result.toList [] else pure []
  return { goal := g, decls, target, form, mvars }

def hasMVarId (m : MVarId) (ms : List MVarId) : Bool := anyOf (fun n => n == m) ms

def sharesWith (v : View) (group : List View) : Bool :=
  anyOf (fun w => hasMVarId v.goal w.mvars || hasMVarId w.goal v.mvars
    || anyOf (fun m => hasMVarId m w.mvars) v.mvars) group

def flatten (gs : List (List View)) : List View :=
  match gs with
  | [] => []
  | g :: rest => append g (flatten rest)

/-- Append `v` to the groups that share metavariables with it, merged into one. -/
def insertView (groups : List (List View)) (v : View) : List (List View) :=
  match keep (sharesWith v) groups with
  | [] => append groups [[v]]
  | mine => append (keep (fun g => !sharesWith v g) groups) [append (flatten mine) [v]]

def groupsOf (vs : List View) (groups : List (List View)) : List (List View) :=
  match vs with
  | [] => groups
  | v :: rest => groupsOf rest (insertView groups v)

def indexOfGoal (vs : List View) (g : MVarId) (i : Nat) : Option Nat :=
  match vs with
  | [] => none
  | v :: rest => if v.goal == g then some i else indexOfGoal rest g (i + 1)

/-- Position of a goal: its group and its index there. -/
def positionOf (groups : List (List View)) (g : MVarId) (i : Nat) : Nat × Nat :=
  match groups with
  | [] => (0, 0)
  | vs :: rest =>
    match indexOfGoal vs g 0 with
    | some j => (i, j)
    | none => positionOf rest g (i + 1)

def indexOfMVar (ms : List MVarId) (m : MVarId) (i : Nat) : Nat :=
  match ms with
  | [] => i
  | n :: rest => if n == m then i else indexOfMVar rest m (i + 1)

/-- Number metavariables by first appearance, so that goals that differ only in metavariables are equal. -/
def numberMVars (order : List MVarId) (e : Expr) : Expr :=
  e.replace fun
    | .mvar m => some (.const (.num `_turnstile_mvar (indexOfMVar order m 0)) [])
    | _ => none

def joinForms (vs : List View) (acc : Expr) : Expr :=
  match vs with
  | [] => acc
  | v :: rest => joinForms rest (Expr.app acc v.form)

/-- One closed term for the whole group, with numbered metavariables. -/
def groupForm (vs : List View) : Expr :=
  match vs with
  | [v] => if v.form.hasExprMVar then numberMVars (v.goal :: v.mvars) v.form else v.form
  | _ =>
    let joined := joinForms vs (Expr.const `_turnstile_group [])
    let goals := mapList (fun v => v.goal) vs
    let others := keep (fun m => !hasMVarId m goals) (joined.collectMVars {}).result.toList
    numberMVars (append goals others) joined

end Turnstile
