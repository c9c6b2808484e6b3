import Turnstile.Export

/-! The checker: rebuild exported constants on a clean environment, each through the kernel, and say what they rest on.

This runs in a process that never elaborates anybody's text: all it reads is data. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

structure Import where
  names : Array Name
  levels : Array Level
  exprs : Array Expr
  env : Kernel.Environment
  /-- What was added, newest first. -/
  added : List ConstantInfo
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

/-- Send one declaration through the kernel. -/
def Import.add (x : Import) (what : Name) (d : Declaration) (c : Option ConstantInfo) : Import :=
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
        | some c => { x with env, added := c :: x.added }
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

/-- Remember an inductive block's constants as the kernel made them. -/
def noteInductives (x : Import) (ts : List InductiveType) : Import :=
  match ts with
  | [] => x
  | t :: rest =>
    match x.env.find? t.name with
    | some c => noteInductives { x with added := c :: x.added } rest
    | none => noteInductives x rest

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
        noteInductives (x.add t.name (.inductDecl (x.nameList ls.toList) (natOf np) types false) none) types
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
  readEntries { names := #[], levels := #[], exprs := #[], env, added := [], problem := none } entries

/-- Axioms that a library theorem may turn out to be on the embedded Lean, where proofs are left out. -/
def trueAxioms : List Name :=
  [`propext, `Classical.choice, `Quot.sound, `sorryAx, `Lean.ofReduceBool, `Lean.ofReduceNat, `Lean.trustCompiler,
   `Quot.lcInv, `lcProof, `lcAny, `Lean.Grind.Config]

structure Rests where
  seen : NameSet
  axioms : List Name
  premises : List Name

def findAdded (cs : List ConstantInfo) (n : Name) : Option ConstantInfo :=
  match cs with
  | [] => none
  | c :: rest => if c.name == n then some c else findAdded rest n

/-- What `n` rests on: axioms, through everything new, and the imported theorems that new constants use directly.
`deep`: imported theorems carry their proofs (native Lean), so look through those too. -/
partial def restsOn (x : Import) (deep : Bool) (r : Rests) (n : Name) : Rests :=
  if r.seen.contains n then r
  else
    let r := { r with seen := r.seen.insert n }
    match x.env.find? n with
    | none => { r with axioms := n :: r.axioms }
    | some c =>
      match findAdded x.added n with
      | some (.axiomInfo v) => uses x deep { r with axioms := n :: r.axioms } v.type
      | some c => uses x deep (usesValue x deep r c) c.type
      | none =>
        match c with
        | .axiomInfo _ =>
          if hasName n trueAxioms || deep then { r with axioms := n :: r.axioms }
          else { r with premises := n :: r.premises }
        | .thmInfo v =>
          if deep then uses x deep (uses x deep { r with premises := n :: r.premises } v.value) v.type
          else { r with premises := n :: r.premises }
        | .ctorInfo v => if deep then restsOn x deep r v.induct else r
        | .defnInfo v => if deep then uses x deep (uses x deep r v.value) v.type else r
        | _ => r
where
  uses (x : Import) (deep : Bool) (r : Rests) (e : Expr) : Rests := all x deep r e.getUsedConstants.toList
  usesValue (x : Import) (deep : Bool) (r : Rests) (c : ConstantInfo) : Rests :=
    match c with
    | .thmInfo v => uses x deep r v.value
    | .defnInfo v => uses x deep r v.value
    | .opaqueInfo v => uses x deep r v.value
    | .inductInfo v => all x deep r v.ctors
    | _ => r
  all (x : Import) (deep : Bool) (r : Rests) (ns : List Name) : Rests :=
    match ns with
    | [] => r
    | n :: rest => all x deep (restsOn x deep r n) rest

def sameLevels (xs ys : List Name) : Bool :=
  match xs, ys with
  | [], [] => true
  | x :: xs, y :: ys => x == y && sameLevels xs ys
  | _, _ => false

def levelParamsOf (ns : List Name) : List Level :=
  match ns with
  | [] => []
  | n :: rest => .param n :: levelParamsOf rest

def bare (e : Expr) : Expr :=
  e.replace fun
    | .mdata _ b => some (bareOnce b)
    | _ => none
where
  bareOnce (e : Expr) : Expr := match e with
    | .mdata _ b => bareOnce b
    | e => e

/-- The same type up to the names of binders and universe parameters. -/
def sameType (a b : ConstantInfo) : Bool :=
  lengthOf a.levelParams == lengthOf b.levelParams
    && (a.type == b.type
      || a.type.instantiateLevelParams a.levelParams (levelParamsOf b.levelParams) == bare b.type)

/-- A definition's value, where the value is part of what a statement means. -/
def meaning (c : ConstantInfo) : Option Expr :=
  match c with
  | .defnInfo v => some v.value
  | _ => none

def sameMeaning (reference candidate : ConstantInfo) : Bool :=
  match meaning reference with
  | none => true
  | some v =>
    if v.hasSorry then true
    else match meaning candidate with
      | none => false
      | some w =>
        v == w.instantiateLevelParams candidate.levelParams (levelParamsOf reference.levelParams)

/-- The first constant that the reference has too and that differs. -/
def firstChange (reference : List ConstantInfo) (candidate : Import) : Option String :=
  match reference with
  | [] => none
  | r :: rest =>
    match candidate.env.find? r.name with
    | none => firstChange rest candidate
    | some c =>
      if !sameType r c then some (nameText r.name ++ " has another type than asked for")
      else if !sameMeaning r c then some (nameText r.name ++ " has another meaning than asked for")
      else firstChange rest candidate

def judgeJson (x : Import) (deep : Bool) (n : Name) (problem : Option String) : Json :=
  let r := restsOn x deep { seen := {}, axioms := [], premises := [] } n
  Json.mkObj [
    ("name", Json.str (nameText n)),
    ("problem", match problem with | some p => Json.str p | none => Json.null),
    ("axioms", jnames r.axioms), ("premises", jnames r.premises)]

/-- Judge roots against a library constant's own type. -/
def judgeLibrary (whole : Environment) (x : Import) (deep : Bool) (n : Name) : Json :=
  let problem := match x.problem with
    | some p => some p
    | none =>
      match whole.find? n, findAdded x.added n with
      | some r, some (.thmInfo v) =>
        if sameType r (.thmInfo v) then none else some "statement: not the theorem asked for"
      | none, _ => some "statement: no such library theorem"
      | _, _ => some "statement: no theorem of that name was proved"
  judgeJson x deep n problem

def judgeAll (x : Import) (deep : Bool) (reference : Option Import) (ns : List Name) : List Json :=
  match ns with
  | [] => []
  | n :: rest =>
    let problem := match x.problem with
      | some p => some p
      | none =>
        match findAdded x.added n with
        | none => some "statement: no theorem of that name was proved"
        | some c =>
          match reference with
          | none => none
          | some r =>
            match r.problem with
            | some p => some ("statement: the reference itself is not accepted: " ++ p)
            | none =>
              match findAdded r.added n with
              | none => some "statement: the reference has no theorem of that name"
              | some rc =>
                if isTheorem c != isTheorem rc then some "statement: not a theorem"
                else match firstChange r.added x with
                  | some p => some ("statement: " ++ p)
                  | none => none
    judgeJson x deep n problem :: judgeAll x deep reference rest
where
  isTheorem (c : ConstantInfo) : Bool :=
    match c with
    | .thmInfo _ => true
    | _ => false

end Turnstile
