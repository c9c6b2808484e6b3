import Lean.Meta.Tactic.Ext
import Compat.From28
import Turnstile.Check

/-! An environment as a source of theorems and premises: the declarations and imports of each module. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

def headName (e : Expr) : Name :=
  match e.getAppFn with
  | .const n _ => n
  | .forallE .. => `«forall»
  | .sort _ => `«sort»
  | _ => .anonymous

/-- The heads of both sides of an equation or equivalence. -/
def sidesOf (body : Expr) : List Name :=
  match body with
  | .app (.app (.app (.const `Eq _) _) a) b => [headName a, headName b]
  | .app (.app (.const `Iff _) a) b => [headName a, headName b]
  | _ => [.anonymous, .anonymous]

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

def simpMarks (es : List (ScopedEnvExtension.Entry SimpEntry)) (acc : Marks) : Marks :=
  match es with
  | [] => acc
  | .global (.thm t) :: rest =>
    match t.origin with
    | .decl n .. => simpMarks rest (acc.insert (.str n "simp"))
    | _ => simpMarks rest acc
  | _ :: rest => simpMarks rest acc

def extMarks (es : List (ScopedEnvExtension.Entry Ext.ExtTheorem)) (acc : Marks) : Marks :=
  match es with
  | [] => acc
  | .global t :: rest => extMarks rest (acc.insert (.str t.declName "ext"))
  | _ :: rest => extMarks rest acc

def instanceMarks (es : List (ScopedEnvExtension.Entry InstanceEntry)) (acc : Marks) : Marks :=
  match es with
  | [] => acc
  | .global e :: rest | .scoped _ e :: rest =>
    match e.globalName? with
    | some n => instanceMarks rest (acc.insert (.str n "instance"))
    | none => instanceMarks rest acc

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
    | "Lean.Meta.instanceExtension" => marksFrom rest (instanceMarks (unsafeCast xs.toList) acc)
    | _ => marksFrom rest acc

@[implemented_by marksFrom]
opaque marksAmong (es : List (Name × Array EnvExtensionEntry)) (acc : Marks) : Marks

def marked (ms : Marks) (n : Name) (mark : String) : Bool := ms.contains (.str n mark)

/-- The attributes that a theorem's own module gives it, of those that describe its use. -/
def attributesOf (env : Environment) (ms : Marks) (n : Name) : List Json :=
  let found := if Linter.isDeprecated env n then [Json.str "deprecated"] else []
  let found := if defeqAttr.hasTag env n then Json.str "defeq" :: found else found
  let found := if marked ms n "ext" then Json.str "ext" :: found else found
  let found := if marked ms n "grind" then Json.str "grind" :: found else found
  if marked ms n "simp" then Json.str "simp" :: found else found

/-- The kind of a declaration that a premise may be; none for recursors, what is private or unsafe, and Lean's own axioms. A constant
without a body may be a theorem, or a definition whose body is missing. -/
def kindOf (ms : Marks) (c : ConstantInfo) : MetaM (Option String) := do
  if c.isUnsafe || c.name.isInternal || isPrivateName c.name || hasName c.name trueAxioms then return none
  let defined := some (if marked ms c.name "instance" then "instance" else "definition")
  match c with
  | .thmInfo _ => return if ← Meta.isProp c.type then some "theorem" else none
  | .axiomInfo _ => return if ← Meta.isProp c.type then some "theorem" else defined
  | .ctorInfo _ => return some "constructor"
  | .defnInfo _ | .opaqueInfo _ | .inductInfo _ => return defined
  | _ => return none

/-- `[name, conclusion's head, [left side's head, right side's head], explicit binders, from below, constants, type, attributes, kind]`. -/
def declarationJson (env : Environment) (ms : Marks) (idx : ModuleIdx) (c : ConstantInfo) (kind : String) : MetaM Json := do
  let body := conclusion c.type
  let used := c.type.getUsedConstants.toList
  let f ← ppExpr c.type
  return jarr [Json.str (nameText c.name), Json.str (nameText (headName body)), jnames (sidesOf body), jnat (explicitBinders c.type),
    Json.bool (fromBelow env idx used), jnames used, Json.str f.pretty, jarr (attributesOf env ms c.name), Json.str kind]

/-- `[place in the module, name, kind]` of each declaration that may be a premise. -/
def candidatesJson (ms : Marks) (cs : List ConstantInfo) (place : Nat) (acc : List Json) : MetaM (List Json) :=
  match cs with
  | [] => return revOnto acc []
  | c :: rest => do
    match ← kindOf ms c with
    | some kind => candidatesJson ms rest (place + 1) (jarr [jnat place, Json.str (nameText c.name), Json.str kind] :: acc)
    | none => candidatesJson ms rest (place + 1) acc

/-- The `chosen` candidates in full. -/
def declarationsJson (env : Environment) (ms : Marks) (idx : ModuleIdx) (cs : Array ConstantInfo) (chosen : List Json)
    (acc : List Json) : MetaM (List Json) :=
  match chosen with
  | .arr #[.num place, _, .str kind] :: rest => do
    match cs[place.mantissa.toNat]? with
    | some c => declarationsJson env ms idx cs rest ((← declarationJson env ms idx c kind) :: acc)
    | none => declarationsJson env ms idx cs rest acc
  | _ => return revOnto acc []

def importNames (is : List Lean.Import) : List Name :=
  match is with
  | [] => []
  | i :: rest => i.module :: importNames rest

/-- `[module, imports]` of every module of an environment, each after its imports. -/
def modulesJson (env : Environment) : List Json := go env.allImportedModuleNames.toList env.header.moduleData.toList []
where
  go (ns : List Name) (ds : List ModuleData) (acc : List Json) : List Json :=
    match ns, ds with
    | n :: ns, d :: ds => go ns ds (jarr [Json.str (nameText n), jnames (importNames d.imports.toList)] :: acc)
    | _, _ => revOnto acc []

/-- The declarations of a module that may be premises, or those of them that are `chosen`. Printing their types costs most, so the
client first leaves out what Lean generated. -/
def moduleJson (env : Environment) (m : Name) (chosen? : Option (List Json)) : IO (Except String Json) := do
  match env.getModuleIdx? m with
  | none => return .error "no such module"
  | some idx =>
    match env.header.moduleData[idx.toNat]? with
    | none => return .error "no such module"
    | some d =>
      let ms := marksAmong d.entries.toList {}
      let found := match chosen? with
        | some chosen => declarationsJson env ms idx d.constants chosen []
        | none => candidatesJson ms d.constants.toList 0 []
      match ← onEnvironment env {} found with
      | .error e => return .error e
      | .ok cs => return .ok (jarr cs)

end Turnstile
