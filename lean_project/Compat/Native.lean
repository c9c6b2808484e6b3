import Turnstile.Basic

/-! What differs in native Lean: the server is an executable, and no thread watches its steps. The client ends the process of a step that
exceeds its limit. -/

open Lean

set_option compiler.small 0

namespace Turnstile

/-- Parser input: `text` under the name `file`, with its line ends as they are. -/
def inputOf (text file : String) : Parser.InputContext := Parser.mkInputContext text file false

/-- Find Lean's modules, by LEAN_SYSROOT and LEAN_PATH, and allow imports to run their initialisers, as `lean` does. -/
unsafe def startLean : IO Unit := do
  initSearchPath (← findSysroot)
  enableInitializersExecution

/-- The current step. Nothing interrupts it. -/
structure Clock where
  token : IO.CancelToken

def Clock.begin (_ : Clock) (_number _ms : Nat) : IO Unit := return ()

/-- End the current step; returns whether it was interrupted. -/
def Clock.stop (_ : Clock) : IO Bool := return false

unsafe def Clock.new : IO Clock := return { token := ← IO.CancelToken.new }

end Turnstile
