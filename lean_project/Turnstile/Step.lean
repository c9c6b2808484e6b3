import Turnstile.Print

/-! Run one tactic on one group of goals: parse it, refuse code, enforce limits, and split the remaining goals into groups. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

/-- The data of a theorem that all its steps share. -/
structure Thm where
  name : Name
  options : Options
  currNamespace : Name
  openDecls : List OpenDecl
  levels : List Name
  /-- The goal that the whole proof must assign. -/
  root : MVarId
  rootType : Expr
  /-- Forms with the same hash as a key. They make keys exact within a theorem. -/
  forms : IO.Ref (Table Expr)
  printer : Printer
  token? : Option IO.CancelToken := none

structure Server where
  thms : IO.Ref (Array (Option Thm))
  states : IO.Ref (Array (Option Saved))
  envs : IO.Ref (List (String × Environment))
  /-- The environment after the last judged text, for printing types. -/
  last : IO.Ref (Option Environment)
  /-- The state after the last context. -/
  context : IO.Ref (Option (String × Frontend.State))
  out : IO.FS.Stream
  nonce : String
  clock : Clock

def Server.send (s : Server) (j : Json) : IO Unit := do
  s.out.putStr (s.nonce ++ j.compress ++ "\n")
  s.out.flush

/-- Report the number of each part of a command before it begins, if the request asks for that, so that the client can skip a part
that kills the process. -/
def announcer (s : Server) (j : Json) : Nat → IO Unit :=
  if boolField j "tell" then fun n => s.send (Json.mkObj [("at", jnat n)]) else fun _ => return ()

def containsSub (s sub : String) : Bool := lengthOf (s.splitOn sub) > 1

/-- Keywords that run code, read files, leave a hole, or remove a limit. The audit does not rely on this list: it saves calls on proofs
that the audit would refuse, and protects the process. -/
def bannedAtoms : List String :=
  ["sorry", "admit", "stop", "native_decide", "run_tac", "by_elab", "elab_stx", "include_str", "unsafe", "set_option",
   "run_cmd", "run_elab", "run_meta", "#eval", "dbg_trace", "dbgTrace", "eval%", "eval_expr", "bv_decide?"]

/-- Whether a configuration value is a literal, a name, or a structure of such. Lean compiles and runs these terms. -/
partial def plain (stx : Syntax) : Bool :=
  match stx with
  | .node _ k args =>
    (hasName k [`null, `num, `str, `Lean.Parser.Term.dotIdent, `Lean.Parser.Term.paren, `Lean.Parser.Term.hygienicLParen,
        `hygieneInfo, `Lean.Parser.Term.optEllipsis]
      || containsSub (nameText k) "Lean.Parser.Term.structInst") && plainList args.toList
  | _ => true
where
  plainList (xs : List Syntax) : Bool :=
    match xs with
    | [] => true
    | x :: rest => plain x && plainList rest

/-- The first part of `stx` that a search may not use, if any. -/
partial def banned (stx : Syntax) : Option String :=
  match stx with
  | .atom _ v => if hasString v bannedAtoms then some v else none
  | .ident _ _ n _ =>
    if n == `native || n == `Lean.ofReduceBool || n == `Lean.ofReduceNat || n == `sorryAx || n == `Lean.trustCompiler
    then some (nameText n) else none
  | .node _ k args =>
    if k == `Lean.Parser.Tactic.valConfigItem || k == `Lean.Parser.Tactic.config then configured args.toList args.toList
    else bannedList args.toList
  | .missing => some "incomplete syntax"
where
  bannedList (xs : List Syntax) : Option String :=
    match xs with
    | [] => none
    | x :: rest => match banned x with
      | some r => some r
      | none => bannedList rest
  configured (xs all : List Syntax) : Option String :=
    match xs with
    | [] => bannedList all
    | x :: rest => if plain x then configured rest all else some "a computed configuration"

def parseTacticIn (pmctx : Parser.ParserModuleContext) (text : String) : Except String Syntax :=
  let ictx := inputOf text "<tactic>"
  let p := Parser.andthenFn Parser.whitespace Parser.Tactic.tacticSeq.fn
  let s := p.run ictx pmctx (Parser.getTokenTable pmctx.env) (Parser.mkParserState text)
  if s.allErrors.size > 0 then .error (s.toErrorMsg ictx)
  else if ictx.atEnd s.pos then .ok s.stxStack.back
  else .error ((s.mkError "end of input").toErrorMsg ictx)

def parseTactic (env : Environment) (t : Thm) (text : String) : Except String Syntax :=
  parseTacticIn { env, options := t.options, currNamespace := t.currNamespace, openDecls := t.openDecls } text

def coreContext (t : Thm) (heartbeats : Nat) : IO Core.Context := do
  let start ← IO.getNumHeartbeats
  return {
    fileName := "<tactic>", fileMap := default, options := t.options, currNamespace := t.currNamespace,
    openDecls := t.openDecls, initHeartbeats := start, maxHeartbeats := heartbeats, cancelTk? := t.token?,
    maxRecDepth := 512 }

def firstError (ms : List Message) (terse : Bool) : IO (Option String) :=
  match ms with
  | [] => return none
  | m :: rest =>
    match m.severity with
    | .error => if terse then return some "" else do return some (← m.data.toString)
    | _ => firstError rest terse

/-- Suggestions of other tactics in the messages of `exact?`, `rw?`, `simp?` and similar. -/
def sayings (ms : List Message) : IO (List String) :=
  match ms with
  | [] => return []
  | m :: rest => do
    let more ← sayings rest
    match m.severity with
    | .information =>
      let text ← m.data.toString
      return if text.startsWith "Try this" || text.startsWith "Try these" then text :: more else more
    | _ => return more

/-- Index of `form` among the forms seen with its hash; one past the end if it is new. -/
def findForm (bucket : List (UInt64 × Expr)) (h : UInt64) (form : Expr) (i : Nat) : Nat × Bool :=
  match bucket with
  | [] => (i, false)
  | (k, x) :: rest =>
    if k == h then
      let (j, found) := findForm rest h form i
      if found then (j, true) else if x == form then (j, true) else (j + 1, false)
    else findForm rest h form i

/-- The text of a key: hash and depth, and a number for further forms of the same hash. -/
def keyOf (t : Thm) (form : Expr) : IO String := do
  let h := form.hash
  let table ← t.forms.get
  let (i, found) := findForm (table.bucket h) h form 0
  if !found then t.forms.set (table.insert h form)
  let base := toString h.toNat ++ "." ++ toString form.approxDepth.toNat
  return if i == 0 then base else base ++ "#" ++ toString i

def storeState (s : Server) (saved : Saved) : IO Nat := do
  let xs ← s.states.get
  s.states.set #[] -- so that nothing else references the array and it grows in place
  let n := xs.size
  s.states.set (xs.push (some saved))
  return n

/-- JSON of one goal. `names`: the names that `rename_i` must introduce before a tactic can use all hypotheses. -/
def goalJson (p : Printer) (v : View) (names : List Name) (withConstants : Bool) : MetaM Json := do
  let page ← pageOf p v withConstants
  let base : List (String × Json) := [("t", Json.str page.text)]
  let base := match names with
    | [] => base
    | _ => ("r", jnames names) :: base
  let base := if withConstants then ("c", page.constants) :: ("k", page.kinds) :: base else base
  return Json.mkObj base

structure Readable where
  goal : MVarId
  names : List Name

def readableAll (gs : List MVarId) : MetaM (List Readable) :=
  match gs with
  | [] => return []
  | g :: rest => do
    let (g', names) ← makeReadable g
    return { goal := g', names } :: (← readableAll rest)

def viewAll (gs : List Readable) : MetaM (List View) :=
  match gs with
  | [] => return []
  | g :: rest => do return (← view g.goal) :: (← viewAll rest)

def namesFor (rs : List Readable) (g : MVarId) : List Name :=
  match rs with
  | [] => []
  | r :: rest => if r.goal == g then r.names else namesFor rest g

def goalsJson (p : Printer) (vs : List View) (rs : List Readable) (withConstants : Bool) : MetaM (List Json) :=
  match vs with
  | [] => return []
  | v :: rest => do
    let j ← goalJson p v (namesFor rs v.goal) withConstants
    return j :: (← goalsJson p rest rs withConstants)

/-- Run `x` in MetaM on these states; returns the states after it, or Lean's message. -/
def runMeta {α : Type} (x : MetaM α) (cctx : Core.Context) (c : Core.State) (m : Meta.State) :
    IO (Except String (α × Core.State × Meta.State)) := do
  let cref ← IO.mkRef c
  let mref ← IO.mkRef m
  let r ← (x {} mref cctx cref).toBaseIO
  match r with
  | .ok a => return .ok (a, ← cref.get, ← mref.get)
  | .error e => return .error (← e.toMessageData.toString)

structure Prepared where
  rs : List Readable
  views : List View

def prepare (goals : List MVarId) : MetaM Prepared := do
  let rs ← readableAll goals
  let vs ← viewAll rs
  return { rs, views := vs }

structure Stored where
  core : Core.State
  mstate : Meta.State
  term : Term.State

/-- Store each group as a separate state, last group first. -/
def storeEach (s : Server) (thm : Nat) (t : Thm) (cctx : Core.Context) (st : Stored) (rs : List Readable) (withConstants : Bool)
    (gs : List (List View)) (acc : List Json) : IO (Except String (List Json)) :=
  match gs with
  | [] => return .ok (revOnto acc [])
  | vs :: rest => do
    match ← runMeta (goalsJson t.printer vs rs withConstants) cctx st.core st.mstate with
    | .error e => return .error e
    | .ok (js, _, _) =>
      let key ← keyOf t (groupForm vs)
      let goals := mapList (fun v => v.goal) vs
      let id ← storeState s { core := st.core, mstate := { st.mstate with cache := {} }, term := st.term, goals, thm }
      storeEach s thm t cctx st rs withConstants rest
        (Json.mkObj [("id", jnat id), ("key", Json.str key), ("goals", jarr js)] :: acc)

/-- Store every group of `goals`. Returns the answer's fields `states` and `order`. -/
def storeGroups (s : Server) (thm : Nat) (t : Thm) (core : Core.State) (ms : Meta.State) (term : Term.State)
    (goals : List MVarId) (withConstants : Bool) : IO (Except String (List (String × Json))) := do
  match goals with
  | [] => return .ok [("states", Json.arr #[])]
  | _ =>
    let cctx ← coreContext t 0
    match ← runMeta (prepare goals) cctx core ms with
    | .error e => return .error e
    | .ok (p, core, ms) =>
      let groups := groupsOf p.views []
      match ← storeEach s thm t cctx { core, mstate := ms, term } p.rs withConstants groups [] with
      | .error e => return .error e
      | .ok js =>
        let order := mapList (fun (r : Readable) =>
          let (i, j) := positionOf groups r.goal 0
          jarr [jnat i, jnat j]) p.rs
        return .ok [("states", jarr js), ("order", jarr order)]

def firstHole (ms : List MVarId) (goals : List MVarId) : MetaM (Option String) :=
  match ms with
  | [] => return none
  | m :: rest => do
    if hasMVarId m goals then firstHole rest goals
    else if ← m.isDelayedAssigned then firstHole rest goals
    else return some "the tactic leaves a metavariable that is not a goal"

/-- The first constant that no accepted proof may mention. The audit does not rely on this. -/
def firstUnsound (env : Environment) (itself : Name) (ns : List Name) : Option Name :=
  match ns with
  | [] => none
  | n :: rest =>
    if n == itself then some n
    else match env.find? n with
    | some (.axiomInfo v) => if v.isUnsafe || hasName n unsoundAxioms then some n else firstUnsound env itself rest
    | some c => if c.isUnsafe then some n else firstUnsound env itself rest
    | none => firstUnsound env itself rest
where
  unsoundAxioms : List Name := [`sorryAx, `Lean.ofReduceBool, `Lean.ofReduceNat, `Lean.trustCompiler]

/-- The theorem's own name inside its proof: a local declaration, for recursion. -/
def ownNames (ds : List LocalDecl) (used : List FVarId) : List Name :=
  match ds with
  | [] => []
  | d :: rest =>
    if d.isAuxDecl && anyOf (fun f => f == d.fvarId) used then d.userName :: ownNames rest used else ownNames rest used

/-- Why the proof so far is refused, if it has a metavariable that is not a goal, a `sorry`, or a forbidden constant. -/
def danglingHole (t : Thm) (g : MVarId) (goals : List MVarId) : MetaM (Option String) := do
  let e ← inst (.mvar g)
  if e.hasSorry then return some "the tactic leaves a `sorry`"
  let own := ownNames (localDecls (← declOf g).lctx) (collectFVars {} e).fvarIds.toList
  match append own (firstUnsound (← getEnv) t.name e.getUsedConstants.toList).toList with
  | n :: _ => return some ("`" ++ nameText n ++ "` may not be used")
  | [] =>
  let ms ← getMVars e
  firstHole ms.toList goals

def evaluate (stx : Syntax) : Tactic.TacticM Unit := do
  Tactic.evalTactic stx
  return ()

def runTactic (g : MVarId) (stx : Syntax) : Term.TermElabM (List MVarId) := Tactic.run g (evaluate stx)

def pruned (gs : List MVarId) : MetaM (List MVarId) :=
  match gs with
  | [] => return []
  | g :: rest => do
    let tail ← pruned rest
    if ← g.isAssignedOrDelayedAssigned then return tail else return g :: tail

inductive Ran where
  | ok (core : Core.State) (mstate : Meta.State) (term : Term.State) (goals : List MVarId) (said : List String)
  | failed (status : String) (message : String) (said : List String)

def afterTactic (t : Thm) (g : MVarId) (gs : List MVarId) : MetaM (Option String × List MVarId) := do
  let all ← pruned gs
  let hole ← danglingHole t g all
  return (hole, all)

def classify (message : String) : String :=
  if containsSub message "maximum number of heartbeats" || containsSub message "(deterministic) timeout" then "timeout"
  else if containsSub message "maximum recursion depth" || containsSub message "deep recursion" then "error"
  else "error"

/-- An exception as an answer. `terse` omits the message, whose printing costs as much as many tactics. -/
def failedWith (e : Exception) (terse : Bool) : IO Ran := do
  if terse then
    return .failed (if e.isMaxHeartbeat then "timeout" else "error") "" []
  else
    let m ← e.toMessageData.toString
    return .failed (classify m) m []

/-- Run a parsed tactic on the first goal of a saved group. -/
def applyTactic (t : Thm) (st : Saved) (stx : Syntax) (heartbeats : Nat) (terse : Bool) : IO Ran := do
  match st.goals with
  | [] => return .failed "error" "no goals" []
  | g :: others =>
    let cctx ← coreContext t heartbeats
    let cref ← IO.mkRef { st.core with messages := {}, infoState := { enabled := false }, snapshotTasks := #[], traceState := {} }
    let mref ← IO.mkRef st.mstate
    let tref ← IO.mkRef st.term
    let tctx : Term.Context := { declName? := some t.name, errToSorry := false }
    let r ← (runTactic g stx tctx tref {} mref cctx cref).toBaseIO
    match r with
    | .error e => failedWith e terse
    | .ok goals =>
      let core ← cref.get
      match ← firstError (persistentList core.messages.unreported) terse with
      | some m => return .failed (classify m) m []
      | none =>
        match ← (afterTactic t g (append goals others) {} mref cctx cref).toBaseIO with
        | .error e => return .failed "error" (← e.toMessageData.toString) []
        | .ok (some m, _) => return .failed "error" m (← sayings (persistentList core.messages.unreported))
        | .ok (none, all) =>
          let said ← sayings (persistentList core.messages.unreported)
          return .ok { core with messages := {}, infoState := {}, snapshotTasks := #[], traceState := {}, cache := {} }
            (← mref.get) (← tref.get) all said

def lookup {α : Type} (ref : IO.Ref (Array (Option α))) (i : Nat) : IO (Option α) := do
  let xs ← ref.get
  match xs[i]? with
  | some (some x) => return some x
  | _ => return none

def failure (status message : String) : List (String × Json) :=
  [("s", Json.str status), ("m", Json.str message)]

def sayingsField (said : List String) : List (String × Json) :=
  match said with
  | [] => []
  | _ => [("said", jarr (mapList Json.str said))]

/-- Run one step; returns the answer's fields. -/
def step (s : Server) (state : Nat) (text : String) (heartbeats : Nat) (withConstants terse : Bool) :
    IO (List (String × Json)) := do
  match ← lookup s.states state with
  | none => return failure "error" "unknown state"
  | some st =>
    match ← lookup s.thms st.thm with
    | none => return failure "error" "unknown theorem"
    | some t =>
      match parseTactic st.core.env t text with
      | .error e => return failure "error" e
      | .ok stx =>
        match banned stx with
        | some w => return failure "error" s!"`{w}` may not be used"
        | none =>
          match ← applyTactic t st stx heartbeats terse with
          | .failed status m said => return append (sayingsField said) (failure status m)
          | .ok core ms term goals said =>
            match ← storeGroups s st.thm t core ms term goals withConstants with
            | .error e => return failure "error" e
            | .ok fields =>
              return ("s", Json.str "ok") :: append (sayingsField said) fields

end Turnstile
