import Lean.Meta.Tactic.Ext
import Lean.Meta.Tactic.Grind.Extension
import Turnstile.Check

/-! The library as a source of theorems and premises: the declarations and imports of each module. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

/-- Whether it may be a theorem: see `theoremsAmong`. -/
def isTheoremLike (c : ConstantInfo) : Bool :=
  match c with
  | .thmInfo _ => true
  | .axiomInfo v => !v.isUnsafe && !hasName v.name trueAxioms
  | _ => false

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

/-- Whether all constants of the statement are from modules other than `idx`. -/
def fromBelow (env : Environment) (idx : ModuleIdx) (ns : List Name) : Bool :=
  match ns with
  | [] => true
  | n :: rest =>
    match env.getModuleIdxFor? n with
    | some j => if j == idx then false else fromBelow env idx rest
    | none => false

/-- The theorems among `cs`. A constant without a body may be a theorem, or data whose body is missing. -/
def theoremsAmong (cs : List ConstantInfo) (acc : List ConstantInfo) : MetaM (List ConstantInfo) :=
  match cs with
  | [] => return revOnto acc []
  | c :: rest => do
    if isTheoremLike c && !c.name.isInternal && !isPrivateName c.name then
      if ← Meta.isProp c.type then theoremsAmong rest (c :: acc) else theoremsAmong rest acc
    else theoremsAmong rest acc

/-- Theorems and their attributes in a module. -/
abbrev Marks := List (Name × String)

def simpMarks (es : List (ScopedEnvExtension.Entry SimpEntry)) (acc : Marks) : Marks :=
  match es with
  | [] => acc
  | .global (.thm t) :: rest =>
    match t.origin with
    | .decl n .. => simpMarks rest ((n, "simp") :: acc)
    | _ => simpMarks rest acc
  | _ :: rest => simpMarks rest acc

def extMarks (es : List (ScopedEnvExtension.Entry Ext.ExtTheorem)) (acc : Marks) : Marks :=
  match es with
  | [] => acc
  | .global t :: rest => extMarks rest ((t.declName, "ext") :: acc)
  | _ :: rest => extMarks rest acc

def grindMarks (es : List (ScopedEnvExtension.Entry Grind.Entry)) (acc : Marks) : Marks :=
  match es with
  | [] => acc
  | .global (.ematch t) :: rest =>
    match t.origin with
    | .decl n => grindMarks rest ((n, "grind") :: acc)
    | _ => grindMarks rest acc
  | _ :: rest => grindMarks rest acc

/-- Attributes in a module's own entries. On the embedded library the functions that look attributes up in an environment do not
compile. -/
unsafe def marksFrom (es : List (Name × Array EnvExtensionEntry)) (acc : Marks) : Marks :=
  match es with
  | [] => acc
  | (n, xs) :: rest =>
    match nameText n with
    | "Lean.Meta.simpExtension" => marksFrom rest (simpMarks (unsafeCast xs.toList) acc)
    | "Lean.Meta.Ext.extExtension" => marksFrom rest (extMarks (unsafeCast xs.toList) acc)
    | "Lean.Meta.Grind.grindExt" => marksFrom rest (grindMarks (unsafeCast xs.toList) acc)
    | _ => marksFrom rest acc

@[implemented_by marksFrom]
opaque marksAmong (es : List (Name × Array EnvExtensionEntry)) (acc : Marks) : Marks

def marked (ms : Marks) (n : Name) (mark : String) : Bool := anyOf (fun m => m.1 == n && m.2 == mark) ms

/-- The attributes that a theorem's own module gives it, of those that describe its use. -/
def attributesOf (env : Environment) (ms : Marks) (n : Name) : List Json :=
  let found := if Linter.isDeprecated env n then [Json.str "deprecated"] else []
  let found := if defeqAttr.hasTag env n then Json.str "defeq" :: found else found
  let found := if marked ms n "ext" then Json.str "ext" :: found else found
  let found := if marked ms n "grind" then Json.str "grind" :: found else found
  if marked ms n "simp" then Json.str "simp" :: found else found

/-- `[name, conclusion's head, [left side's head, right side's head], explicit binders, from below, constants, type, attributes]`. -/
def theoremJson (env : Environment) (ms : Marks) (idx : ModuleIdx) (c : ConstantInfo) : MetaM Json := do
  let body := conclusion c.type
  let sides := match body with
    | .app (.app (.app (.const `Eq _) _) a) b => [headName a, headName b]
    | .app (.app (.const `Iff _) a) b => [headName a, headName b]
    | _ => [.anonymous, .anonymous]
  let used := c.type.getUsedConstants.toList
  let f ← ppExpr c.type
  return jarr [Json.str (nameText c.name), Json.str (nameText (headName body)), jnames sides, jnat (explicitBinders c.type),
    Json.bool (fromBelow env idx used), jnames used, Json.str f.pretty, jarr (attributesOf env ms c.name)]

def theoremsJson (env : Environment) (ms : Marks) (idx : ModuleIdx) (cs : List ConstantInfo) (acc : List Json) :
    MetaM (List Json) :=
  match cs with
  | [] => return revOnto acc []
  | c :: rest => do theoremsJson env ms idx rest ((← theoremJson env ms idx c) :: acc)

def theoremsOf (env : Environment) (ms : Marks) (idx : ModuleIdx) (cs : List ConstantInfo) : MetaM (List Json) := do
  theoremsJson env ms idx (← theoremsAmong cs []) []

def importNames (is : List Lean.Import) : List Name :=
  match is with
  | [] => []
  | i :: rest => i.module :: importNames rest

def modulesOf (env : Environment) : List Name := env.allImportedModuleNames.toList

def moduleJson (env : Environment) (m : Name) : IO (Except String Json) := do
  match env.getModuleIdx? m with
  | none => return .error "no such module"
  | some idx =>
    match env.header.moduleData[idx.toNat]? with
    | none => return .error "no such module"
    | some d =>
      match ← onEnvironment env {} (theoremsOf env (marksAmong d.entries.toList []) idx d.constants.toList) with
      | .error e => return .error e
      | .ok cs => return .ok (Json.mkObj [("imports", jnames (importNames d.imports.toList)), ("theorems", jarr cs)])

end Turnstile
