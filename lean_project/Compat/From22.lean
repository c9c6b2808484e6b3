import Turnstile.Basic

/-! What differs in Lean 4.22 to 4.27: the extension of `grind`'s theorems is private to Lean, so the server lists none. -/

open Lean Meta

set_option compiler.small 0

namespace Turnstile

/-- Attributes of a module's declarations, as names `DECLARATION.ATTRIBUTE`. -/
abbrev Marks := NameSet

abbrev GrindEntry := Unit

def grindMarks (_ : List (ScopedEnvExtension.Entry GrindEntry)) (acc : Marks) : Marks := acc

end Turnstile
