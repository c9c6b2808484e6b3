import Turnstile.Assume

/-! The checker's verdicts: whether rebuilt constants have the required meaning, and their axioms. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

/-- Real axioms of the embedded Lean's library, where theorems without proofs are axioms too. -/
def trueAxioms : List Name :=
  [`propext, `Classical.choice, `Quot.sound, `sorryAx, `Lean.ofReduceBool, `Lean.ofReduceNat, `Lean.trustCompiler,
   `Quot.lcInv, `lcProof, `lcAny]

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
  /-- Imported constants that new constants mention. -/
  used : List Name

/-- Axioms and imported constants that new constants depend on. `strangers` count as resting on `sorry`. -/
partial def restsOn (x : Import) (strangers : NameSet) (todo : List Name) (seen : NameSet) (r : Rests) : Rests :=
  match todo with
  | [] => r
  | n :: rest =>
    if seen.contains n then restsOn x strangers rest seen r
    else
      let seen := seen.insert n
      match x.env.find? n with
      | none => restsOn x strangers rest seen { r with axioms := n :: r.axioms }
      | some c =>
        let isNew := match c with
          | .recInfo v => anyOf (fun m => x.addedNames.contains m) v.all
          | _ => x.addedNames.contains n
        if isNew then
          let r := match c with
            | .axiomInfo _ => { r with axioms := n :: r.axioms }
            | _ => r
          let r := if strangers.contains n then { r with axioms := `sorryAx :: r.axioms } else r
          restsOn x strangers (append (mentions c) rest) seen r
        else restsOn x strangers rest seen { r with used := n :: r.used }

/-- All constants that imported ones depend on, through definitions and instances, and through theorems if `proofs`. -/
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

/-- Axioms among imported constants. Without `deep` (embedded Lean), most axioms are theorems without proofs. -/
def axiomsAmong (env : Kernel.Environment) (deep : Bool) (ns : List Name) (acc : List Name) : List Name :=
  match ns with
  | [] => acc
  | n :: rest =>
    match env.find? n with
    | some (.axiomInfo _) => axiomsAmong env deep rest (if deep || hasName n trueAxioms then n :: acc else acc)
    | _ => axiomsAmong env deep rest acc

def isProved (env : Kernel.Environment) (n : Name) : Bool :=
  match env.find? n with
  | some (.thmInfo _) => true
  | some (.axiomInfo _) => !hasName n trueAxioms
  | _ => false

/-- Settings of a judgement. -/
structure Rules where
  /-- Whether imported theorems have proofs, which are then searched for axioms. -/
  deep : Bool
  /-- Constants that a proof may not use, nor theorems with the same statement, nor definitions that use them. -/
  forbidden : List Name
  /-- The axiom in place of open `sorry`s; anonymous if there is none. -/
  assumed : Name
  /-- Constants that use it for something else. -/
  strangers : NameSet := {}

/-- `e` with every application of a lambda reduced. -/
partial def reduced (e : Expr) : Expr :=
  e.replace fun
    | .app f a =>
      let s := Expr.app f a
      let t := s.headBeta
      if t == s then none else some (reduced t)
    | _ => none

/-- The body of `type` for these parameters. -/
def givenParams (type : Expr) (args : List Expr) : Expr :=
  match args, type with
  | a :: rest, .forallE _ _ b _ => givenParams (b.instantiate1 a) rest
  | _, type => type

/-- The statements that a proof of `type` proves: `type`, and the fields of a structure, under the same binders. -/
partial def statements (env : Kernel.Environment) (depth : Nat) (binders : Expr → Expr) (type : Expr) (proof : Expr)
    (acc : List Expr) : List Expr :=
  match type with
  | .forallE n t b bi =>
    statements env depth (fun e => binders (.forallE n t e bi)) b (.app (proof.liftLooseBVars 0 1) (.bvar 0)) acc
  | .mdata _ b => statements env depth binders b proof acc
  | _ =>
    let acc := binders type :: acc
    match depth, type.getAppFn with
    | 0, _ => acc
    | depth + 1, .const s us =>
      match env.find? s with
      | some (.inductInfo v) =>
        match v.ctors, v.numIndices with
        | [c], 0 =>
          match env.find? c with
          | some k =>
            let type' := givenParams (k.type.instantiateLevelParams k.levelParams us) (argumentsOf type [])
            fields depth s 0 type' acc
          | none => acc
        | _, _ => acc
      | _ => acc
    | _, _ => acc
where
  fields (depth : Nat) (s : Name) (i : Nat) (type' : Expr) (acc : List Expr) : List Expr :=
    match type' with
    | .forallE _ t b _ =>
      let field := Expr.proj s i proof
      fields depth s (i + 1) (b.instantiate1 field) (statements env depth binders (reduced t) field acc)
    | _ => acc

/-- Whether a proof of `c` is, or has as a field, a proof of `d`. -/
def gives (x : Import) (c d : ConstantInfo) : Bool :=
  let wanted := reduced (bare d.type)
  let same := fun e => reduced (inLevelsOf d c e) == wanted
  sameType d c || anyOf same (statements x.env 3 (fun e => e) (bare c.type) (.const c.name []) [])

/-- Whether `n` is forbidden, or proves the statement of a forbidden theorem. -/
def isForbidden (x : Import) (forbidden : List Name) (n : Name) : Bool :=
  hasName n forbidden || (isProved x.env n && match x.env.find? n with
    | none => false
    | some c => anyOf (fun f => match x.env.find? f with
      | some d => gives x c d
      | none => false) forbidden)

/-- `env` with the unsafe constants that `e` mentions as axioms. Only for asking whether a type is a proposition. -/
partial def withHidden (x : Import) (env : Kernel.Environment) (e : Expr) : Kernel.Environment := go env e.getUsedConstants.toList
where
  go (env : Kernel.Environment) (ns : List Name) : Kernel.Environment :=
    match ns with
    | [] => env
    | n :: rest =>
      match env.find? n, x.hidden? n with
      | none, some c =>
        let env := withHidden x env c.type
        let d := Declaration.axiomDecl { name := n, levelParams := c.levelParams, type := c.type, isUnsafe := false }
        match env.addDecl kernelOptions d none with
        | .ok env => go env rest
        | .error _ => go env rest
      | _, _ => go env rest

/-- Whether the kernel accepts the type of an unsafe constant as a proposition, or rejects it as a type. -/
def mayBeProposition (x : Import) (c : ConstantInfo) : Bool :=
  let env := withHidden x x.env c.type
  let prop := Declaration.opaqueDecl {
    name := `_turnstile.proposition, levelParams := c.levelParams, type := .sort .zero, value := c.type, isUnsafe := false
    all := [`_turnstile.proposition] }
  match env.addDecl kernelOptions prop none with
  | .ok _ => true
  | .error _ => !isType env c.levelParams c.type kernelOptions none

/-- The verdict on the candidate's `n`, offered for `asked`. `met`: whether any offer matches. -/
def judgeJson (x : Import) (rules : Rules) (asked n : Name) (met : Bool) (fault : Option Fault) : Json :=
  let r := restsOn x rules.strangers [n] {} { axioms := [], used := [] }
  let below := if rules.deep then reach x.env true r.used {} [] else r.used
  let bad := match rules.forbidden with
    | [] => []
    | ns => keep (isForbidden x ns) (reach x.env false r.used {} [])
  let kind := match x.find n with
    | some c => kindText c
    | none => match x.hidden? n with
      | some _ => "an unsafe constant"
      | none => ""
  Json.mkObj [
    ("asked", jarr (nameParts asked [])), ("name", jarr (nameParts n [])), ("met", Json.bool met), ("kind", Json.str kind),
    ("proposition", Json.bool (match x.hidden? n with | some c => mayBeProposition x c | none => false)),
    ("problem", match fault with | some f => Json.str f.reason | none => Json.null),
    ("judged", Json.bool (match fault with | some f => f.judged | none => true)),
    ("axioms", jnames (axiomsAmong x.env rules.deep below r.axioms)),
    ("premises", jnames (keep (isProved x.env) r.used)),
    ("forbidden", jnames bad)]

/-- The first of `ns` that the candidate declares. -/
def anyNew (x : Import) (ns : List Name) : Option Name :=
  match keep (fun n => x.addedNames.contains n) ns with
  | [] => none
  | n :: _ => some n

/-- The problem of a constant apart from its statement: missing or refused. -/
def faultOf (x : Import) (n : Name) : Option Fault :=
  match x.fault? n with
  | some f => some f
  | none => match x.hidden? n with
    | some _ => some { reason := "unsafe: not checked, since it is unsafe or partial", judged := true }
    | none => match x.find n, x.env.find? n with
      | some _, _ => none
      | none, some (.recInfo _) => none -- the kernel made it
      | none, _ => some { reason := "statement: missing", judged := true }

/-- Judge a proof of a library constant against that constant's own type. -/
def judgeLibrary (whole : Environment) (x : Import) (rules : Rules) (n : Name) : Json :=
  let fault := match faultOf x n with
    | some f => some f
    | none =>
      match whole.find? n, x.find n with
      | some r, some (.thmInfo v) =>
        if !sameType r (.thmInfo v) then wrong "not the theorem asked for"
        else match anyNew x r.type.getUsedConstants.toList with
          | some c => wrong ("the proof brings its own " ++ nameText c)
          | none => none
      | none, _ => wrong "no such library theorem"
      | _, _ => wrong "no theorem of that name was proved"
  judgeJson x rules n n true fault
where
  wrong (why : String) : Option Fault := some { reason := "statement: " ++ why, judged := true }

/-- A declaration of the reference, and the candidate's constants that may satisfy it, most likely first. -/
structure Obligation where
  asked : Name
  offered : List Name

def obligationsFrom (js : List Json) : List Obligation :=
  match js with
  | [] => []
  | j :: rest =>
    match rebuildNames [.arr (fromList (listField j "asked"))] with
    | [asked] => { asked, offered := rebuildNames (listField j "offered") } :: obligationsFrom rest
    | _ => obligationsFrom rest

/-- The offer that satisfies an obligation, else the first unused one with its problem. -/
def meet (c : Comparison) (o : Obligation) (taken : NameSet) : Option Name × Option Fault × Comparison :=
  go c o.offered none
where
  go (c : Comparison) (ns : List Name) (first : Option (Name × Fault)) : Option Name × Option Fault × Comparison :=
    match ns with
    | [] => match first with
      | some (n, f) => (some n, some f, c)
      | none => (none, some { reason := "statement: missing", judged := true }, c)
    | n :: rest =>
      if taken.contains n then go c rest first
      else match c.candidate.fault? n with
        | some f => go c rest (first.or (some (n, f)))
        | none =>
          let (difference, c) := c.same o.asked n
          match difference with
          | none => (some n, none, c)
          | some why => go c rest (first.or (some (n, { reason := "statement: " ++ why, judged := true })))

/-- Offers that later obligations may not use: `n` and those before it, because examples match in order. -/
def upTo (n : Name) (offered : List Name) (taken : NameSet) : NameSet :=
  match offered with
  | [] => taken
  | m :: rest => if m == n then taken.insert m else upTo n rest (taken.insert m)

def judgeObligations (c : Comparison) (rules : Rules) (os : List Obligation) (taken : NameSet) (acc : List Json) : List Json :=
  match os with
  | [] => revOnto acc []
  | o :: rest =>
    let (met, fault, c) := meet c o taken
    let n := met.getD o.asked
    let fault := match fault with
      | some f => some f
      | none => match c.reference.fault? o.asked with
        | some f => some { f with reason := "statement: the reference itself is not accepted: " ++ f.reason }
        | none => none
    let taken := if fault.isSome then taken.insert n else upTo n o.offered taken
    judgeObligations c rules rest taken (judgeJson c.candidate rules o.asked n met.isSome fault :: acc)

/-- Judge the obligations, then the candidate's additional constants. -/
def judgeAll (x : Import) (rules : Rules) (reference : Option Import) (os : List Obligation) (added : List Name) : List Json :=
  match reference with
  | none => besides rules
  | some r =>
    let (strangers, c) := ({ reference := r, candidate := x, known := emptyTable } : Comparison).strangers rules.assumed
    let rules := { rules with strangers }
    append (judgeObligations c rules os {} []) (besides rules)
where
  besides (rules : Rules) : List Json := mapList (fun n => judgeJson x rules n n true (faultOf x n)) added

end Turnstile
