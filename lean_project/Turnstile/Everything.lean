import Turnstile.Check

/-! Export constants with all their dependencies, imported ones included, for another kernel. `lean4export.py` converts them to the
format of lean4export.

The entries are those of Export.lean, with three complete kinds of declarations: `["d", "inductive", types, constructors,
recursors]`, `["d", "quot", …]`, and axioms with whether they are library theorems without proofs. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

/-- A task: visit the dependencies of a constant, or write it. A task list replaces recursion, which would be as deep as the library. -/
inductive Visit where
  | see (n : Name)
  | write (n : Name)

def seeAll (ns : List Name) (acc : List Visit) : List Visit :=
  match ns with
  | [] => acc
  | n :: rest => seeAll rest (.see n :: acc)

def literalsIn (e : Expr) : List Name :=
  let nat := e.find? fun
    | .lit (.natVal _) => true
    | _ => false
  let str := e.find? fun
    | .lit (.strVal _) => true
    | _ => false
  append (if nat.isSome then [`Nat] else []) (if str.isSome then [`String, `Char.ofNat, `String.ofList] else [])

/-- Constants in a term, including those of its literals. -/
def usedIn (e : Expr) (acc : List Name) : List Name := append e.getUsedConstants.toList (append (literalsIn e) acc)

/-- The constant that represents all that are declared together with `n`. -/
def familyOf (find : Find) (n : Name) : Name :=
  match find n with
  | some (.inductInfo v) => headOf v.all n
  | some (.ctorInfo v) => match find v.induct with
    | some (.inductInfo i) => headOf i.all v.induct
    | _ => v.induct
  | some (.recInfo v) => headOf v.all n
  | some (.quotInfo _) => `Quot
  | _ => n
where
  headOf (ns : List Name) (n : Name) : Name :=
    match ns with
    | m :: _ => m
    | [] => n

/-- `T.rec` of every type, and `T.rec_1` and so on of the first. -/
def recursorsOf (find : Find) (all : List Name) : List Name := own all
where
  own (ns : List Name) : List Name :=
    match ns with
    | [] => match all with
      | first :: _ => nested first 1
      | [] => []
    | n :: rest => match find (n.str "rec") with
      | some _ => n.str "rec" :: own rest
      | none => own rest
  nested (first : Name) (i : Nat) : List Name :=
    let n := first.str ("rec_" ++ toString i)
    match find n with
    | some (.recInfo _) => if i < 1000 then n :: nested first (i + 1) else []
    | _ => []

def constructorsIn (find : Find) (all : List Name) : List Name :=
  match all with
  | [] => []
  | n :: rest => match find n with
    | some (.inductInfo v) => append v.ctors (constructorsIn find rest)
    | _ => constructorsIn find rest

/-- Direct dependencies of `c`, apart from its own family. -/
def restsDirectlyOn (find : Find) (c : ConstantInfo) : List Name :=
  match c with
  | .thmInfo v => usedIn v.type (usedIn v.value [])
  | .defnInfo v => usedIn v.type (usedIn v.value [])
  | .opaqueInfo v => usedIn v.type (usedIn v.value [])
  | .inductInfo v => types (append v.all (append (constructorsIn find v.all) (recursorsOf find v.all))) []
  | .quotInfo _ => [`Eq]
  | c => usedIn c.type []
where
  rules (rs : List RecursorRule) (acc : List Name) : List Name :=
    match rs with
    | [] => acc
    | r :: rest => rules rest (usedIn r.rhs acc)
  types (ns : List Name) (acc : List Name) : List Name :=
    match ns with
    | [] => acc
    | n :: rest => match find n with
      | some (.recInfo v) => types rest (usedIn v.type (rules v.rules acc))
      | some c => types rest (usedIn c.type acc)
      | none => types rest acc

def putValued (x : Export) (kind : String) (v : ConstantVal) (value : Expr) (more : List Json) : Export :=
  let (js, x) := putConstant x v
  let (i, x) := putExpr x value
  pushDecl x (Json.str kind :: append js (jnat i :: more))

def putType (x : Export) (v : InductiveVal) : Json × Export :=
  let (js, x) := putConstant x v.toConstantVal
  let (all, x) := putNames x v.all
  let (cs, x) := putNames x v.ctors
  (jarr (append js [jnat v.numParams, jnat v.numIndices, jarr all, jarr cs, jnat v.numNested, Json.bool v.isRec,
    Json.bool v.isReflexive]), x)

def putConstructor (x : Export) (v : ConstructorVal) : Json × Export :=
  let (js, x) := putConstant x v.toConstantVal
  let (i, x) := putName x v.induct
  (jarr (append js [jnat i, jnat v.cidx, jnat v.numParams, jnat v.numFields]), x)

def putRules (x : Export) (rs : List RecursorRule) : List Json × Export :=
  match rs with
  | [] => ([], x)
  | r :: rest =>
    let (i, x) := putName x r.ctor
    let (e, x) := putExpr x r.rhs
    let (js, x) := putRules x rest
    (jarr [jnat i, jnat r.nfields, jnat e] :: js, x)

def putRecursor (x : Export) (v : RecursorVal) : Json × Export :=
  let (js, x) := putConstant x v.toConstantVal
  let (all, x) := putNames x v.all
  let (rs, x) := putRules x v.rules
  (jarr (append js [jarr all, jnat v.numParams, jnat v.numIndices, jnat v.numMotives, jnat v.numMinors, jarr rs, Json.bool v.k]), x)

/-- The entries of `ns`, which are types, constructors or recursors. -/
def putMembers (find : Find) (x : Export) (ns : List Name) : List Json × Export :=
  match ns with
  | [] => ([], x)
  | n :: rest =>
    let (here, x) := match find n with
      | some (.inductInfo v) => one (putType x v)
      | some (.ctorInfo v) => one (putConstructor x v)
      | some (.recInfo v) => one (putRecursor x v)
      | _ => ([], x)
    let (js, x) := putMembers find x rest
    (append here js, x)
where
  one (r : Json × Export) : List Json × Export := ([r.1], r.2)

def quotKind (k : QuotKind) : String :=
  match k with
  | .type => "type"
  | .ctor => "ctor"
  | .lift => "lift"
  | .ind => "ind"

def putQuotients (find : Find) (x : Export) (ns : List Name) : Export :=
  match ns with
  | [] => x
  | n :: rest =>
    match find n with
    | some (.quotInfo v) =>
      let (js, x) := putConstant x v.toConstantVal
      putQuotients find (pushDecl x (Json.str "quot" :: append js [Json.str (quotKind v.kind)])) rest
    | _ => putQuotients find x rest

/-- `standIn`: whether an axiom is a library theorem without its proof. -/
def putWhole (find : Find) (standIn : Name → Bool) (x : Export) (c : ConstantInfo) : Export :=
  if c.isUnsafe then x -- nothing safe can depend on it
  else match c with
  | .axiomInfo v =>
    let (js, x) := putConstant x v.toConstantVal
    pushDecl x (Json.str "axiom" :: append js [Json.bool (standIn v.name)])
  | .thmInfo v => putValued x "theorem" v.toConstantVal v.value []
  | .defnInfo v => match v.safety with
    | .safe => putValued x "def" v.toConstantVal v.value [jint (hintsCode v.hints)]
    | _ => x
  | .opaqueInfo v => putValued x "opaque" v.toConstantVal v.value []
  | .inductInfo v =>
    let (ts, x) := putMembers find x v.all
    let (cs, x) := putMembers find x (constructorsIn find v.all)
    let (rs, x) := putMembers find x (recursorsOf find v.all)
    pushDecl x [Json.str "inductive", jarr ts, jarr cs, jarr rs]
  | .quotInfo _ => putQuotients find x [`Quot, `Quot.mk, `Quot.lift, `Quot.ind]
  | _ => x

/-- Write each constant after its dependencies. -/
partial def everything (find : Find) (standIn : Name → Bool) (todo : List Visit) (seen : NameSet) (x : Export) : Export :=
  match todo with
  | [] => x
  | .see n :: rest =>
    let n := familyOf find n
    if seen.contains n then everything find standIn rest seen x
    else
      let seen := seen.insert n
      match find n with
      | none => everything find standIn rest seen x
      | some c => everything find standIn (seeAll (restsDirectlyOn find c) (.write n :: rest)) seen x
  | .write n :: rest =>
    match find n with
    | none => everything find standIn rest seen x
    | some c => everything find standIn rest seen (putWhole find standIn x c)

/-- Entries of `roots` and all their dependencies. `deep`: imported theorems have proofs. -/
def everythingOf (x : Import) (deep : Bool) (roots : List Name) : Array Json :=
  let standIn := fun n => !deep && !x.addedNames.contains n && !hasName n trueAxioms
  (everything x.env.find? standIn (seeAll roots []) {} emptyExport).entries

end Turnstile
