import Turnstile.Inert

/-! Elaborate source text command by command, starting from an environment. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

def importsOf (names : List String) : Array Import :=
  fromList (mapList (fun n => ({ module := n.toName } : Import)) names)

def findEnv (xs : List (String × Environment)) (key : String) : Option Environment :=
  match xs with
  | [] => none
  | (k, env) :: rest => if k == key then some env else findEnv rest key

/-- The environment of a list of imports, cached. -/
def environment (s : Server) (imports : List String) : IO Environment := do
  let key := ",".intercalate imports
  let known ← s.envs.get
  match findEnv known key with
  | some env => return env
  | none =>
    let env ← importModules (importsOf imports) {} 0 #[] false true
    s.envs.set ((key, env) :: known)
    return env

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

/-- A command of a text and its result. -/
structure Done where
  /-- Its number among the commands, from 0. -/
  number : Nat
  stx : Syntax
  before : Environment
  after : Environment
  trees : List InfoTree
  messages : List Message
  /-- Why its elaboration did not finish; empty if it did. An unfinished command changes nothing. -/
  stopped : String

/-- Settings for the elaboration of commands. -/
structure Manner where
  /-- Interrupts a command after `ms`. -/
  clock? : Option Clock := none
  ms : Nat := 0
  /-- Numbers of commands to skip, because they killed an earlier process. -/
  skip : List Nat := []
  /-- Stop before the first command that has syntax of another kind. -/
  kinds? : Option NameSet := none
  /-- Called with the number of each command before it begins. -/
  announce : Nat → IO Unit := fun _ => return ()

def parserContext (cs : Command.State) : Parser.ParserModuleContext :=
  match cs.scopes with
  | [] => { env := cs.env, options := {} }
  | scope :: _ =>
    { env := cs.env, options := scope.opts, currNamespace := scope.currNamespace, openDecls := scope.openDecls }

def elabCommand (ictx : Parser.InputContext) (s : Frontend.State) (stx : Syntax) (token? : Option IO.CancelToken) :
    IO (Except String Command.State) := do
  let ref ← IO.mkRef s.commandState
  let ctx : Command.Context :=
    { fileName := ictx.fileName, fileMap := ictx.fileMap, cmdPos := s.cmdPos, snap? := none, cancelTk? := token? }
  -- From 4.32 it takes the commands before, for linters of whole modules.
  match ← (by first
      | exact Command.elabCommandTopLevel stx ctx ref
      | exact Command.elabCommandTopLevel stx #[] ctx ref : EIO Exception Unit).toBaseIO with
  | .ok () => return .ok (← ref.get)
  | .error e => return .error (← e.toMessageData.toString)

/-- As `elabCommand`, with the time limit of the watch thread. The watch may interrupt the next command by mistake; such a command is
repeated. -/
partial def elabWatched (m : Manner) (number : Nat) (ictx : Parser.InputContext) (s : Frontend.State) (stx : Syntax) :
    IO (Except String Command.State) := do
  match m.clock? with
  | none => elabCommand ictx s stx none
  | some clock =>
    let began ← IO.monoMsNow
    clock.begin (number + 1) m.ms
    let r ← elabCommand ictx s stx (some clock.token)
    if !(← clock.stop) then return r
    else if (← IO.monoMsNow) - began < m.ms then elabWatched m number ictx s stx
    else return .error ("time: over " ++ toString (m.ms / 1000) ++ " s")

/-- The position of the first command, after white space and comments, which Lean's header parser normally skips. -/
def behindBlanks (ictx : Parser.InputContext) (s : Frontend.State) : Parser.ModuleParserState :=
  let p := Parser.whitespace.run ictx (parserContext s.commandState) {}
    { Parser.mkParserState ictx.inputString with pos := s.parserState.pos }
  match p.errorMsg with
  | some _ => s.parserState -- an unclosed comment, which the parser reports
  | none => { s.parserState with pos := p.pos }

def hasOther (kinds? : Option NameSet) (stx : Syntax) : Bool :=
  match kinds? with
  | none => false
  | some kinds => !isNil (otherKinds kinds stx [])

/-- Elaborate all remaining commands and call `each` on every result. Lean's own loop drops the parser's messages and the environment
before each command. -/
partial def commands (m : Manner) (ictx : Parser.InputContext) (state : IO.Ref Frontend.State) (number : Nat)
    (each : Done → IO Unit) : IO Unit := do
  let s ← state.get
  let before := s.commandState.env
  let start := if number == 0 then behindBlanks ictx s else s.parserState
  let (stx, ps, parsed) := Parser.parseCommand ictx (parserContext s.commandState) start {}
  let s := { s with parserState := ps, cmdPos := s.parserState.pos }
  state.set s
  m.announce number
  let r ← if hasOther m.kinds? stx then pure (.error "not inert")
    else if anyOf (fun n => n == number) m.skip then pure (.error "left out")
    else elabWatched m number ictx s stx
  let parse := persistentList parsed.unreported
  match r with
  | .error why =>
    each { number, stx, before, after := before, trees := [], messages := parse, stopped := why }
    match m.kinds? with
    | some _ => return ()
    | none => pure ()
  | .ok cs =>
    let messages := append parse (persistentList cs.messages.unreported)
    state.set { s with commandState := { cs with messages := {}, infoState := { cs.infoState with trees := {} } } }
    each { number, stx, before, after := cs.env, trees := persistentList cs.infoState.trees, messages, stopped := "" }
  if Parser.isTerminalCommand stx then return () else commands m ictx state (number + 1) each

/-- The state before the first command of a file. `trees`: whether to make info trees. -/
def startOf (env : Environment) (heartbeats : Nat) (trees : Bool) : IO (IO.Ref Frontend.State) := do
  let opts : Options := (({} : Options).set `Elab.async false).set `maxHeartbeats heartbeats
  -- As in a `noncomputable section`: no code runs, and the embedded library lacks what compiled code needs.
  let scope : Command.Scope := { header := "", opts, isNoncomputable := true }
  let cs := Command.mkState env {} opts
  let cs := { cs with scopes := [scope], infoState := { cs.infoState with enabled := trees } }
  IO.mkRef { commandState := cs, parserState := {}, cmdPos := 0 }

end Turnstile
