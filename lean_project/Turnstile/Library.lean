import Turnstile.Check

/-! The library as a source of theorems and premises: what each module declares and imports. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

/-- Whether it may be a theorem: see `theoremsAmong`. -/
def isTheoremLike (c : ConstantInfo) : Bool :=
  match c with
  | .thmInfo _ => true
  | .axiomInfo v => !v.isUnsafe && !hasName v.name trueAxioms
  | _ => false

/-- The body of a statement under its binders. -/
def conclusion (e : Expr) : Expr :=
  match e with
  | .forallE _ _ b _ => conclusion b
  | .letE _ _ _ b _ => conclusion b
  | .mdata _ b => conclusion b
  | e => e

def headName (e : Expr) : Name :=
  match e.getAppFn with
  | .const n _ => n
  | .forallE .. => `«forall»
  | .sort _ => `«sort»
  | _ => .anonymous

def explicitBinders (e : Expr) : Nat :=
  match e with
  | .forallE _ _ b .default => explicitBinders b + 1
  | .forallE _ _ b _ => explicitBinders b
  | .mdata _ b => explicitBinders b
  | _ => 0

/-- Whether every constant of the statement is from another module than `idx`. -/
def fromBelow (env : Environment) (idx : ModuleIdx) (ns : List Name) : Bool :=
  match ns with
  | [] => true
  | n :: rest =>
    match env.getModuleIdxFor? n with
    | some j => if j == idx then false else fromBelow env idx rest
    | none => false

/-- `[name, conclusion's head, left side's head, right side's head, explicit binders, from below, constants…]`. -/
def theoremJson (env : Environment) (idx : ModuleIdx) (c : ConstantInfo) : Json :=
  let body := conclusion c.type
  let sides := match body with
    | .app (.app (.app (.const `Eq _) _) a) b => [headName a, headName b]
    | .app (.app (.const `Iff _) a) b => [headName a, headName b]
    | _ => [.anonymous, .anonymous]
  let used := c.type.getUsedConstants.toList
  jarr (append
    [Json.str (nameText c.name), Json.str (nameText (headName body)), jnames sides, jnat (explicitBinders c.type),
     Json.bool (fromBelow env idx used)]
    [jnames used])

/-- The theorems among `cs`. A constant without a body may be one, or data whose body is not there. -/
def theoremsAmong (cs : List ConstantInfo) (acc : List ConstantInfo) : MetaM (List ConstantInfo) :=
  match cs with
  | [] => return revOnto acc []
  | c :: rest => do
    if isTheoremLike c && !c.name.isInternal && !isPrivateName c.name then
      if ← Meta.isProp c.type then theoremsAmong rest (c :: acc) else theoremsAmong rest acc
    else theoremsAmong rest acc

def importNames (is : List Lean.Import) : List Name :=
  match is with
  | [] => []
  | i :: rest => i.module :: importNames rest

def modulesOf (env : Environment) : List Name := env.allImportedModuleNames.toList

def ppType (n : Name) (env : Environment) : MetaM String := do
  match env.find? n with
  | none => return ""
  | some c =>
    let f ← ppExpr c.type
    return f.pretty

/-- Run `x` on an environment, outside any theorem. -/
def onEnvironment {α : Type} (env : Environment) (x : MetaM α) : IO (Except String α) := do
  let t : Thm := {
    name := `x, options := {}, currNamespace := .anonymous, openDecls := [], levels := [], root := default,
    rootType := default, forms := ← IO.mkRef emptyTable, printer := ← newPrinter }
  match ← runMeta x (← coreContext t 0) { env } {} with
  | .ok (a, _, _) => return .ok a
  | .error e => return .error e

def ppTypes (env : Environment) (ns : List String) (acc : List Json) : IO (List Json) :=
  match ns with
  | [] => return revOnto acc []
  | n :: rest => do
    let text ← match ← onEnvironment env (ppType n.toName env) with
      | .ok s => pure s
      | .error _ => pure ""
    ppTypes env rest (Json.str text :: acc)

def moduleJson (env : Environment) (m : Name) : IO (Except String Json) := do
  match env.getModuleIdx? m with
  | none => return .error "no such module"
  | some idx =>
    match env.header.moduleData[idx.toNat]? with
    | none => return .error "no such module"
    | some d =>
      match ← onEnvironment env (theoremsAmong d.constants.toList []) with
      | .error e => return .error e
      | .ok cs => return .ok (Json.mkObj [
          ("imports", jnames (importNames d.imports.toList)),
          ("theorems", jarr (mapList (fun c => theoremJson env idx c) cs))])

end Turnstile
