import Turnstile.Text

/-! Open theorems: environments by their imports, source text with `sorry`s, and library constants by name. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

/-- A `sorry` in source text, with all that its proof needs. -/
structure Hole where
  ctx : ContextInfo
  /-- The environment before its command; `ctx.env` includes that command's own theorem. -/
  before : Environment
  mctx : MetavarContext
  goals : List MVarId
  stx : Syntax
  /-- Whether it is a tactic, not a term. -/
  tactic : Bool
  /-- Its command, counted from 1. -/
  number : Nat
  /-- For a term: its local context, its elaboration, and its expected type if known. -/
  lctx : LocalContext := {}
  term? : Option Expr := none
  type? : Option Expr := none

/-- Collect the holes of an info tree, in the order of the tree. -/
partial def holes (number : Nat) (before : Environment) (tree : InfoTree) (ctx? : Option ContextInfo) (acc : List Hole) : List Hole :=
  match tree with
  | .context pci child => holes number before child (pci.mergeIntoOuter? ctx?) acc
  | .hole _ => acc
  | .node info children =>
    match ctx? with
    | none => below (persistentList children) ctx? acc
    | some ctx =>
      match info with
      | .ofTacticInfo ti =>
        if ti.stx.isOfKind `Lean.Parser.Tactic.tacticSorry then
          { ctx, before, number, mctx := ti.mctxBefore, goals := ti.goalsBefore, stx := ti.stx, tactic := true } :: acc
        else below (persistentList children) ctx? acc
      | .ofTermInfo ti =>
        if ti.stx.isOfKind `Lean.Parser.Term.sorry then
          { ctx, before, number, mctx := ctx.mctx, goals := [], stx := ti.stx, tactic := false, lctx := ti.lctx,
            term? := some ti.expr, type? := ti.expectedType? } :: acc
        else below (persistentList children) ctx? acc
      | _ => below (persistentList children) ctx? acc
where
  below (ts : List InfoTree) (ctx? : Option ContextInfo) (acc : List Hole) : List Hole :=
    match ts with
    | [] => acc
    | t :: rest => below rest ctx? (holes number before t ctx? acc)

def holesOfTrees (number : Nat) (before : Environment) (ts : List InfoTree) (acc : List Hole) : List Hole :=
  match ts with
  | [] => acc
  | t :: rest => holesOfTrees number before rest (holes number before t none acc)

/-- The environments around a command, which is counted from 1. -/
structure Part where
  number : Nat
  before : Environment
  after : Environment

structure Loaded where
  env : Environment
  holes : List Hole
  errors : List Json
  parts : List Part

/-- Elaborate source text (no header) on top of an environment, and find its `sorry`s. -/
def elaborate (env : Environment) (source : String) (fileName : String) (heartbeats : Nat) : IO Loaded := do
  let state ← startOf env heartbeats true
  let found ← IO.mkRef ([] : List Hole)
  let messages ← IO.mkRef ([] : List Message)
  let parts ← IO.mkRef ([] : List Part)
  commands {} (inputOf source fileName) state 0 fun d => do
    found.set (holesOfTrees (d.number + 1) d.before d.trees (← found.get))
    messages.set (revOnto d.messages (← messages.get))
    -- What a command with an error declares rests on that error.
    if !anyOf (fun (m : Message) => m.severity == .error) d.messages then
      parts.set ({ number := d.number + 1, before := d.before, after := d.after } :: (← parts.get))
  let errors ← errorsJson (revOnto (← messages.get) [])
  return { env := (← state.get).commandState.env, holes := revOnto (← found.get) [], errors, parts := revOnto (← parts.get) [] }

def levelsOf (env : Environment) (n? : Option Name) : List Name :=
  match n? with
  | none => []
  | some n => match env.find? n with
    | some c => c.levelParams
    | none => []

def storeThm (s : Server) (t : Thm) : IO Nat := do
  let xs ← s.thms.get
  s.thms.set #[]
  let n := xs.size
  s.thms.set (xs.push (some t))
  return n

def holeGoal (h : Hole) : MetaM (List MVarId) := do
  if h.tactic then return h.goals
  else
    match h.type?, h.term? with
    | some ty, _ => opened ty
    -- As in `f x = sorry`, whose type is inferred from the other side.
    | none, some e => opened (← inferType e)
    | none, none => return []
where
  opened (ty : Expr) : MetaM (List MVarId) := do
    let insts ← localInstances (localDecls h.lctx) #[]
    let g ← mkFreshExprMVarAt h.lctx insts ty .syntheticOpaque
    return [g.mvarId!]
  localInstances (ds : List LocalDecl) (acc : LocalInstances) : MetaM LocalInstances :=
    match ds with
    | [] => return acc
    | d :: rest => do
      match ← isClass? d.type with
      | some c => localInstances rest (acc.push { className := c, fvar := .fvar d.fvarId })
      | none => localInstances rest acc

def allIn (env : Environment) (ns : List Name) : Option Name :=
  match ns with
  | [] => none
  | n :: rest => match env.find? n with
    | none => some n
    | some _ => allIn env rest

/-- The environment for its proof: without the theorem itself, unless the goal needs constants that its statement made. -/
def environmentFor (h : Hole) (g : MVarId) : MetaM Environment := do
  let v ← view g
  match allIn h.before v.form.getUsedConstants.toList with
  | none => return h.before
  | some _ => return h.ctx.env

def firstOf (h : Hole) : MetaM (Option (MVarId × Environment)) := do
  match ← holeGoal h with
  | [] => return none
  | g :: _ => return some (g, ← environmentFor h g)

/-- Make a state of a hole's goals. A tactic `sorry` closes only the first goal, so only that is its own. -/
def openHole (s : Server) (final : Environment) (h : Hole) (withConstants : Bool) : IO (List (String × Json)) := do
  let range : List (String × Json) := match h.stx.getPos? true, h.stx.getTailPos? true with
    | some a, some b => [("start", jnat a.byteIdx), ("stop", jnat b.byteIdx)]
    | _, _ => []
  let name := h.ctx.parentDecl?.getD .anonymous
  let base := append range [("decl", Json.str (nameText name)), ("tactic", Json.bool h.tactic), ("part", jnat h.number),
    ("synthetic", Json.bool (match h.stx.getPos? false with | some _ => false | none => true))]
  let t : Thm := {
    name, options := h.ctx.options, currNamespace := h.ctx.currNamespace, openDecls := h.ctx.openDecls,
    levels := levelsOf final h.ctx.parentDecl?, root := default, rootType := default, forms := ← IO.mkRef emptyTable,
    printer := ← newPrinter, token? := some s.clock.token }
  let core : Core.State := { env := h.ctx.env, ngen := h.ctx.ngen }
  let cctx ← coreContext t 0
  match ← runMeta (firstOf h) cctx core { mctx := h.mctx } with
  | .error e => return append base [("error", Json.str e)]
  | .ok (goal?, core, ms) =>
    match goal? with
    | none => return append base [("error", Json.str "no goal here")]
    | some (g, env) =>
      let core := { core with env }
      let thm ← storeThm s { t with root := g }
      match ← storeGroups s thm t core ms { levelNames := t.levels } [g] withConstants with
      | .error e => return append base [("error", Json.str e)]
      | .ok fields => return append base (("thm", jnat thm) :: fields)

def openHoles (s : Server) (final : Environment) (hs : List Hole) (withConstants : Bool) : IO (List Json) :=
  match hs with
  | [] => return []
  | h :: rest => do
    let j ← openHole s final h withConstants
    return Json.mkObj j :: (← openHoles s final rest withConstants)

/-- Number of variables that a statement binds before its conclusion. -/
def binderCount (e : Expr) : Nat :=
  match e with
  | .forallE _ _ b _ => binderCount b + 1
  | .letE _ _ _ b _ => binderCount b + 1
  | .mdata _ b => binderCount b
  | _ => 0

/-- Introduce the binders of a library statement. -/
def introAll (type : Expr) (n : Nat) : MetaM (MVarId × MVarId) := do
  let g ← mkFreshExprMVar type .syntheticOpaque
  let (_, g') ← g.mvarId!.introNP n
  return (g.mvarId!, g')

/-- Open the library theorem `c` of a larger environment for a proof in `env`. -/
def openLibrary (s : Server) (env : Environment) (c : ConstantInfo) (withConstants : Bool) :
    IO (Except String (Nat × List (String × Json))) := do
  match allIn env c.type.getUsedConstants.toList with
  | some n => return .error s!"the statement of {nameText c.name} uses {nameText n}, which these imports do not have"
  | none =>
    match env.find? c.name with
    | some _ => return .error s!"{nameText c.name} is already in these imports"
    | none =>
    let t : Thm := {
      name := c.name, options := {}, currNamespace := c.name.getPrefix, openDecls := [], levels := c.levelParams,
      root := default, rootType := c.type, forms := ← IO.mkRef emptyTable, printer := ← newPrinter,
      token? := some s.clock.token }
    let core : Core.State := { env := env }
    let cctx ← coreContext t 0
    match ← runMeta (introAll c.type (binderCount c.type)) cctx core {} with
    | .error e => return .error e
    | .ok ((root, g), core, ms) =>
      let t := { t with root }
      let thm ← storeThm s t
      match ← storeGroups s thm t core ms { levelNames := c.levelParams } [g] withConstants with
      | .error e => return .error e
      | .ok fields => return .ok (thm, fields)

def ppType (n : Name) (env : Environment) : MetaM String := do
  match env.find? n with
  | none => return ""
  | some c =>
    let f ← ppExpr c.type
    return f.pretty

/-- Run `x` on an environment, outside any theorem. -/
def onEnvironment {α : Type} (env : Environment) (options : Options) (x : MetaM α) : IO (Except String α) := do
  let t : Thm := {
    name := `x, options, currNamespace := .anonymous, openDecls := [], levels := [], root := default,
    rootType := default, forms := ← IO.mkRef emptyTable, printer := ← newPrinter }
  match ← runMeta x (← coreContext t 0) { env } {} with
  | .ok (a, _, _) => return .ok a
  | .error e => return .error e

def ppTypes (env : Environment) (ns : List Name) (acc : List Json) : IO (List Json) :=
  match ns with
  | [] => return revOnto acc []
  | n :: rest => do
    let text ← match ← onEnvironment env (({} : Options).set `pp.numericTypes true) (ppType n env) with
      | .ok s => pure s
      | .error _ => pure ""
    ppTypes env rest (Json.str text :: acc)

end Turnstile
