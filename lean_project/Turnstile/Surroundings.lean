import Turnstile.Added
import Turnstile.Library

/-! The surroundings of a `sorry`: the constants that its file and the sources before it declare. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

/-- Last components of names that Lean generates for a declaration. -/
def generated : List String :=
  ["rec", "recOn", "casesOn", "brecOn", "below", "binductionOn", "ibelow", "noConfusion", "noConfusionType", "injEq", "inj", "sizeOf_spec",
   "ctorIdx", "toCtorIdx", "ofNat", "ofNat_toCtorIdx", "ctorElim", "ctorElimType", "elim", "congr_simp", "eq_def", "induct", "induct_unfolding",
   "fun_cases", "fun_cases_unfolding", "mutual_induct", "hcongr", "sizeOf"]

/-- Whether Lean generated the name from that of a constant, like `T.rec` for a type `T` and `f.eq_1` for a function `f`. -/
partial def isGenerated (env : Environment) (n : Name) : Bool :=
  match n with
  | .str p s =>
    let made := hasString s generated || containsSub s "match_" || containsSub s "proof_" || containsSub s "eq_"
    (made && (env.find? p).isSome) || isGenerated env p
  | _ => false

def isWritten (env : Environment) (n : Name) : Bool :=
  let u := userName n
  -- Lean may generate a private equation for a public function.
  !u.isInternal && !u.hasMacroScopes && !isGenerated env n && !isGenerated env u

/-- What a declaration is to a proof: `rule` for a constructor of a predicate, `theorem` for what else has a proposition as its type,
`opaque` for what nothing unfolds. -/
def localKind (env : Environment) (c : ConstantInfo) : MetaM String := do
  let proof ← Meta.isProp c.type
  match c with
  | .ctorInfo _ => return if proof then "rule" else "constructor"
  | .inductInfo v => return if v.isRec || v.isNested then "recursive" else "inductive"
  | _ =>
    if proof then return "theorem"
    if isClass env (headName (conclusion c.type)) then return "instance"
    return match c with
      | .defnInfo _ => "definition"
      | _ => "opaque"

/-- For an instance of a number, as in `instance : OfNat T 0 := ⟨zero⟩`: the number, its value, and whether that is a constant. -/
def literalOf (env : Environment) (c : ConstantInfo) : MetaM Json := do
  match c with
  | .defnInfo v =>
    let number := match v.type.getAppFn, argumentsOf v.type [] with
      | .const `OfNat _, [t, n] => some (t, n)
      | .const `Zero _, [t] => some (t, mkRawNatLit 0)
      | .const `One _, [t] => some (t, mkRawNatLit 1)
      | _, _ => none
    match number, lastOf (argumentsOf (unfoldHead env 8 v.value) []) with
    | some (t, n), some e =>
      let text ← ppExpr e
      let type ← ppExpr t
      let shown ← ppExpr n
      return jarr [Json.str shown.pretty, Json.str text.pretty, Json.str type.pretty, Json.str (headText t), Json.bool e.isConst]
    | _, _ => return .null
  | _ => return .null
/-- Constants of a definition's value, where unfolding it shows them. -/
def valueConstants (c : ConstantInfo) : List Name :=
  match c with
  | .defnInfo v => v.value.getUsedConstants.toList
  | _ => []

/-- Whether a statement has hypotheses, which its conclusion does not mention. -/
def isConditional (e : Expr) : Bool :=
  match e with
  | .forallE _ _ b i => (i == .default && !b.hasLooseBVar 0) || isConditional b
  | .letE _ _ _ b _ => isConditional b
  | .mdata _ b => isConditional b
  | _ => false

def structureFields (env : Environment) (n : Name) : List Name :=
  match getStructureInfo? env n with
  | some s => s.fieldNames.toList
  | none => []

/-- `[name, kind, conclusion's head, [left side's head, right side's head], explicit binders, constants of the type, constants of the
value, whether it is conditional, fields of the structure that it is or that it makes, number]`. -/
def localDeclaration (env : Environment) (c : ConstantInfo) : MetaM Json := do
  let kind ← localKind env c
  let body := conclusion c.type
  let proof := kind == "theorem" || kind == "rule"
  let fields := match kind with
    | "instance" => structureFields env (headName body)
    | "inductive" => structureFields env c.name
    | _ => []
  let number ← if kind == "instance" then literalOf env c else pure Json.null
  return jarr [Json.str (nameText (userName c.name)), Json.str kind, Json.str (headText body), jnames (sidesOf body),
    jnat (explicitBinders c.type), jnames (mapList userName c.type.getUsedConstants.toList),
    jnames (mapList userName (if proof then [] else keep (isWritten env) (valueConstants c))), Json.bool (isConditional c.type), jnames fields, number]

def isAxiom (c : ConstantInfo) : Bool :=
  match c with
  | .axiomInfo _ => true
  | _ => false

/-- Declarations that a proof may use. The audit refuses proofs that rest on a file's own axioms. -/
def localDeclarations (env : Environment) (ns : List Name) (acc : List Json) : MetaM (List Json) :=
  match ns with
  | [] => return revOnto acc []
  | n :: rest =>
    match env.find? n with
    | none => localDeclarations env rest acc
    | some c => do
      if c.isUnsafe || c.isPartial || isAxiom c then localDeclarations env rest acc
      else localDeclarations env rest ((← localDeclaration env c) :: acc)

/-- The declarations between two environments, in no order; empty if they cannot be printed. -/
def declaredBetween (before after : Environment) : IO (List Json) := do
  let ns := keep (isWritten after) (newIn before.toKernelEnv after.toKernelEnv)
  match ← onEnvironment after {} (localDeclarations after ns []) with
  | .ok js => return js
  | .error _ => return []

/-- Constants of compiled modules, generated ones included, after which no further module is read: a load prints them all. -/
def mostCompiled : Nat := 5000

/-- The constants of those imported modules that are among `own`, the modules of the project, in the order of imports. Of a large project,
those of the modules that are imported last, which build on the others. -/
def compiledConstants (env : Environment) (own : List Name) : List Name :=
  match own with
  | [] => []
  | _ => go (revOnto env.allImportedModuleNames.toList []) (revOnto env.header.moduleData.toList []) mostCompiled []
where
  go (ns : List Name) (ds : List ModuleData) (left : Nat) (acc : List Name) : List Name :=
    match ns, ds with
    | n :: ns, d :: ds =>
      if left == 0 then acc
      else if hasName n own then
        go ns ds (left - d.constNames.size) (revOnto (revOnto (keep (isWritten env) d.constNames.toList) []) acc)
      else go ns ds left acc
    | _, _ => acc

/-- The declarations of the project's compiled modules; empty if they cannot be printed. -/
def compiledDeclarations (env : Environment) (own : List Name) : IO (List Json) := do
  match ← onEnvironment env {} (localDeclarations env (compiledConstants env own) []) with
  | .ok js => return js
  | .error _ => return []

/-- Whether an expression is a quoted name of one component. -/
def isQuoted (name : String) (e : Expr) : Bool :=
  match argumentsOf e [] with
  | [.lit (.strVal s)] => s == name
  | [_, .lit (.strVal s)] => s == name
  | _ => false

/-- The text of a parser that is a sequence of symbols and identifiers. An identifier is `{h}`, for the name of a hypothesis.
A longer sequence than `depth` has no text: a hostile file could make one of any size from few shared parts. -/
def parserText (depth : Nat) (p : Expr) : Option String :=
  match depth, p.getAppFn, argumentsOf p [] with
  | _, .const `Lean.ParserDescr.nonReservedSymbol _, .lit (.strVal s) :: _ => some s
  | _, .const `Lean.ParserDescr.symbol _, .lit (.strVal s) :: _ => some s
  | _, .const `Lean.ParserDescr.const _, [n] => if isQuoted "ident" n then some "{h}" else none
  | depth + 1, .const `Lean.ParserDescr.binary _, [n, p, q] =>
    if isQuoted "andthen" n then
      match parserText depth p, parserText depth q with
      | some s, some t => some (s ++ " " ++ t)
      | _, _ => none
    else none
  | _, _, _ => none

/-- The text of a syntax without other arguments than identifiers, as `macro "crunch" : tactic => …` declares one. -/
def textOf (env : Environment) (n : Name) : Option String :=
  match env.find? n with
  | some (.defnInfo v) =>
    match v.value.getAppFn, argumentsOf v.value [] with
    | .const `Lean.ParserDescr.node _, [_, _, p] => parserText 8 p
    | _, _ => none
  | _ => none

/-- Whether a text, with `h` for `{h}`, is a tactic. -/
def isTactic (env : Environment) (text : String) : Bool :=
  match parseTacticIn { env, options := {} } ("h".intercalate (text.splitOn "{h}")) with
  | .ok _ => true
  | .error _ => false

/-- The tactics without arguments other than identifiers that are declared between two environments. -/
def tacticsBetween (before after : Environment) : List String := go (newIn before.toKernelEnv after.toKernelEnv) []
where
  go (ns : List Name) (acc : List String) : List String :=
    match ns with
    | [] => acc
    | n :: rest =>
      match textOf after n with
      | some s => go rest (if isTactic after s then s :: acc else acc)
      | none => go rest acc

/-- `[number of the command, declarations, tactics]` of each part of a file that declares something. -/
def partsJson (ps : List Part) (acc : List Json) : IO (List Json) :=
  match ps with
  | [] => return revOnto acc []
  | p :: rest => do
    let tactics := mapList Json.str (tacticsBetween p.before p.after)
    match ← declaredBetween p.before p.after, tactics with
    | [], [] => partsJson rest acc
    | js, _ => partsJson rest (jarr [jnat p.number, jarr js, jarr tactics] :: acc)

/-- The surroundings of a file's `sorry`s: the declarations of compiled modules among `own` and of sources as part 0, with those of
`tactics` that exist there, then those of its own commands, counted from 1. -/
def surroundingsJson (base before : Environment) (l : Loaded) (tactics : List String) (own : List Name) : IO Json := do
  let above : Part := { number := 0, before := base, after := before }
  let known := jarr [jnat 0, jarr (← compiledDeclarations base own), jarr (mapList Json.str (keep (isTactic before) tactics))]
  return jarr (known :: (← partsJson (above :: l.parts) []))

end Turnstile
