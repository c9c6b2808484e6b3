import Lean.Meta.Tactic.Grind.Extension
import Turnstile.Basic

/-! What differs in Lean 4.28 and later: `grind`'s theorems are entries of one extension. -/

open Lean Meta

set_option compiler.small 0

namespace Turnstile

/-- Attributes of a module's declarations, as names `DECLARATION.ATTRIBUTE`. -/
abbrev Marks := NameSet

abbrev GrindEntry := Grind.Entry

def grindMarks (es : List (ScopedEnvExtension.Entry GrindEntry)) (acc : Marks) : Marks :=
  match es with
  | [] => acc
  | .global (.ematch t) :: rest =>
    match t.origin with
    | .decl n => grindMarks rest (acc.insert (.str n "grind"))
    | _ => grindMarks rest acc
  | _ :: rest => grindMarks rest acc

end Turnstile
