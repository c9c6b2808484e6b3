import Turnstile.Main

/-! List every constant of Lean's library that the server mentions, with its module. They are read from the elaborated types and
values of the server's own constants, so notation, instances and coercions count. Run by `python -m prover.lean.mentions`. -/

open Lean Elab

set_option compiler.small 0

namespace Turnstile.Mentions

def inConstant (c : ConstantInfo) : List Name :=
  append c.type.getUsedConstants.toList (match c with
    | .defnInfo v => v.value.getUsedConstants.toList
    | .thmInfo v => v.value.getUsedConstants.toList
    | .opaqueInfo v => v.value.getUsedConstants.toList
    | _ => [])

def fresh (ns : List Name) (seen : NameSet) (acc : List Name) : NameSet × List Name :=
  match ns with
  | [] => (seen, acc)
  | n :: rest => if seen.contains n then fresh rest seen acc else fresh rest (seen.insert n) (n :: acc)

def collect (env : Environment) (own : List Name) (seen : NameSet) (acc : List Name) : List Name :=
  match own with
  | [] => acc
  | n :: rest =>
    match env.find? n with
    | some c =>
      let (seen, acc) := fresh (inConstant c) seen acc
      collect env rest seen acc
    | none => collect env rest seen acc

def print (env : Environment) (ns : List Name) : IO Unit :=
  match ns with
  | [] => return ()
  | n :: rest => do
    match env.getModuleIdxFor? n with
    | some i =>
      let module := env.header.moduleNames[i.toNat]?.getD .anonymous
      (← IO.getStdout).putStrLn ("MENTIONS " ++ nameText module ++ " " ++ nameText n)
    | none => pure ()
    print env rest

def mentions : Command.CommandElabM Unit := do
  let env ← getEnv
  let own := addedNames (.entries #[]) env.toKernelEnv.constants.map₂.root []
  print env (collect env own {} [])

end Turnstile.Mentions

run_cmd Turnstile.Mentions.mentions
