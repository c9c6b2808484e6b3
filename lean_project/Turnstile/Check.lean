import Turnstile.Replay

/-! The checker's second half: whether rebuilt constants mean what was asked for, and what they rest on. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

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

/-- The name as its author wrote it: a private one without its module. -/
def userName (n : Name) : Name :=
  match privateToUserName? n with
  | some u => u
  | none => n

/-- Whether elaboration made `n` for a declaration that it stands under, as it makes `t._proof_1`. What an author calls `_t` or keeps
private is a theorem as any other. -/
def auxiliary (x : Import) (n : Name) : Bool := (userName n).isInternal && under n.getPrefix
where
  under (p : Name) : Bool :=
    match p with
    | .anonymous => false
    | .num q _ => under q
    | .str q s => match x.env.find? p with
      | some _ => true
      | none => s == "_example" || under q

def isNumberedProof (n : Name) : Bool :=
  match n with
  | .str _ s => s.startsWith "_proof_"
  | _ => false

/-- A proof that elaboration moved into a theorem of its own: left out in the reference, or one whose number depends on how
many were. -/
def isAside (reference : Import) (n : Name) : Bool :=
  match reference.find n with
  | some (.thmInfo v) => auxiliary reference n && (isNumberedProof n || v.value.hasSorry)
  | _ => false

/-- Whether `w` is `v` with something in the place of each `sorry`, and of each proof that stands aside. -/
partial def fills (reference : Import) (v w : Expr) : Bool :=
  if v == w then true
  else match v.getAppFn with
  | .const n _ =>
    if n == `sorryAx || isAside reference n then true
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

/-- Without the place in the file that Lean writes into every `sorry`: a longer proof above moves it. -/
partial def unplaced (e : Expr) : Expr :=
  e.replace fun
    | .app (.app (.app s (.forallE n (.const `Lean.Name us) t bi)) b) _ =>
      if s.isConstOf `sorryAx then
        some (.app (.app (.app s (.forallE n (.const `Lean.Name us) (unplaced t) bi)) b) (.const `Lean.Name.anonymous []))
      else none
    | _ => none

/-- Proofs that the reference moved into theorems of their own, back in their places. -/
partial def movedBack (reference : Import) (e : Expr) : Expr :=
  e.replace fun
    | .const n us =>
      if isAside reference n then
        match reference.find n with
        | some (.thmInfo v) => some (movedBack reference (v.value.instantiateLevelParams v.levelParams us))
        | _ => none
      else none
    | _ => none

/-- Whether the candidate's type is the reference's with proofs in the place of `sorry`, where that has any: a structure's
default, the proof that a recursion ends in the equation of its definition. The kernel says that they are proofs: it takes
two of one statement for the same, and no two other things. -/
def sameTypeFilled (reference x : Import) (r c : ConstantInfo) : Bool :=
  if lengthOf r.levelParams != lengthOf c.levelParams then false
  else
    let v := unplaced (bare r.type)
    let w := unplaced (inLevelsOf r c (bare c.type))
    if v == w then true
    else if !fills reference v w then false
    else
      let to := .forallE `x w (movedBack reference v) .default
      let d : OpaqueVal :=
        { name := `Turnstile.sameTypeFilled, levelParams := r.levelParams, type := to,
          value := .lam `x w (.bvar 0) .default, isUnsafe := false, all := [`Turnstile.sameTypeFilled] }
      match x.env.addDecl kernelOptions (.opaqueDecl d) none with
      | .ok _ => true
      | .error _ => false

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
      if isAside reference r.name then firstChange reference rest candidate
      else if !(sameType r c || sameTypeFilled reference candidate r c) then some (nameText r.name ++ " has another type than asked for")
      else if !sameMeaning reference r c then some (nameText r.name ++ " has another meaning than asked for")
      else firstChange reference rest candidate

/-- How a judgement is made. -/
structure Rules where
  /-- Imported theorems carry their proofs: look for axioms there too. -/
  deep : Bool
  /-- Constants that a proof may not use: neither they, nor theorems that say the same, nor definitions made of them. -/
  forbidden : List Name

/-- Every application of a lambda reduced. -/
partial def reduced (e : Expr) : Expr :=
  e.replace fun
    | .app f a =>
      let s := Expr.app f a
      let t := s.headBeta
      if t == s then none else some (reduced t)
    | _ => none

def argumentsOf (e : Expr) (acc : List Expr) : List Expr :=
  match e with
  | .app f a => argumentsOf f (a :: acc)
  | _ => acc

/-- The body of `type` with its parameters given. -/
def givenParams (type : Expr) (args : List Expr) : Expr :=
  match args, type with
  | a :: rest, .forallE _ _ b _ => givenParams (b.instantiate1 a) rest
  | _, type => type

/-- What a proof of `type` gives: `type`, and if that is a structure, what its fields say, under the same binders. -/
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

/-- Whether a proof of `c` is a proof of `d`, or has one as a field. -/
def gives (x : Import) (c d : ConstantInfo) : Bool :=
  let wanted := reduced (bare d.type)
  let same := fun e => reduced (inLevelsOf d c e) == wanted
  sameType d c || anyOf same (statements x.env 3 (fun e => e) (bare c.type) (.const c.name []) [])

/-- Whether `n` is forbidden by its name, or gives what a forbidden theorem says. -/
def isForbidden (x : Import) (forbidden : List Name) (n : Name) : Bool :=
  hasName n forbidden || (isProved x.env n && match x.env.find? n with
    | none => false
    | some c => anyOf (fun f => match x.env.find? f with
      | some d => gives x c d
      | none => false) forbidden)

def judgeJson (x : Import) (rules : Rules) (n : Name) (problem : Option String) : Json :=
  let r := restsOn x [n] {} { axioms := [], used := [] }
  let below := if rules.deep then reach x.env true r.used {} [] else r.used
  let bad := match rules.forbidden with
    | [] => []
    | ns => keep (isForbidden x ns) (reach x.env false r.used {} [])
  Json.mkObj [
    ("name", Json.str (nameText (userName n))),
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
