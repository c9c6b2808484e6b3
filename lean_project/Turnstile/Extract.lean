import Turnstile.Library
import Turnstile.Declare

/-! Training data from a text with proofs: its declarations, and for every tactic of every proof the state before and after it and the
constants that it uses. Terms that are a whole proof count as steps too.

Ranges are bytes of the text. States are printed, and kept for replay, as those of `load`. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

/-- First byte of a syntax and the byte after its last. -/
structure Span where
  start : Nat
  stop : Nat
deriving BEq

def spanOf (stx : Syntax) : Option Span :=
  match stx.getPos? true, stx.getTailPos? true with
  | some a, some b => some { start := a.byteIdx, stop := b.byteIdx }
  | _, _ => none

/-- The span of syntax that stands in the text, rather than having been made by a macro. -/
def writtenSpan (stx : Syntax) : Option Span :=
  match stx.getHeadInfo with
  | .original .. => spanOf stx
  | _ => none

def spanJson (s? : Option Span) : Json :=
  match s? with
  | some s => jarr [jnat s.start, jnat s.stop]
  | none => Json.null

/-- A declaration with its own statement and proof. -/
structure Item where
  /-- The whole declaration, with its modifiers, but without `… in` before it. -/
  whole : Syntax
  kind : Name
  /-- Missing if it has none. -/
  declId : Syntax
  /-- A signature with a type; missing if the type is optional. -/
  signature : Syntax
  value : Syntax
  /-- The commands before `in`, the outermost first. -/
  settings : List Syntax
  /-- Whether it is part of a larger command, such as `mutual`, after which a text cannot be cut. -/
  inside : Bool

def childOf (kind : Name) (xs : List Syntax) : Syntax :=
  match xs with
  | [] => .missing
  | x :: rest => if x.isOfKind kind then x else childOf kind rest

def isMissing (stx : Syntax) : Bool :=
  match stx with
  | .missing => true
  | _ => false

/-- The declarations of a command: every node with a name or signature of its own. That covers commands of the same shape that a library
defines, such as `lemma`. `whole`: the declaration around `stx`, with its modifiers. -/
partial def itemsOf (stx whole : Syntax) (settings : List Syntax) (inside : Bool) : List Item :=
  match stx with
  | .node _ k args =>
    let xs := args.toList
    let declId := childOf `Lean.Parser.Command.declId xs
    let signature := childOf `Lean.Parser.Command.declSig xs
    if !isMissing declId || !isMissing signature || !isMissing (childOf `Lean.Parser.Command.optDeclSig xs) then
      [{ whole, kind := k, declId, signature, value := (lastOf xs).getD .missing, settings := revOnto settings [], inside }]
    else if hasName k syntaxCommands || containsSub (nameText k) "quot" then []
    else if k == `Lean.Parser.Command.in then match xs with
      | [c, _, body] => itemsOf body body (c :: settings) inside
      | _ => []
    else if k == `Lean.Parser.Command.mutual then below xs none settings true
    else below xs (some whole) settings inside
  | _ => []
where
  below (xs : List Syntax) (whole? : Option Syntax) (settings : List Syntax) (inside : Bool) : List Item :=
    match xs with
    | [] => []
    | .node i k args :: rest =>
      let x := Syntax.node i k args
      -- In `mutual`, a child of the list of commands is a declaration.
      let whole := match whole? with
        | some w => w
        | none => x
      let mine := if k == `null then below args.toList whole? settings inside else itemsOf x whole settings inside
      append mine (below rest whole? settings inside)
    | _ :: rest => below rest whole? settings inside

/-- The term that is the whole proof of an item, if it is one term. -/
def bodyOf (value : Syntax) : Syntax :=
  match value with
  | .node _ k args =>
    if k == `Lean.Parser.Command.declValSimple then match args.toList with
      | _ :: body :: _ => body
      | _ => .missing
    else .missing
  | _ => .missing

/-- Whether a value has more than a term, such as `where` or `termination_by`. -/
def hasSuffix (value : Syntax) : Bool :=
  match spanOf value, spanOf (bodyOf value) with
  | some v, some b => v.stop != b.stop
  | _, _ => true

partial def hasSorry (stx : Syntax) : Bool :=
  match stx with
  | .atom _ v => v == "sorry"
  | .node _ _ args => anyHas args.toList
  | _ => false
where
  anyHas (xs : List Syntax) : Bool :=
    match xs with
    | [] => false
    | x :: rest => if hasSorry x then true else anyHas rest

def itemJson (i : Item) : Json :=
  let body := bodyOf i.value
  let settings := mapList (fun (c : Syntax) => spanJson (spanOf c)) i.settings
  Json.mkObj [
    ("kind", Json.str (nameText i.kind)), ("name", jarr (nameParts (identOf i.declId) [])), ("whole", spanJson (spanOf i.whole)),
    ("name_span", spanJson (spanOf i.declId)), ("signature", spanJson (spanOf i.signature)), ("value", spanJson (spanOf i.value)),
    ("body", spanJson (spanOf body)), ("tactics", Json.bool (body.isOfKind `Lean.Parser.Term.byTactic)),
    ("suffix", Json.bool (hasSuffix i.value)), ("sorry", Json.bool (hasSorry i.value)), ("settings", jarr settings),
    ("inside", Json.bool i.inside)]

/-- A constant named in the text of a step. -/
structure Use where
  name : Name
  span : Span

/-- A tactic, or a term that is a whole proof (`term?`), in its context. -/
structure Trace where
  hole : Hole
  span : Span
  mctxAfter : MetavarContext
  goalsAfter : List MVarId
  term? : Option Expr
  uses : List Use

/-- Constants that the text below a node names, the last first. -/
partial def usesIn (tree : InfoTree) (acc : List Use) : List Use :=
  match tree with
  | .context _ child => usesIn child acc
  | .hole _ => acc
  | .node info children =>
    let acc := match info with
      | .ofTermInfo ti => if ti.isBinder then acc else named ti.expr ti.stx acc
      | _ => acc
    below (persistentList children) acc
where
  below (ts : List InfoTree) (acc : List Use) : List Use :=
    match ts with
    | [] => acc
    | t :: rest => below rest (usesIn t acc)
  named (e : Expr) (stx : Syntax) (acc : List Use) : List Use :=
    match e, writtenSpan stx with
    | .const n _, some span => if anyOf (fun (u : Use) => u.name == n && u.span == span) acc then acc else { name := n, span } :: acc
    | _, _ => acc

def isSequence (k : Name) : Bool :=
  k == `Lean.Parser.Tactic.tacticSeq1Indented || k == `Lean.Parser.Tactic.tacticSeqBracketed

def sameGoals (xs ys : List MVarId) : Bool :=
  match xs, ys with
  | [], [] => true
  | x :: xs, y :: ys => x == y && sameGoals xs ys
  | _, _ => false

/-- The steps of an info tree, the last first: tactics written as items of a sequence, and the terms at `bodies`. Steps that leave the
goals as they are have no effect, or failed inside a `first` or `try`. -/
partial def tracesOf (before : Environment) (bodies : List Span) (tree : InfoTree) (ctx? : Option ContextInfo) (item : Bool)
    (acc : List Trace) : List Trace :=
  match tree with
  | .context pci child => tracesOf before bodies child (pci.mergeIntoOuter? ctx?) item acc
  | .hole _ => acc
  | .node info children =>
    match ctx? with
    | none => below (persistentList children) ctx? false acc
    | some ctx =>
      match info with
      | .ofTacticInfo ti =>
        let acc := match item, ti.goalsBefore, writtenSpan ti.stx with
          | true, _ :: _, some span =>
            if sameGoals ti.goalsBefore ti.goalsAfter then acc
            else
              let hole : Hole := { ctx, before, number := 0, mctx := ti.mctxBefore, goals := ti.goalsBefore, stx := ti.stx, tactic := true }
              { hole, span, mctxAfter := ti.mctxAfter, goalsAfter := ti.goalsAfter, term? := none, uses := usesIn tree [] } :: acc
          | _, _, _ => acc
        below (persistentList children) ctx? (isSequence ti.stx.getKind) acc
      | .ofTermInfo ti =>
        let acc := match writtenSpan ti.stx, ti.expectedType? with
          | some span, some _ =>
            if anyOf (fun s => s == span) bodies && !anyOf (fun (t : Trace) => t.span == span && t.term?.isSome) acc then
              let hole : Hole := {
                ctx, before, number := 0, mctx := ctx.mctx, goals := [], stx := ti.stx, tactic := false, lctx := ti.lctx,
                term? := some ti.expr, type? := ti.expectedType? }
              { hole, span, mctxAfter := ctx.mctx, goalsAfter := [], term? := some ti.expr, uses := usesIn tree [] } :: acc
            else acc
          | _, _ => acc
        below (persistentList children) ctx? false acc
      | _ => below (persistentList children) ctx? false acc
where
  below (ts : List InfoTree) (ctx? : Option ContextInfo) (item : Bool) (acc : List Trace) : List Trace :=
    match ts with
    | [] => acc
    | t :: rest => below rest ctx? item (tracesOf before bodies t ctx? item acc)

def tracesOfTrees (before : Environment) (bodies : List Span) (ts : List InfoTree) (acc : List Trace) : List Trace :=
  match ts with
  | [] => acc
  | t :: rest => tracesOfTrees before bodies rest (tracesOf before bodies t none false acc)

/-- The right sides of a value by equations. -/
partial def rightSides (stx : Syntax) : List Syntax :=
  match stx with
  | .node _ k args =>
    if k == `Lean.Parser.Term.matchAlt then [(lastOf args.toList).getD .missing] else among args.toList
  | _ => []
where
  among (xs : List Syntax) : List Syntax :=
    match xs with
    | [] => []
    | x :: rest => append (rightSides x) (among rest)

/-- The terms that are a whole proof, or a whole case of it, and not tactics. -/
def bodySpans (is : List Item) : List Span :=
  match is with
  | [] => []
  | i :: rest =>
    let terms := if i.value.isOfKind `Lean.Parser.Command.declValEqns then rightSides i.value else [bodyOf i.value]
    append (spans terms) (bodySpans rest)
where
  spans (xs : List Syntax) : List Span :=
    match xs with
    | [] => []
    | x :: rest =>
      if x.isOfKind `Lean.Parser.Term.byTactic then spans rest
      else match spanOf x with
        | some s => s :: spans rest
        | none => spans rest

/-- Whether it may be a theorem. Imported theorems are axioms in the embedded Lean. -/
def isTheoremLike (c : ConstantInfo) : Bool :=
  match c with
  | .thmInfo _ => true
  | .axiomInfo v => !v.isUnsafe && !hasName v.name trueAxioms
  | _ => false

/-- Names among the constants of `ns` that are theorems of `env`. -/
def theoremNames (env : Environment) (ns : List Name) (acc : List Name) : MetaM (List Name) :=
  match ns with
  | [] => return revOnto acc []
  | n :: rest =>
    match env.find? n with
    | some c => do
      if isTheoremLike c && !n.isInternal && (← Meta.isProp c.type) then theoremNames env rest (n :: acc)
      else theoremNames env rest acc
    | none => theoremNames env rest acc

/-- Names of `ns` in front of `acc`, without repetitions. -/
def withNames (ns acc : List Name) : List Name :=
  match ns with
  | [] => acc
  | n :: rest => withNames rest (if hasName n acc then acc else n :: acc)

def constantsAmong (es : List Expr) (acc : List Name) : MetaM (List Name) :=
  match es with
  | [] => return acc
  | e :: rest => do
    let e ← inst e
    constantsAmong rest (withNames e.getUsedConstants.toList acc)

/-- Theorems in the terms that a step gave its goals. -/
def assignedBy (env : Environment) (t : Trace) : MetaM (List Name) := do
  let es := match t.term? with
    | some e => [e]
    | none => mapList (fun (g : MVarId) => Expr.mvar g) t.hole.goals
  theoremNames env (← constantsAmong es []) []

/-- What a step leaves: the texts of its goals, and the theorems that it used. -/
def leaves (p : Printer) (env : Environment) (t : Trace) : MetaM (List Json × List Name) := do
  let prepared ← prepare t.goalsAfter
  let goals ← goalsJson p prepared.views prepared.rs false
  return (goals, ← assignedBy env t)

def firstGoals (h : Hole) : MetaM (List MVarId × Environment) := do
  match ← holeGoal h with
  | [] => return ([], h.ctx.env)
  | gs => return (gs, ← environmentForAll h gs)
where
  environmentForAll (h : Hole) (gs : List MVarId) : MetaM Environment := do
    match gs with
    | [] => return h.before
    | g :: rest =>
      let v ← view g
      match allIn h.before v.form.getUsedConstants.toList with
      | none => environmentForAll h rest
      | some _ => return h.ctx.env

def useNames (us : List Use) (acc : List Name) : List Name :=
  match us with
  | [] => acc
  | u :: rest => useNames rest (withNames [u.name] acc)

/-- A step as JSON, with a state on the server for its goals before, and all names that it mentions. -/
def traceJson (s : Server) (p : Printer) (final : Environment) (t : Trace) : IO (Json × List Name) := do
  let h := t.hole
  let name := h.ctx.parentDecl?.getD .anonymous
  let base := [("decl", Json.str (nameText name)), ("tactic", Json.bool h.tactic), ("start", jnat t.span.start), ("stop", jnat t.span.stop),
    ("uses", jarr (mapList (fun (u : Use) => jarr [Json.str (nameText u.name), jnat u.span.start, jnat u.span.stop]) (revOnto t.uses [])))]
  let failed := fun (e : String) => (Json.mkObj (("error", Json.str e) :: base), ([] : List Name))
  let thm : Thm := {
    name, options := h.ctx.options, currNamespace := h.ctx.currNamespace, openDecls := h.ctx.openDecls,
    levels := levelsOf final h.ctx.parentDecl?, root := default, rootType := default, forms := ← IO.mkRef emptyTable,
    printer := p, token? := some s.clock.token }
  let cctx ← coreContext thm 0
  let core : Core.State := { env := h.ctx.env, ngen := h.ctx.ngen }
  match ← runMeta (leaves p h.ctx.env t) cctx core { mctx := t.mctxAfter } with
  | .error e => return failed e
  | .ok ((after, assigned), _, _) =>
    match ← runMeta (firstGoals h) cctx core { mctx := h.mctx } with
    | .error e => return failed e
    | .ok (([], _), _, _) => return failed "no goal here"
    | .ok ((g :: gs, env), core, ms) =>
      let number ← storeThm s { thm with root := g }
      match ← storeGroups s number thm { core with env } ms { levelNames := thm.levels } (g :: gs) false with
      | .error e => return failed e
      | .ok fields =>
        let found := append base (("thm", jnat number) :: ("after", jarr after) :: ("assigned", jnames assigned) :: fields)
        return (Json.mkObj found, useNames t.uses assigned)

def traceJsons (s : Server) (p : Printer) (final : Environment) (ts : List Trace) (names : List Name) (acc : List Json) :
    IO (List Name × List Json) :=
  match ts with
  | [] => return (names, acc)
  | t :: rest => do
    let (j, more) ← traceJson s p final t
    traceJsons s p final rest (withNames more names) (j :: acc)

/-- `[name, module]` of a constant; no module if it is not imported. -/
def premiseJson (env : Environment) (n : Name) : Json :=
  let module := match env.getModuleIdxFor? n with
    | some i => match env.allImportedModuleNames[i.toNat]? with
      | some m => nameText m
      | none => ""
    | none => ""
  jarr [Json.str (nameText n), Json.str module]

def commandJson (d : Done) (items : List Item) : Json :=
  let new := newIn d.before.toKernelEnv d.after.toKernelEnv
  Json.mkObj [("items", jarr (mapList itemJson items)), ("new", partsOf new)]

structure Extracted where
  commands : List Json
  steps : List Json
  names : List Name
  messages : List Message

/-- Add a command's declarations and steps. -/
def extracted (s : Server) (withSteps : Bool) (d : Done) (x : Extracted) : IO Extracted := do
  let items := itemsOf d.stx d.stx [] false
  let x := { x with messages := revOnto d.messages x.messages }
  let commands := match items with
    | [] => x.commands
    | _ => commandJson d items :: x.commands
  if !withSteps then return { x with commands }
  let traces := revOnto (tracesOfTrees d.before (bodySpans items) d.trees []) []
  let (names, steps) ← traceJsons s (← newPrinter) d.after traces x.names x.steps
  return { x with commands, names, steps }

/-- Elaborate the text of a request and report its declarations and, with `steps`, the steps of its proofs, as `holes`. -/
def extract (s : Server) (j : Json) : IO (List (String × Json)) := do
  let heartbeats := natField j "heartbeats" 200000
  let withSteps := boolField j "steps"
  match ← environmentOf s j heartbeats with
  | .error errors => return [("ok", Json.bool true), ("errors", jarr errors), ("commands", jarr []), ("holes", jarr [])]
  | .ok env =>
    let state ← startOf env heartbeats withSteps
    let found ← IO.mkRef ({ commands := [], steps := [], names := [], messages := [] } : Extracted)
    commands {} (inputOf (strField j "source") (strField j "file")) state 0 fun d => do
      found.set (← extracted s withSteps d (← found.get))
    let x ← found.get
    let final := (← state.get).commandState.env
    return [("ok", Json.bool true), ("errors", jarr (← errorsJson (revOnto x.messages []))),
      ("commands", jarr (revOnto x.commands [])), ("holes", jarr (revOnto x.steps [])),
      ("premises", jarr (mapList (fun n => premiseJson final n) x.names))]

end Turnstile
