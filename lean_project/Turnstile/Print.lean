import Turnstile.Kinds

/-! Print goals as Lean's `ppGoal` does, but line by line, with a cache of lines for each theorem.

Printing costs more than a cheap tactic, and related goals share nearly all lines. A line depends on its term and on the names and
types of the variables in it. The cache's key is the term with each variable replaced by a constant that encodes both. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

structure Line where
  source : Expr
  text : String

/-- A printed goal of this theorem. `form` includes all its names, `constants` those that it mentions; see `kindsJson`. -/
structure Page where
  form : Expr
  tag : Name
  text : String
  constants : Json
  kinds : Json

/-- The caches of a theorem. -/
structure Printer where
  lines : IO.Ref (Table Line)
  pages : IO.Ref (Table Page)

def newPrinter : IO Printer := do return { lines := ← IO.mkRef emptyTable, pages := ← IO.mkRef emptyTable }

-- 31 bits: the largest numbers that need no allocation on the embedded Lean.
def bitsOf (h shift : UInt64) : Nat := ((h >>> shift) &&& 0x7fffffff).toNat

/-- A variable in the key of a line: its name and a hash of its type. -/
def standIn (n : Name) (type : Expr) : Expr :=
  .const (.num (.num n (bitsOf type.hash 33)) (bitsOf type.hash 2)) []

def findLine (b : List (UInt64 × Line)) (h : UInt64) (source : Expr) : Option String :=
  match b with
  | [] => none
  | (k, l) :: rest => if k == h && l.source.equal source then some l.text else findLine rest h source

def findPage (b : List (UInt64 × Page)) (h : UInt64) (form : Expr) (tag : Name) : Option Page :=
  match b with
  | [] => none
  | (k, p) :: rest => if k == h && p.tag == tag && p.form.equal form then some p else findPage rest h form tag

def namesOf (lctx : LocalContext) (fs : List FVarId) (acc : List Name) : List Name :=
  match fs with
  | [] => acc
  | f :: rest =>
    match lctx.find? f with
    | some d => namesOf lctx rest (d.userName :: acc)
    | none => namesOf lctx rest acc

/-- Whether a bound variable has the name of a free one, since Lean may then rename it depending on the whole scope. -/
def clashes (lctx : LocalContext) (e : Expr) : Bool :=
  let names := namesOf lctx (collectFVars {} e).fvarIds.toList []
  match e.find? fun
    | .lam n .. => hasName n names
    | .forallE n .. => hasName n names
    | .letE n .. => hasName n names
    | _ => false with
  | some _ => true
  | none => false

/-- The text of a line, from the cache or by `make`. -/
def lineOf (p : Printer) (source e : Expr) (make : Format → Format) : MetaM String := do
  let h := source.hash
  let known ← p.lines.get
  match if e.hasMVar then none else findLine (known.bucket h) h source with
  | some text => return text
  | none =>
    let f ← ppExpr e
    let text := (make f).pretty
    if e.hasMVar || clashes (← getLCtx) e then return text
    p.lines.set (known.insert h { source, text })
    return text

/-- The lines so far, last first, and the hypotheses of one type for the next line. -/
structure Text where
  lines : List String
  names : String
  type : Expr
  named : Expr
  fvars : Array Expr
  standIns : Array Expr

def Text.name (t : Text) (e : Expr) : Expr := if e.hasFVar then e.replaceFVars t.fvars t.standIns else e

def hypothesisLine (names : String) (f : Format) : Format :=
  .group (.append (.text (names ++ " :")) (.nest 2 (.append .line f)))

def Text.flush (t : Text) (p : Printer) : MetaM (List String) := do
  if t.names.isEmpty then return t.lines
  let line ← lineOf p (.app (.const (.mkSimple t.names) []) t.named) t.type (hypothesisLine t.names)
  return line :: t.lines

def hypothesisLines (p : Printer) (ds : List LocalDecl) (t : Text) : MetaM Text :=
  match ds with
  | [] => do return { t with lines := ← t.flush p }
  | d :: rest => do
    let named := t.name d.type
    let fvars := t.fvars.push (.fvar d.fvarId)
    let standIns := t.standIns.push (standIn d.userName named)
    let name := nameText d.userName
    if !t.names.isEmpty && t.type == d.type then
      hypothesisLines p rest { t with names := t.names ++ " " ++ name, fvars, standIns }
    else
      let lines ← t.flush p
      hypothesisLines p rest { lines, names := name, type := d.type, named, fvars, standIns }

def joinLines (reversed : List String) (acc : String) : String :=
  match reversed with
  | [] => acc
  | l :: rest => joinLines rest (l ++ "\n" ++ acc)

def hasLet (ds : List LocalDecl) : Bool := anyOf (fun d => match d with | .ldecl .. => true | _ => false) ds

def inContext {α : Type} (lctx : LocalContext) (insts : LocalInstances) (x : MetaM α) : MetaM α :=
  fun ctx mref cctx cref => x { ctx with lctx := lctx, localInstances := insts } mref cctx cref

def sanitized (lctx : LocalContext) : MetaM LocalContext := do
  let (lctx, _) := lctx.sanitizeNames { options := ← getOptions }
  return lctx

def printLines (p : Printer) (decl : MetavarDecl) (v : View) : MetaM String := do
  let t ← hypothesisLines p v.decls
    { lines := [], names := "", type := v.target, named := v.target, fvars := #[], standIns := #[] }
  let sign := getGoalPrefix decl
  let target ← lineOf p (.app (.const (.mkSimple sign) []) (t.name v.target)) v.target
    (fun f => .append (.text sign) (.nest 2 f))
  let text := joinLines t.lines target
  match decl.userName with
  | .anonymous => return text
  | tag => return "case " ++ nameText tag.eraseMacroScopes ++ "\n" ++ text

def printGoal (p : Printer) (decl : MetavarDecl) (v : View) : MetaM String := do
  if hasLet v.decls then
    let f ← Meta.ppGoal v.goal
    return f.pretty
  else inContext (← sanitized decl.lctx) decl.localInstances (printLines p decl v)

/-- A goal's text and, if requested, the constants that it mentions and the kinds of its hypotheses. -/
def pageOf (p : Printer) (v : View) (withConstants : Bool) : MetaM Page := do
  let decl ← declOf v.goal
  let h := v.form.hash
  let known ← p.pages.get
  match if v.form.hasMVar then none else findPage (known.bucket h) h v.form decl.userName with
  | some page => return page
  | none =>
    let text ← printGoal p decl v
    let constants := if withConstants then jnames (mapList userName (Expr.getUsedConstants v.form).toList) else .null
    let kinds ← if withConstants then inContext decl.lctx decl.localInstances (kindsJson v) else pure .null
    let page : Page := { form := v.form, tag := decl.userName, text, constants, kinds }
    if !v.form.hasMVar then p.pages.set ((← p.pages.get).insert h page)
    return page

end Turnstile
