import Turnstile.Replay

/-! Whether a constant of the candidate has the meaning of the reference's: the same type, for definitions the same value, and the
same for every constant that these mention. Anything may replace the reference's `sorry`, and one proof of a statement may replace
another. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

def Import.find (x : Import) (n : Name) : Option ConstantInfo :=
  if x.addedNames.contains n then x.env.find? n else none

def levelParamsOf (ns : List Name) : List Level :=
  match ns with
  | [] => []
  | n :: rest => .param n :: levelParamsOf rest

/-- Remove metadata, which exported terms do not have. -/
partial def bare (e : Expr) : Expr :=
  e.replace fun
    | .mdata _ b => some (bare b)
    | _ => none

/-- `b`, a term of the second constant, with the universe parameters of the first, by position. -/
def inLevelsOf (a b : ConstantInfo) (e : Expr) : Expr :=
  if a.levelParams == b.levelParams then e else e.instantiateLevelParams b.levelParams (levelParamsOf a.levelParams)

/-- Whether types are equal up to the names of binders and universe parameters. -/
def sameType (a b : ConstantInfo) : Bool :=
  lengthOf a.levelParams == lengthOf b.levelParams && bare a.type == inLevelsOf a b (bare b.type)

/-- Whether `n` is a theorem of the reference, so that its applications are proofs. -/
def isTheoremOf (reference : Import) (n : Name) : Bool :=
  match reference.find n with
  | some (.thmInfo _) => true
  | _ => false

/-- Whether `w` is `v` with other terms for each `sorry` and for each proof by a theorem of the reference. Both terms are well-typed,
and the rest of the term determines the type at such a position. -/
partial def fills (reference : Import) (v w : Expr) : Bool :=
  if v == w then true
  else match v.getAppFn with
  | .const n _ => if n == `sorryAx || isTheoremOf reference n then true else parts v w
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

/-- Remove the position in the file that Lean writes into every `sorry`, since a longer proof before it changes that. -/
partial def unplaced (e : Expr) : Expr :=
  e.replace fun
    | .app (.app (.app s (.forallE n (.const `Lean.Name us) t bi)) b) _ =>
      if s.isConstOf `sorryAx then
        some (.app (.app (.app s (.forallE n (.const `Lean.Name us) (unplaced t) bi)) b) (.const `Lean.Name.anonymous []))
      else none
    | _ => none

/-- Replace theorems of the reference that the candidate lacks, or has with another statement, by their proofs. -/
partial def movedBack (reference candidate : Import) (e : Expr) : Expr :=
  e.replace fun
    | .const n us =>
      match reference.find n with
      | some (.thmInfo v) =>
        match candidate.find n with
        | some c => if sameType (.thmInfo v) c then none else back v us
        | none => back v us
      | _ => none
    | _ => none
where
  back (v : TheoremVal) (us : List Level) : Option Expr :=
    some (movedBack reference candidate (v.value.instantiateLevelParams v.levelParams us))

/-- Whether the candidate's type is the reference's with proofs for each `sorry`, if it has any: in a structure's default, or in the
termination proof in a definition's equation. The kernel confirms that they are proofs: it identifies two proofs of one statement,
and no other two different terms. -/
def sameTypeFilled (reference x : Import) (r c : ConstantInfo) : Bool :=
  if lengthOf r.levelParams != lengthOf c.levelParams then false
  else
    let v := unplaced (bare r.type)
    let w := unplaced (inLevelsOf r c (bare c.type))
    if v == w then true
    else if !fills reference v w then false
    else
      let to := .forallE `x w (movedBack reference x v) .default
      let d : OpaqueVal :=
        { name := `_turnstile.filled, levelParams := r.levelParams, type := to,
          value := .lam `x w (.bvar 0) .default, isUnsafe := false, all := [`_turnstile.filled] }
      match x.env.addDecl kernelOptions (.opaqueDecl d) none with
      | .ok _ => true
      | .error _ => false

/-- Whether two equal types have the same binder kinds, explicit or not. -/
def sameBinders (a b : Expr) : Bool :=
  match a, b with
  | .forallE _ _ a i, .forallE _ _ b j => i == j && sameBinders a b
  | .mdata _ a, b => sameBinders a b
  | a, .mdata _ b => sameBinders a b
  | _, _ => true

def kindText (c : ConstantInfo) : String :=
  match c with
  | .axiomInfo _ => "an axiom"
  | .thmInfo _ => "a theorem"
  | .defnInfo _ => "a definition"
  | .opaqueInfo _ => "an opaque constant"
  | .inductInfo _ => "an inductive type"
  | .ctorInfo _ => "a constructor"
  | .recInfo _ => "a recursor"
  | .quotInfo _ => "a quotient's constant"

def sameKind (r c : ConstantInfo) : Bool :=
  match r, c with
  | .thmInfo _, .thmInfo _ => true
  | .axiomInfo _, .axiomInfo _ => true
  | .opaqueInfo _, .opaqueInfo _ => true
  | .defnInfo _, .defnInfo _ => true
  | .inductInfo _, .inductInfo _ => true
  | .ctorInfo _, .ctorInfo _ => true
  | .recInfo _, .recInfo _ => true
  | _, _ => false

/-- Whether two constants of one kind and type are equal, apart from the constants that they mention. -/
def sameValue (reference : Import) (r c : ConstantInfo) : Bool :=
  match r, c with
  | .defnInfo v, .defnInfo w => fills reference (bare v.value) (inLevelsOf r c (bare w.value))
  | .opaqueInfo v, .opaqueInfo w => fills reference (bare v.value) (inLevelsOf r c (bare w.value))
  | .inductInfo v, .inductInfo w => v.numParams == w.numParams && v.all == w.all && v.ctors == w.ctors
  | .ctorInfo v, .ctorInfo w => v.induct == w.induct && v.cidx == w.cidx
  | _, _ => true

/-- Constants that determine the meaning of `c`; for a theorem, those of its type. -/
def meaningOf (c : ConstantInfo) : List Name :=
  let inType := c.type.getUsedConstants.toList
  match c with
  | .defnInfo v => append v.value.getUsedConstants.toList inType
  | .opaqueInfo v => append v.value.getUsedConstants.toList inType
  | .inductInfo v => append v.ctors (append v.all inType)
  | .ctorInfo v => v.induct :: inType
  | .recInfo v => append v.all inType
  | _ => inType

structure Comparison where
  reference : Import
  candidate : Import
  /-- Compared constants and their differences. During its comparison a constant counts as equal. -/
  known : Table (Name × Option String)

def Comparison.put (c : Comparison) (n : Name) (r : Option String) : Comparison :=
  { c with known := c.known.insert n.hash (n, r) }

mutual

/-- The candidate's `w` with the reference's names for definitions of the candidate that are equal under other names, and these names.
Lean makes a matcher once, for the first declaration that needs it. -/
partial def Comparison.aligned (c : Comparison) (r w : ConstantInfo) : ConstantInfo × List Name × Comparison :=
  let inR := meaningOf r
  let inW := meaningOf w
  let lost := keep (fun m => isDefinition (c.reference.find m) && !hasName m inW) inR
  let extra := keep (fun m => isDefinition (c.candidate.find m) && !hasName m inR) inW
  match lost, extra with
  | [], _ => (w, [], c)
  | _, [] => (w, [], c)
  | _, _ => pairUp c lost extra w []
where
  isDefinition (c? : Option ConstantInfo) : Bool :=
    match c? with
    | some (.defnInfo _) => true
    | _ => false
  pairUp (c : Comparison) (lost extra : List Name) (w : ConstantInfo) (done : List Name) : ConstantInfo × List Name × Comparison :=
    match extra with
    | [] => (w, done, c)
    | m :: rest =>
      let (twin?, c) := twin c m lost
      match twin? with
      | some a => pairUp c lost rest (withConst m a w) (a :: done)
      | none => pairUp c lost rest w done
  twin (c : Comparison) (m : Name) (lost : List Name) : Option Name × Comparison :=
    match lost with
    | [] => (none, c)
    | a :: rest =>
      match c.same a m with
      | (none, c) => (some a, c)
      | (some _, c) => twin c m rest
  withConst (m a : Name) (w : ConstantInfo) : ConstantInfo :=
    let e := fun (e : Expr) => e.replace fun
      | .const n us => if n == m then some (.const a us) else none
      | _ => none
    let to := fun (v : ConstantVal) => { v with type := e v.type : ConstantVal }
    match w with
    | .thmInfo v => .thmInfo { v with toConstantVal := to v.toConstantVal }
    | .defnInfo v => .defnInfo { v with toConstantVal := to v.toConstantVal, value := e v.value }
    | .opaqueInfo v => .opaqueInfo { v with toConstantVal := to v.toConstantVal, value := e v.value }
    | w => w

/-- The difference between the candidate's `n` and the reference's `asked`, if any. -/
partial def Comparison.same (c : Comparison) (asked n : Name) : Option String × Comparison :=
  match findIn (c.known.bucket asked.hash) asked with
  | some r => if asked == n then (r, c) else fresh c
  | none => fresh c
where
  shown : String :=
    match asked with
    | .num (.str _ "_example") _ => "the example"
    | n => nameText (userName n)
  /-- During its comparison a constant counts as equal, for types that mention each other. If it differs, conclusions from that are
  dropped. -/
  fresh (before : Comparison) : Option String × Comparison :=
    if asked != n then compared before
    else match compared (before.put asked none) with
      | (none, c) => (none, c)
      | (some why, _) => (some why, before.put asked (some why))
  compared (c : Comparison) : Option String × Comparison :=
    match c.reference.hidden? asked, c.candidate.hidden? n with
    | some r, some w => (if sameType r w && sameValue c.reference r w then none else some (shown ++ " is another unsafe constant than asked for"), c)
    | some _, none => (some (shown ++ " is missing"), c)
    | none, some _ => (some (shown ++ " is unsafe"), c)
    | none, none =>
      match c.reference.find asked, c.candidate.find n with
      | none, _ => match c.reference.env.find? asked, c.candidate.env.find? n with
        | some (.recInfo _), some (.recInfo _) => (none, c) -- the kernel made both from types that are compared
        | _, _ => (some ("the reference's " ++ shown ++ " is not accepted"), c)
      | _, none => (match c.candidate.fault? n with
          | some _ => none -- judged by itself
          | none => some (shown ++ " is missing"), c)
      | some r, some found =>
        let (w, renamed, c) := c.aligned r found
        if !sameKind r w then (some (shown ++ " is " ++ kindText w ++ ", not " ++ kindText r), c)
        else if !(sameType r w || sameTypeFilled c.reference c.candidate r found) then
          (some (shown ++ " has another type than asked for"), c)
        else if !sameBinders r.type w.type then (some (shown ++ " binds its variables in another way than asked for"), c)
        else if !sameValue c.reference r w then (some (shown ++ " has another value than asked for"), c)
        else all c (keep (fun m => !hasName m renamed) (meaningOf r))
  /-- Imported constants are equal. A theorem in a type or value is a proof, which any other proof may replace. -/
  all (c : Comparison) (ns : List Name) : Option String × Comparison :=
    match ns with
    | [] => (none, c)
    | m :: rest =>
      match c.reference.env.find? m with
      | some (.recInfo v) => all c (append v.all rest)
      | _ =>
        if !(known c m) || isTheoremOf c.reference m then all c rest
        else match c.same m m with
          | (some why, c) => (some why, c)
          | (none, c) => all c rest
  known (c : Comparison) (m : Name) : Bool :=
    c.reference.addedNames.contains m || match c.reference.hidden? m with
      | some _ => true
      | none => false

end

end Turnstile
