import Turnstile.Surroundings
import Turnstile.Declare
import Turnstile.Everything
import Turnstile.Extract

/-! The server's loop: a JSON request per input line, a JSON answer per output line. Each answer follows a secret prefix, which is the
first input line, so that tactics cannot print answers. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

def withoutNewline (s : String) : String :=
  match s.splitOn "\n" with
  | x :: _ => x
  | [] => ""

/-- The fields of an answer to step number `n`, with the time limit of the watch thread. The watch may interrupt the next step by
mistake; such a step is repeated. -/
partial def watched (s : Server) (n ms : Nat) (act : IO (List (String × Json))) : IO (List (String × Json)) := do
  let began ← IO.monoMsNow
  s.clock.begin n ms
  let fields ← try act catch e => pure (failure "error" (toString e))
  let late ← s.clock.stop
  match late, fields with
  | true, ("s", Json.str "ok") :: _ => return fields
  | true, _ =>
    if (← IO.monoMsNow) - began < ms then watched s n ms act
    else return failure "timeout" ("over " ++ toString ms ++ " ms")
  | false, _ => return fields

/-- Answer one step `[request, state, tactic]` at a time, when it is done. -/
def steps (s : Server) (rs : List Json) (heartbeats ms : Nat) (withConstants terse : Bool) : IO Unit :=
  match rs with
  | [] => return ()
  | .arr #[.num r, .num st, .str text] :: rest => do
    let t0 ← IO.monoNanosNow
    let fields ← watched s r.mantissa.toNat ms (step s st.mantissa.toNat text heartbeats withConstants terse)
    let t1 ← IO.monoNanosNow
    s.send (Json.mkObj (("q", Json.num r) :: ("us", jnat ((t1 - t0) / 1000)) :: fields))
    steps s rest heartbeats ms withConstants terse
  | _ :: rest => steps s rest heartbeats ms withConstants terse

def clear {α : Type} (ref : IO.Ref (Array (Option α))) (is : List Nat) : IO Unit :=
  match is with
  | [] => return ()
  | i :: rest => do
    let xs ← ref.get
    ref.set #[]
    ref.set (if i < xs.size then xs.set! i none else xs)
    clear ref rest

def toNames (ns : List String) : List Name :=
  match ns with
  | [] => []
  | n :: rest => n.toName :: toNames rest

def rulesOf (j : Json) : Rules :=
  { deep := boolField j "deep", forbidden := toNames (strings (listField j "forbidden")),
    assumed := (strField j "assumed").toName }

def judgeOf (s : Server) (j : Json) : Judge :=
  { clock := s.clock, ms := natField j "ms" 60000, skip := numbers (listField j "skip")
    announce := announcer s j }

def handle (s : Server) (j : Json) : IO (List (String × Json)) := do
  let withConstants := boolField j "constants"
  match strField j "cmd" with
  | "ping" => return [("ok", Json.bool true)]
  | "version" => return [("version", Json.str Lean.versionString)]
  | "step" =>
    steps s (listField j "steps") (natField j "heartbeats" 0) (natField j "ms" 0) withConstants
      (boolField j "terse")
    return [("ok", Json.bool true)]
  | "free" =>
    clear s.states (numbers (listField j "states"))
    clear s.thms (numbers (listField j "thms"))
    return [("ok", Json.bool true)]
  | "env" =>
    let _ ← environment s (strings (listField j "imports"))
    return [("ok", Json.bool true)]
  | "load" =>
    let heartbeats := natField j "heartbeats" 200000
    match ← environmentOf s j heartbeats with
    | .error errors => return [("ok", Json.bool true), ("errors", jarr errors), ("holes", jarr [])]
    | .ok env =>
      let l ← elaborate env (strField j "source") (strField j "file") heartbeats
      let hs ← openHoles s l.env l.holes withConstants
      let base := [("ok", Json.bool true), ("errors", jarr l.errors), ("holes", jarr hs)]
      if !withConstants then return base
      let imported ← environment s (strings (listField j "imports"))
      let (tactics, own) := (strings (listField j "tactics"), toNames (strings (listField j "own")))
      return ("surroundings", ← surroundingsJson imported env l tactics own) :: base
  | "library" =>
    let whole ← environment s (strings (listField j "whole"))
    let env ← environment s (strings (listField j "imports"))
    match whole.find? (strField j "name").toName with
    | none => return [("error", Json.str "no such constant")]
    | some c =>
      match ← openLibrary s env c withConstants with
      | .error e => return [("error", Json.str e)]
      | .ok (thm, fields) => return ("ok", Json.bool true) :: ("thm", jnat thm) :: fields
  | "modules" =>
    let env ← environment s (strings (listField j "imports"))
    return [("ok", Json.bool true), ("modules", jarr (modulesJson env))]
  | "module" =>
    let env ← environment s (strings (listField j "imports"))
    let chosen? := match j.getObjVal? "chosen" with
      | .ok (.arr xs) => some xs.toList
      | _ => none
    match ← moduleJson env (strField j "module").toName chosen? with
    | .error e => return [("error", Json.str e)]
    | .ok m => return [("ok", Json.bool true), ("module", m)]
  | "prove_library" =>
    let whole ← environment s (strings (listField j "whole"))
    let env ← environment s (strings (listField j "imports"))
    match whole.find? (strField j "name").toName with
    | none => return [("error", Json.str "no such constant")]
    | some c =>
      match ← proveLibrary s env c (strField j "script") (natField j "heartbeats" 0) (boolField j "inert") with
      | .error e => return [("error", Json.str e)]
      | .ok new =>
        let w := exportRoots env.toKernelEnv new.find? startWalk [c.name]
        return [("ok", Json.bool true), ("entries", Json.arr w.x.entries)]
  | "declare" => declare s j
  | "extract" => extract s j
  | "types" =>
    match ← s.last.get with
    | none => return [("ok", Json.bool true), ("types", jarr [])]
    | some env => return [("ok", Json.bool true), ("types", jarr (← ppTypes env (rebuildNames (listField j "names")) []))]
  | "check_library" =>
    let whole ← environment s (strings (listField j "whole"))
    let env ← environment s (strings (listField j "imports"))
    let x ← replay (judgeOf s j) env.toKernelEnv (listField j "entries")
    return [("ok", Json.bool true), ("verdict", judgeLibrary whole x (rulesOf j) (strField j "name").toName)]
  | "check" =>
    let env := (← environment s (strings (listField j "imports"))).toKernelEnv
    -- Before anything is announced: no declaration of the candidate is to blame if the reference kills the process.
    let reference ← match j.getObjVal? "reference" with
      | .ok (.arr es) => pure (some (← replay { judgeOf s j with skip := [], announce := fun _ => return () } env es.toList))
      | _ => pure none
    let x ← replay (judgeOf s j) env (listField j "entries")
    (judgeOf s j).announce x.count
    let verdicts := judgeAll x (rulesOf j) reference (obligationsFrom (listField j "obligations")) (rebuildNames (listField j "added"))
    return [("ok", Json.bool true), ("verdicts", jarr verdicts)]
  | "everything" =>
    let env := (← environment s (strings (listField j "imports"))).toKernelEnv
    let x ← replay (judgeOf s j) env (listField j "entries")
    (judgeOf s j).announce x.count
    let entries := everythingOf x (boolField j "deep") (rebuildNames (listField j "roots"))
    return [("ok", Json.bool true), ("githash", Json.str Lean.githash), ("entries", Json.arr entries)]
  | other => return [("error", Json.str s!"unknown command {other}")]

/-- The next line. The embedded Lean may report the end of input between two reads of a pipe: only the third report in a row
counts. -/
partial def wholeLine (input : IO.FS.Stream) (start : String) (ends : Nat) : IO String := do
  let part ← input.getLine
  if part.isEmpty then
    if ends < 2 then wholeLine input start (ends + 1) else return start
  else if part.back == '\n' then return start ++ part
  else wholeLine input (start ++ part) 0

partial def loop (s : Server) (input : IO.FS.Stream) : IO Unit := do
  let line ← wholeLine input "" 0
  if line.isEmpty then return ()
  match Json.parse line with
  | .error e => s.send (Json.mkObj [("error", Json.str ("bad request: " ++ e))])
  | .ok j =>
    let id := match j.getObjVal? "id" with
      | .ok v => v
      | .error _ => Json.null
    let fields ← try handle s j catch e => pure [("error", Json.str (toString e))]
    s.send (Json.mkObj (("id", id) :: fields))
  loop s input

end Turnstile

/-- The server after a start from a snapshot. It may use only `init` of what existed before. -/
unsafe def Turnstile.serve (init : Environment) : IO Unit := do
  let input ← IO.getStdin
  let out ← IO.getStdout
  let nonce := Turnstile.withoutNewline (← input.getLine)
  let s : Turnstile.Server := {
    thms := ← IO.mkRef #[], states := ← IO.mkRef #[], envs := ← IO.mkRef [("Init", init)], last := ← IO.mkRef none, context := ← IO.mkRef none
    out, nonce, clock := ← Turnstile.Clock.new }
  s.send (Json.mkObj [("ready", Json.str Lean.versionString)])
  Turnstile.loop s input

/-- Run the server. Asking for the path below first saves a snapshot (see snapshot.js) and ends the process, if one is requested;
elsewhere no such file exists. The reference keeps the closure alive. `Init` is imported and a first text elaborated before, so that
starts from the snapshot skip both. -/
unsafe def main : IO Unit := do
  Turnstile.startLean
  let init ← importModules (Turnstile.importsOf ["Init"]) {} 0 #[] false true
  let _ ← Turnstile.elaborate init "theorem t (a b : Nat) (h : a < b) : a < b + 1 ∧ [1].length = 1 := ⟨by omega, by simp⟩" "" 100000000
  let kept ← IO.mkRef (Turnstile.serve init)
  let serve ← kept.get
  let _ ← (System.FilePath.mk ("/snapshot/" ++ toString (ptrAddrUnsafe serve).toNat)).pathExists
  let serve ← kept.get
  serve
