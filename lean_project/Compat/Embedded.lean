import Turnstile.Basic

/-! What differs in the embedded Lean: its library lacks the compiled form of some functions, and a watch thread interrupts steps at their
time limit (see watch.js). -/

open Lean

set_option compiler.small 0

namespace Turnstile

/-- Parser input: `text` under the name `file`, with its line ends as they are. -/
def inputOf (text file : String) : Parser.InputContext :=
  { inputString := text, fileName := file, fileMap := text.toFileMap, endPos := text.rawEndPos,
    endPos_valid := by simp }

/-- `lean --run` has found the modules. -/
unsafe def startLean : IO Unit := return ()

/-- The current step, for a watch thread that interrupts steps at their time limit (see watch.js). -/
structure Clock where
  /-- Number of the current step; 0 if there is none. -/
  step : IO.Ref Nat
  /-- Its time limit in ms. -/
  limit : IO.Ref Nat
  /-- Set by the watch. Lean checks it, as `token`, wherever it counts heartbeats. -/
  late : IO.Ref Bool
  token : IO.CancelToken

/-- Start the time limit of `ms` for step `number` (not 0). -/
def Clock.begin (c : Clock) (number ms : Nat) : IO Unit := do
  c.late.set false
  c.limit.set ms
  c.step.set number

/-- End the current step; returns whether the watch interrupted it. -/
def Clock.stop (c : Clock) : IO Bool := do
  c.step.set 0
  let late ← c.late.get
  c.late.set false
  return late

/-- A clock that the watch thread can read. The embedded Lean starts the watch when asked for this path. A cancel token is its reference
in this release, which allows resetting it. -/
unsafe def Clock.new : IO Clock := do
  let step ← IO.mkRef 0
  let limit ← IO.mkRef 0
  let late ← IO.mkRef false
  let path := "/watch/" ++ toString (ptrAddrUnsafe step).toNat ++ "/" ++ toString (ptrAddrUnsafe limit).toNat ++ "/"
    ++ toString (ptrAddrUnsafe late).toNat
  let _ ← (System.FilePath.mk path).pathExists
  return { step, limit, late, token := unsafeCast late }

end Turnstile
