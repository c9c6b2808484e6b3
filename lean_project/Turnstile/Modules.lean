import Turnstile.Load

/-! Modules given as source: a project's modules that a file imports and that are not compiled.

Each is elaborated in place of an import, as a file of its own: open namespaces, sections, `open`, `variable`, local attributes and
notation end with it, and later files cannot use its private names. Two files may not declare the same private name, because Lean's
table of elaborated declarations does not distinguish them. The environment treats the constants of these modules as new, so the
audit replays all of them through the kernel. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

structure Source where
  /-- The module's name. -/
  module : Name
  /-- Its file, as in messages. -/
  file : String
  /-- Its text, with a blank header. -/
  text : String

def sourcesOf (js : List Json) : List Source :=
  mapList (fun j => { module := (strField j "module").toName, file := strField j "file", text := strField j "text" }) js

/-- The commands that end all open scopes. -/
def endings (scopes : List Command.Scope) (acc : String) : String :=
  match scopes with
  | [] => acc
  | [_] => acc
  | s :: rest => endings rest (acc ++ "end " ++ (if s.header.isEmpty then "" else nameText (.mkSimple s.header)) ++ "\n")

/-- Elaborate `text` from `state` on. -/
def further (text file : String) (state : IO.Ref Frontend.State) (messages : IO.Ref (List Message)) : IO Unit := do
  let s ← state.get
  state.set { s with parserState := {}, cmdPos := 0 }
  commands {} (inputOf text file) state 0 fun d => do messages.set (revOnto d.messages (← messages.get))

/-- The environment after a module, or its errors. A section around the module ends everything that is local to its file. -/
def elaborateModule (env : Environment) (m : Source) (heartbeats : Nat) : IO (Except (List Json) Environment) := do
  let state ← startOf (env.setMainModule m.module) heartbeats false
  let messages ← IO.mkRef ([] : List Message)
  further "section «this file»" m.file state messages
  further m.text m.file state messages
  further (endings (← state.get).commandState.scopes "") m.file state messages
  match ← errorsJson (revOnto (← messages.get) []) with
  | [] => return .ok (← state.get).commandState.env
  | errors => return .error errors

def modulesOnto (s : Server) (key : String) (env : Environment) (ms : List Source) (heartbeats : Nat) :
    IO (Except (List Json) Environment) := do
  match ms with
  | [] => return .ok env
  | m :: rest =>
    let key := key ++ "\x00" ++ nameText m.module ++ "\x00" ++ m.text
    match findEnv (← s.envs.get) key with
    | some env => modulesOnto s key env rest heartbeats
    | none =>
      match ← elaborateModule env m heartbeats with
      | .error errors => return .error errors
      | .ok env =>
        s.envs.set ((key, env) :: (← s.envs.get))
        modulesOnto s key env rest heartbeats

/-- The environment before a request's source text: its `imports`, then its `before`, which is cached like imports. -/
def environmentOf (s : Server) (j : Json) (heartbeats : Nat) : IO (Except (List Json) Environment) := do
  let imports := strings (listField j "imports")
  let env ← environment s imports
  match sourcesOf (listField j "before") with
  | [] => return .ok env
  | ms =>
    match ← modulesOnto s (",".intercalate imports) env ms heartbeats with
    | .error errors => return .error errors
    | .ok env => return .ok (env.setMainModule `«this file»)

end Turnstile
