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
  readEntries { names := #[], levels := #[], exprs := #[], env, added := [], addedNames := {}, problem := none } entries

/-- Axioms that a library theorem may turn out to be on the embedded Lean, where proofs are left out. -/
def trueAxioms : List Name :=
  [`propext, `Classical.choice, `Quot.sound, `sorryAx, `Lean.ofReduceBool, `Lean.ofReduceNat, `Lean.trustCompiler,
   `Quot.lcInv, `lcProof, `lcAny]

/-- The kernel evaluates these with compiled code, without the axiom that says so. -/
def compiledEvaluation : List Name := [`Lean.reduceBool, `Lean.reduceNat]

def Import.find (x : Import) (n : Name) : Option ConstantInfo :=
  if x.addedNames.contains n then x.env.find? n else none

/-- Constants that `c` mentions. -/
def mentions (c : ConstantInfo) : List Name :=
  let inType := c.type.getUsedConstants.toList
  match c with
  | .thmInfo v => append v.value.getUsedConstants.toList inType
  | .defnInfo v => append v.value.getUsedConstants.toList inType
  | .opaqueInfo v => append v.value.getUsedConstants.toList inType
  | .inductInfo v => append v.ctors inType
  | .ctorInfo v => v.induct :: inType
  | .recInfo v => append v.all inType
  | _ => inType

structure Rests where
  axioms : List Name
  /-- Imported constants that new ones mention. -/
  used : List Name

/-- What new constants rest on, through everything new. -/
partial def restsOn (x : Import) (todo : List Name) (seen : NameSet) (r : Rests) : Rests :=
  match todo with
  | [] => r
  | n :: rest =>
    if seen.contains n then restsOn x rest seen r
    else
      let seen := seen.insert n
      match x.env.find? n with
      | none => restsOn x rest seen { r with axioms := n :: r.axioms }
      | some c =>
        let isNew := match c with
          | .recInfo v => anyOf (fun m => x.addedNames.contains m) v.all
          | _ => x.addedNames.contains n
        if isNew then
          let r := match c with
            | .axiomInfo _ => { r with axioms := n :: r.axioms }
            | _ => r
          restsOn x (append (mentions c) rest) seen r
        else restsOn x rest seen { r with used := n :: r.used }

/-- Everything that imported constants reach through definitions and instances, and through theorems if `proofs`. -/
partial def reach (env : Kernel.Environment) (proofs : Bool) (todo : List Name) (seen : NameSet) (acc : List Name) :
    List Name :=
  match todo with
  | [] => acc
  | n :: rest =>
    if seen.contains n then reach env proofs rest seen acc
    else
      let seen := seen.insert n
      let more := match env.find? n with
        | none => []
        | some (.thmInfo v) => if proofs then mentions (.thmInfo v) else []
        | some (.axiomInfo _) => []
        | some c => mentions c
      reach env proofs (append more rest) seen (n :: acc)

/-- Axioms among imported constants. `deep`: axioms are axioms (native Lean); else most are theorems without their proofs. -/
def axiomsAmong (env : Kernel.Environment) (deep : Bool) (ns : List Name) (acc : List Name) : List Name :=
  match ns with
  | [] => acc
  | n :: rest =>
    if hasName n compiledEvaluation then axiomsAmong env deep rest (`Lean.trustCompiler :: acc)
    else match env.find? n with
    | some (.axiomInfo _) => axiomsAmong env deep rest (if deep || hasName n trueAxioms then n :: acc else acc)
    | _ => axiomsAmong env deep rest acc

def isProved (env : Kernel.Environment) (n : Name) : Bool :=
  match env.find? n with
  | some (.thmInfo _) => true
  | some (.axiomInfo _) => !hasName n trueAxioms
  | _ => false

def levelParamsOf (ns : List Name) : List Level :=
  match ns with
  | [] => []
  | n :: rest => .param n :: levelParamsOf rest

/-- Without metadata, which exported terms have not either. -/
partial def bare (e : Expr) : Expr :=
  e.replace fun
    | .mdata _ b => some (bare b)
    | _ => none

/-- `b`, a term of the second constant, in the universe parameters of the first: they correspond by position. -/
def inLevelsOf (a b : ConstantInfo) (e : Expr) : Expr :=
  if a.levelParams == b.levelParams then e else e.instantiateLevelParams b.levelParams (levelParamsOf a.levelParams)

/-- The same type up to the names of binders and universe parameters. -/
def sameType (a b : ConstantInfo) : Bool :=
  lengthOf a.levelParams == lengthOf b.levelParams && bare a.type == inLevelsOf a b (bare b.type)

/-- A proof that elaboration moved into a theorem of its own, left out in the reference. -/
def leftOut (reference : Import) (n : Name) : Bool :=
  match reference.find n with
  | some (.thmInfo v) => n.isInternal && v.value.hasSorry
  | _ => false

/-- Whether `w` is `v` with something in the place of each `sorry`. -/
partial def fills (reference : Import) (v w : Expr) : Bool :=
  if v == w then true
  else match v.getAppFn with
  | .const n _ =>
    if n == `sorryAx || leftOut reference n then true
    else parts v w
  | _ => parts v w
where
  parts (v w : Expr) : Bool :=
    match v, w with
    | .app f a, .app g b => fills reference f g && fills reference a b
    | .lam _ t b _, .lam _ u c _ => fills reference t u && fills reference b c
    | .forallE _ t b _, .forallE _ u c _ => fills reference t u && fills reference b c
    | .letE _ t d b _, .letE _ u e c _ => fills reference t u && fills reference d e && fills reference b c
    | .proj s i a, .proj r j b => s == r && i == j && fills reference a b
    | _, _ => false

/-- Whether a constant of the reference means the same in the candidate, apart from its type. -/
def sameMeaning (reference : Import) (r c : ConstantInfo) : Bool :=
  match r, c with
  | .thmInfo _, .thmInfo _ => true
  | .axiomInfo _, .axiomInfo _ => true
  | .opaqueInfo _, .opaqueInfo _ => true
  | .defnInfo v, .defnInfo w => fills reference v.value (inLevelsOf r c w.value)
  | .inductInfo v, .inductInfo w => v.numParams == w.numParams && v.all == w.all && v.ctors == w.ctors
  | .ctorInfo v, .ctorInfo w => v.induct == w.induct && v.cidx == w.cidx
  | _, _ => false

/-- The first constant that the reference has too and that differs. Auxiliary proofs are nobody's statement. -/
def firstChange (reference : Import) (rs : List ConstantInfo) (candidate : Import) : Option String :=
  match rs with
  | [] => none
  | r :: rest =>
    match candidate.env.find? r.name with
    | none => firstChange reference rest candidate
    | some c =>
      if leftOut reference r.name then firstChange reference rest candidate
      else if !sameType r c then some (nameText r.name ++ " has another type than asked for")
      else if !sameMeaning reference r c then some (nameText r.name ++ " has another meaning than asked for")
      else firstChange reference rest candidate

/-- How a judgement is made. -/
structure Rules where
  /-- Imported theorems carry their proofs: look for axioms there too. -/
  deep : Bool
  /-- Constants that a proof may not use: neither they, nor theorems that say the same, nor definitions made of them. -/
  forbidden : List Name

/-- Whether `n` is forbidden by its name, or says what a forbidden theorem says. -/
def isForbidden (x : Import) (forbidden : List Name) (n : Name) : Bool :=
  hasName n forbidden || (isProved x.env n && match x.env.find? n with
    | none => false
    | some c => anyOf (fun f => match x.env.find? f with
      | some d => sameType d c
      | none => false) forbidden)

def judgeJson (x : Import) (rules : Rules) (n : Name) (problem : Option String) : Json :=
  let r := restsOn x [n] {} { axioms := [], used := [] }
  let below := if rules.deep then reach x.env true r.used {} [] else r.used
  let bad := match rules.forbidden with
    | [] => []
    | ns => keep (isForbidden x ns) (reach x.env false r.used {} [])
  Json.mkObj [
    ("name", Json.str (nameText n)),
    ("problem", match problem with | some p => Json.str p | none => Json.null),
    ("axioms", jnames (axiomsAmong x.env rules.deep below r.axioms)),
    ("premises", jnames (keep (isProved x.env) r.used)),
    ("forbidden", jnames bad)]

def anyNew (x : Import) (ns : List Name) : Option Name :=
  match keep (fun n => x.addedNames.contains n) ns with
  | [] => none
  | n :: _ => some n

/-- Judge a proof of a library constant against that constant's own type. -/
def judgeLibrary (whole : Environment) (x : Import) (rules : Rules) (n : Name) : Json :=
  let problem := match x.problem with
    | some p => some p
    | none =>
      match whole.find? n, x.find n with
      | some r, some (.thmInfo v) =>
        if !sameType r (.thmInfo v) then some "statement: not the theorem asked for"
        else match anyNew x r.type.getUsedConstants.toList with
          | some c => some ("statement: the proof brings its own " ++ nameText c)
          | none => none
      | none, _ => some "statement: no such library theorem"
      | _, _ => some "statement: no theorem of that name was proved"
  judgeJson x rules n problem

def isTheorem (c? : Option ConstantInfo) : Bool :=
  match c? with
  | some (.thmInfo _) => true
  | _ => false

/-- What is wrong with the theorem `n`, apart from what it rests on. `any`: it may be a definition or an instance. -/
def problemWith (x : Import) (reference : Option Import) (change : Option String) (any : Bool) (n : Name) :
    Option String :=
  match x.problem with
  | some p => some p
  | none =>
    match x.find n with
    | none => some "statement: no theorem of that name was proved"
    | some c =>
      if !any && !isTheorem (some c) then some "statement: not a theorem"
      else match reference with
      | none => none
      | some r =>
        match r.problem with
        | some p => some ("statement: the reference itself is not accepted: " ++ p)
        | none =>
          match r.find n, change with
          | none, _ => some "statement: the reference has no theorem of that name"
          | some d, none =>
            if any || isTheorem (some d) then none else some "statement: the reference has no theorem of that name"
          | _, some p => some ("statement: " ++ p)

/-- Judge the theorems `ns`, then the constants `also`. -/
def judgeAll (x : Import) (rules : Rules) (reference : Option Import) (ns also : List Name) : List Json :=
  let change := match reference with
    | none => none
    | some r => firstChange r r.added x
  let judge := fun (any : Bool) (n : Name) => judgeJson x rules n (problemWith x reference change any n)
  append (mapList (judge false) ns) (mapList (judge true) also)

end Turnstile
