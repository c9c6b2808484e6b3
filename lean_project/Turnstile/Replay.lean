import Turnstile.Export

/-! The checker's first half: rebuild exported constants on a clean environment, each through the kernel.

This runs in a process that never elaborates anybody's text: all it reads is data. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

structure Import where
  names : Array Name
  levels : Array Level
  exprs : Array Expr
  env : Kernel.Environment
  /-- What was added, newest first, with the constructors of inductive types. -/
  added : List ConstantInfo
  addedNames : NameSet
  /-- The first thing that went wrong. -/
  problem : Option String

def natOf (j : Json) : Nat :=
  match j with
  | .num n => n.mantissa.toNat
  | _ => 0

def intOf (j : Json) : Int :=
  match j with
  | .num n => n.mantissa
  | _ => 0

def rebuildName (parts : List Json) (acc : Name) : Name :=
  match parts with
  | [] => acc
  | .str s :: rest => rebuildName rest (.str acc s)
  | .num n :: rest => rebuildName rest (.num acc n.mantissa.toNat)
  | _ :: rest => rebuildName rest acc

def Import.name (x : Import) (j : Json) : Name := x.names[natOf j]?.getD .anonymous
def Import.level (x : Import) (j : Json) : Level := x.levels[natOf j]?.getD .zero
def Import.expr (x : Import) (j : Json) : Expr := x.exprs[natOf j]?.getD (.bvar 0)

def Import.nameList (x : Import) (js : List Json) : List Name :=
  match js with
  | [] => []
  | j :: rest => x.name j :: x.nameList rest

def Import.levelList (x : Import) (js : List Json) : List Level :=
  match js with
  | [] => []
  | j :: rest => x.level j :: x.levelList rest

def binderOf (n : Nat) : BinderInfo :=
  match n with
  | 1 => .implicit
  | 2 => .strictImplicit
  | 3 => .instImplicit
  | _ => .default

def Import.fail (x : Import) (why : String) : Import :=
  match x.problem with
  | some _ => x
  | none => { x with problem := some why }

def natOfDigits (s : String) : Nat :=
  match s.toNat? with
  | some n => n
  | none => 0

def Import.pushExpr (x : Import) (e : Expr) : Import := { x with exprs := x.exprs.push e }

def readLevel (x : Import) (parts : List Json) : Import :=
  match parts with
  | [.str "z"] => { x with levels := x.levels.push .zero }
  | [.str "s", a] => { x with levels := x.levels.push (.succ (x.level a)) }
  | [.str "m", a, b] => { x with levels := x.levels.push (.max (x.level a) (x.level b)) }
  | [.str "i", a, b] => { x with levels := x.levels.push (.imax (x.level a) (x.level b)) }
  | [.str "p", n] => { x with levels := x.levels.push (.param (x.name n)) }
  | _ => x.fail "kernel: a universe level was left open"

def readExpr (x : Import) (parts : List Json) : Import :=
  match parts with
  | [.str "b", i] => x.pushExpr (.bvar (natOf i))
  | [.str "s", l] => x.pushExpr (.sort (x.level l))
  | [.str "c", n, .arr ls] => x.pushExpr (.const (x.name n) (x.levelList ls.toList))
  | [.str "a", f, a] => x.pushExpr (.app (x.expr f) (x.expr a))
  | [.str "L", n, bi, t, b] => x.pushExpr (.lam (x.name n) (x.expr t) (x.expr b) (binderOf (natOf bi)))
  | [.str "P", n, bi, t, b] => x.pushExpr (.forallE (x.name n) (x.expr t) (x.expr b) (binderOf (natOf bi)))
  | [.str "Z", n, t, v, b, .bool nd] => x.pushExpr (.letE (x.name n) (x.expr t) (x.expr v) (x.expr b) nd)
  | [.str "j", n, i, b] => x.pushExpr (.proj (x.name n) (natOf i) (x.expr b))
  | [.str "t", .str s] => x.pushExpr (.lit (.natVal (natOfDigits s)))
  | [.str "u", .str s] => x.pushExpr (.lit (.strVal s))
  | _ => x.fail "kernel: the proof has a hole"

def kernelOptions : Options := ({} : Options).set `maxHeartbeats (0 : Nat)

def Import.note (x : Import) (c : ConstantInfo) : Import :=
  { x with added := c :: x.added, addedNames := x.addedNames.insert c.name }

/-- Names that the kernel knows by heart: it computes with them whatever their definitions say, or the allowed axioms are called so.
Where `Init` is imported they are taken; a file that starts with `prelude` could make them mean what it likes. -/
def kernelNames : List Name :=
  [`Nat, `Nat.zero, `Nat.succ, `Nat.add, `Nat.sub, `Nat.mul, `Nat.div, `Nat.mod, `Nat.gcd, `Nat.beq, `Nat.ble, `Nat.land,
   `Nat.lor, `Nat.xor, `Nat.shiftLeft, `Nat.shiftRight, `Nat.pow, `Nat.log2, `Bool, `Bool.true, `Bool.false, `Char,
   `Char.ofNat, `String, `String.mk, `String.ofList, `List, `List.nil, `List.cons, `Eq, `Eq.refl, `Quot, `Quot.mk, `Quot.lift,
   `Quot.ind, `Quot.sound, `propext, `Classical.choice, `Lean.reduceBool, `Lean.reduceNat, `Lean.ofReduceBool,
   `Lean.ofReduceNat, `Lean.trustCompiler, `sorryAx]

/-- Fail where one of `ns` is the kernel's. -/
def Import.notKernels (x : Import) (ns : List Name) : Import :=
  match keep (fun n => hasName n kernelNames) ns with
  | [] => x
  | n :: _ => x.fail ("kernel: " ++ nameText n ++ " may not be declared: the kernel has a meaning of its own for it")

/-- Send one declaration through the kernel. -/
def Import.add (x : Import) (what : Name) (d : Declaration) (c : Option ConstantInfo) : Import :=
  let x := match x.env.find? what with
    | some _ => x
    | none => x.notKernels [what]
  match x.problem with
  | some _ => x
  | none =>
    match x.env.find? what with
    | some _ => x.fail ("kernel: " ++ nameText what ++ " is declared again")
    | none =>
      match x.env.addDecl kernelOptions d none with
      | .error _ => x.fail ("kernel: the kernel refuses " ++ nameText what)
      | .ok env =>
        match c with
        | some c => { x with env }.note c
        | none => { x with env }

def hintsOf (i : Int) : ReducibilityHints :=
  if i == -1 then .opaque else if i == -2 then .abbrev else .regular i.toNat.toUInt32

def constructorsFrom (x : Import) (js : List Json) : List Constructor :=
  match js with
  | [] => []
  | .arr a :: rest =>
    match a.toList with
    | [n, _, t] => { name := x.name n, type := x.expr t } :: constructorsFrom x rest
    | _ => constructorsFrom x rest
  | _ :: rest => constructorsFrom x rest

def inductivesFrom (x : Import) (js : List Json) : List InductiveType :=
  match js with
  | [] => []
  | .arr a :: rest =>
    match a.toList with
    | [n, _, t, .arr cs] =>
      { name := x.name n, type := x.expr t, ctors := constructorsFrom x cs.toList } :: inductivesFrom x rest
    | _ => inductivesFrom x rest
  | _ :: rest => inductivesFrom x rest

/-- Names of an inductive block's types and constructors. -/
def inductiveNames (ts : List InductiveType) : List Name :=
  match ts with
  | [] => []
  | t :: rest => t.name :: append (mapList (fun c => c.name) t.ctors) (inductiveNames rest)

def noteAll (x : Import) (ns : List Name) : Import :=
  match ns with
  | [] => x
  | n :: rest =>
    match x.env.find? n with
    | some c => noteAll (x.note c) rest
    | none => noteAll x rest

/-- Remember an inductive block's types and constructors as the kernel made them. -/
def noteInductives (x : Import) (ts : List InductiveType) : Import :=
  match ts with
  | [] => x
  | t :: rest => noteInductives (noteAll (noteAll x [t.name]) (mapList (fun c => c.name) t.ctors)) rest

def readDecl (x : Import) (parts : List Json) : Import :=
  match parts with
  | [.str "axiom", n, .arr ls, t] =>
    let v : AxiomVal := { name := x.name n, levelParams := x.nameList ls.toList, type := x.expr t, isUnsafe := false }
    x.add v.name (.axiomDecl v) (some (.axiomInfo v))
  | [.str "theorem", n, .arr ls, t, e] =>
    let v : TheoremVal :=
      { name := x.name n, levelParams := x.nameList ls.toList, type := x.expr t, value := x.expr e }
    x.add v.name (.thmDecl v) (some (.thmInfo v))
  | [.str "def", n, .arr ls, t, e, h, .bool safe] =>
    let v : DefinitionVal :=
      { name := x.name n, levelParams := x.nameList ls.toList, type := x.expr t, value := x.expr e,
        hints := hintsOf (intOf h), safety := .safe }
    if safe then x.add v.name (.defnDecl v) (some (.defnInfo v))
    else x.fail ("unsafe: " ++ nameText v.name ++ " is unsafe or partial")
  | [.str "opaque", n, .arr ls, t, e, .bool safe] =>
    let v : OpaqueVal :=
      { name := x.name n, levelParams := x.nameList ls.toList, type := x.expr t, value := x.expr e, isUnsafe := false }
    if safe then x.add v.name (.opaqueDecl v) (some (.opaqueInfo v))
    else x.fail ("unsafe: " ++ nameText v.name ++ " is unsafe")
  | [.str "inductive", .arr ls, np, .bool safe, .arr ts] =>
    let types := inductivesFrom x ts.toList
    match types with
    | [] => x.fail "kernel: an inductive block is empty"
    | t :: _ =>
      if safe then
        noteInductives ((x.notKernels (inductiveNames types)).add t.name (.inductDecl (x.nameList ls.toList) (natOf np) types false) none) types
      else x.fail ("unsafe: " ++ nameText t.name ++ " is unsafe")
  | _ => x.fail "kernel: an unknown kind of declaration"

def readEntry (x : Import) (j : Json) : Import :=
  match j with
  | .arr a =>
    match a.toList with
    | .str "n" :: parts => { x with names := x.names.push (rebuildName parts .anonymous) }
    | .str "l" :: parts => readLevel x parts
    | .str "e" :: parts => readExpr x parts
    | .str "d" :: parts => readDecl x parts
    | _ => x.fail "kernel: a bad entry"
  | _ => x.fail "kernel: a bad entry"

def readEntries (x : Import) (js : List Json) : Import :=
  match js with
  | [] => x
  | j :: rest => readEntries (readEntry x j) rest

def replay (env : Kernel.Environment) (entries : List Json) : Import :=
  readEntries { names := #[], levels := #[], exprs := #[], env, added := [], addedNames := {}, problem := none } entries

end Turnstile
