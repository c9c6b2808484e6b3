import Turnstile.Step

/-! Opening theorems: environments by their imports, source text with its `sorry`s, and library constants by name. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

def importsOf (names : List String) : Array Import :=
  fromList (mapList (fun n => ({ module := n.toName } : Import)) names)

def findEnv (xs : List (String × Environment)) (key : String) : Option Environment :=
  match xs with
  | [] => none
  | (k, env) :: rest => if k == key then some env else findEnv rest key

/-- The environment of a list of imports, made once and kept. -/
def environment (s : Server) (imports : List String) : IO Environment := do
  let key := ",".intercalate imports
  let known ← s.envs.get
  match findEnv known key with
  | some env => return env
  | none =>
    let env ← importModules (importsOf imports) {} 0 #[] false true
    s.envs.set ((key, env) :: known)
    return env

/-- A `sorry` found in source text, with what is needed to go on from it. -/
structure Hole where
  ctx : ContextInfo
  /-- The environment before the command that it stands in: `ctx.env` has that command's own theorem. -/
  before : Environment
  mctx : MetavarContext
  goals : List MVarId
  stx : Syntax
  /-- Whether it stands where a tactic is expected (else a term). -/
  tactic : Bool
  /-- For a term: its local context, itself as elaborated, and its expected type where the place has one. -/
  lctx : LocalContext := {}
  term? : Option Expr := none
  type? : Option Expr := none

/-- Collect the holes of an info tree, in source order of the tree. -/
partial def holes (before : Environment) (tree : InfoTree) (ctx? : Option ContextInfo) (acc : List Hole) : List Hole :=
  match tree with
  | .context pci child => holes before child (pci.mergeIntoOuter? ctx?) acc
  | .hole _ => acc
  | .node info children =>
    match ctx? with
    | none => below (persistentList children) ctx? acc
    | some ctx =>
      match info with
      | .ofTacticInfo ti =>
        if ti.stx.isOfKind `Lean.Parser.Tactic.tacticSorry then
          { ctx, before, mctx := ti.mctxBefore, goals := ti.goalsBefore, stx := ti.stx, tactic := true } :: acc
        else below (persistentList children) ctx? acc
      | .ofTermInfo ti =>
        if ti.stx.isOfKind `Lean.Parser.Term.sorry then
          { ctx, before, mctx := ctx.mctx, goals := [], stx := ti.stx, tactic := false, lctx := ti.lctx,
            term? := some ti.expr, type? := ti.expectedType? } :: acc
        else below (persistentList children) ctx? acc
      | _ => below (persistentList children) ctx? acc
where
  below (ts : List InfoTree) (ctx? : Option ContextInfo) (acc : List Hole) : List Hole :=
    match ts with
    | [] => acc
    | t :: rest => below rest ctx? (holes before t ctx? acc)

def holesOfTrees (before : Environment) (ts : List InfoTree) (acc : List Hole) : List Hole :=
  match ts with
  | [] => acc
  | t :: rest => holesOfTrees before rest (holes before t none acc)

structure Loaded where
  env : Environment
  holes : List Hole
  errors : List Json
  fileMap : FileMap
  /-- How many commands reach beyond the byte that was asked about. -/
  beyond : Nat

def messageJson (m : Message) : IO Json := do
  let text ← m.data.toString
  return Json.mkObj [("file", Json.str m.fileName), ("line", jnat m.pos.line), ("column", jnat m.pos.column),
    ("m", Json.str text)]

def errorsJson (ms : List Message) : IO (List Json) :=
  match ms with
  | [] => return []
  | m :: rest =>
    match m.severity with
    | .error => do return (← messageJson m) :: (← errorsJson rest)
    | _ => errorsJson rest

/-- What elaboration found so far, last first. -/
structure Found where
  holes : List Hole
  messages : List Message
  /-- A byte of the text, and how many commands end behind it. -/
  start : Nat := 0
  beyond : Nat := 0

def parserContext (cs : Command.State) : Parser.ParserModuleContext :=
  match cs.scopes with
  | [] => { env := cs.env, options := {} }
  | scope :: _ =>
    { env := cs.env, options := scope.opts, currNamespace := scope.currNamespace, openDecls := scope.openDecls }

/-- Elaborate command by command. Lean's own loop would drop the parser's messages and each command's first environment. -/
partial def commands (ictx : Parser.InputContext) (state : IO.Ref Frontend.State) (found : Found) : IO Found := do
  let s ← state.get
  let before := s.commandState.env
  let (cmd, ps, parsed) := Parser.parseCommand ictx (parserContext s.commandState) s.parserState {}
  state.set { s with parserState := ps, cmdPos := s.parserState.pos }
  Frontend.elabCommandAtFrontend cmd { inputCtx := ictx } state
  let s ← state.get
  let cs := s.commandState
  let messages := append (persistentList parsed.unreported) (persistentList cs.messages.unreported)
  state.set { s with commandState := { cs with messages := {}, infoState := { cs.infoState with trees := {} } } }
  let found : Found := {
    holes := holesOfTrees before (persistentList cs.infoState.trees) found.holes
    messages := revOnto messages found.messages
    start := found.start
    beyond := if ps.pos.byteIdx > found.start && !cmd.isOfKind `Lean.Parser.Command.eoi then found.beyond + 1 else found.beyond }
  if Parser.isTerminalCommand cmd then return found else commands ictx state found

/-- The state before the first command of a file. -/
def startOf (env : Environment) (heartbeats : Nat) (trees : Bool) : IO (IO.Ref Frontend.State) := do
  let opts : Options := (({} : Options).setBool `Elab.async false).setNat `maxHeartbeats heartbeats
  -- As in a `noncomputable section`: nothing here is run, and the embedded library lacks what compiled code needs.
  let scope : Command.Scope := { header := "", opts, isNoncomputable := true }
  let cs := Command.mkState env {} opts
  let cs := { cs with scopes := [scope], infoState := { cs.infoState with enabled := trees } }
  IO.mkRef { commandState := cs, parserState := {}, cmdPos := 0 }

/-- Elaborate source text (no header) on top of an environment. `start`: the byte that `beyond` is about. -/
def elaborate (env : Environment) (source : String) (fileName : String) (heartbeats start : Nat) : IO Loaded := do
  let ictx := inputOf source fileName
  let state ← startOf env heartbeats true
  let found ← commands ictx state { holes := [], messages := [], start }
  let errors ← errorsJson (revOnto found.messages [])
  return {
    env := (← state.get).commandState.env, holes := revOnto found.holes [], errors, fileMap := ictx.fileMap, beyond := found.beyond }

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
    -- As in `f x = sorry`, whose type comes from the other side.
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

/-- The environment to go on in: without the theorem itself, unless its statement made constants that the goal needs. -/
def environmentFor (h : Hole) (g : MVarId) : MetaM Environment := do
  let v ← view g
  match allIn h.before v.form.getUsedConstants.toList with
  | none => return h.before
  | some _ => return h.ctx.env

def firstOf (h : Hole) : MetaM (Option (MVarId × Environment)) := do
  match ← holeGoal h with
  | [] => return none
  | g :: _ => return some (g, ← environmentFor h g)

/-- Make a state of a hole's goals. Only the first goal of a tactic `sorry` is its own: `sorry` closes one. -/
def openHole (s : Server) (final : Environment) (h : Hole) (withConstants : Bool) : IO (List (String × Json)) := do
  let range : List (String × Json) := match h.stx.getPos? true, h.stx.getTailPos? true with
    | some a, some b => [("start", jnat a.byteIdx), ("stop", jnat b.byteIdx)]
    | _, _ => []
  let name := h.ctx.parentDecl?.getD .anonymous
  let base := append range [("decl", Json.str (nameText name)), ("tactic", Json.bool h.tactic),
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

/-- How many variables a statement binds before its conclusion. -/
def binderCount (e : Expr) : Nat :=
  match e with
  | .forallE _ _ b _ => binderCount b + 1
  | .letE _ _ _ b _ => binderCount b + 1
  | .mdata _ b => binderCount b
  | _ => 0

/-- Introduce what a library statement binds. -/
def introAll (type : Expr) (n : Nat) : MetaM (MVarId × MVarId) := do
  let g ← mkFreshExprMVar type .syntheticOpaque
  let (_, g') ← g.mvarId!.introNP n
  return (g.mvarId!, g')

/-- The library theorem `name`, typed by the environment `whole`, to be proved in `env`. -/
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

end Turnstile
