import Turnstile.Goals

/-! What the hypotheses and the target of a goal are for tactics: proofs or data, and what their types unfold to. -/

open Lean Meta

set_option compiler.small 0

namespace Turnstile

def argumentsOf (e : Expr) (acc : List Expr) : List Expr :=
  match e with
  | .app f a => argumentsOf f (a :: acc)
  | _ => acc

/-- The name as written: a private one without its module. -/
def userName (n : Name) : Name :=
  match privateToUserName? n with
  | some u => u
  | none => n

def withArguments (f : Expr) (args : List Expr) : Expr :=
  match args with
  | [] => f
  | a :: rest => withArguments (.app f a) rest

/-- `f` applied to the arguments of `e`, reduced at the head. -/
def applied (f e : Expr) : Expr := (withArguments f (argumentsOf e [])).headBeta

/-- Unfold definitions at the head of `e`, through instances, at most `fuel` times. Nothing else is evaluated, so this is cheap. -/
partial def unfoldHead (env : Environment) (fuel : Nat) (e : Expr) : Expr :=
  if fuel == 0 then e
  else match e.getAppFn with
  | .mdata _ b => unfoldHead env (fuel - 1) (applied b e)
  | .lam n t b i => if e.isLambda then e else unfoldHead env (fuel - 1) (applied (.lam n t b i) e)
  | .const c us => match env.find? c with
    | some (.defnInfo v) =>
      unfoldHead env (fuel - 1) (applied (v.value.instantiateLevelParams v.levelParams us) e)
    | _ => e
  | .proj _ i s => match field (unfoldHead env (fuel - 1) s) i with
    | some f => unfoldHead env (fuel - 1) (applied f e)
    | none => e
  | _ => e
where
  field (s : Expr) (i : Nat) : Option Expr :=
    match s.getAppFn with
    | .const c _ => match env.find? c with
      | some (.ctorInfo v) => nth (argumentsOf s []) (v.numParams + i)
      | _ => none
    | _ => none

/-- The head of a type: a constant, `∀`, `Prop`, `Sort`, or nothing. -/
partial def headText (e : Expr) : String :=
  match e.getAppFn with
  | .const n _ => nameText n
  | .forallE .. => "∀"
  | .sort .zero => "Prop"
  | .sort _ => "Sort"
  | .mdata _ b => headText b
  | _ => ""

/-- The body of a statement under its binders. -/
def conclusion (e : Expr) : Expr :=
  match e with
  | .forallE _ _ b _ => conclusion b
  | .letE _ _ _ b _ => conclusion b
  | .mdata _ b => conclusion b
  | e => e

/-- The head of a type after unfolding definitions. -/
def shapeOf (env : Environment) (type : Expr) : String := headText (unfoldHead env 8 type)

/-- `recursive` and `inductive` for data of an inductive type; `function`, `prop` (a propositional variable), `type`, or `data`. -/
def dataKind (env : Environment) (shape : String) : String :=
  match shape with
  | "∀" => "function"
  | "Prop" => "prop"
  | "Sort" => "type"
  | "" => "data"
  | _ => match env.find? shape.toName with
    | some (.inductInfo v) => if v.isRec || v.isNested then "recursive" else "inductive"
    | _ => "data"

def hypothesisKind (env : Environment) (d : LocalDecl) : MetaM Json := do
  let shape := shapeOf env d.type
  let kind ← if ← isProp d.type then pure "proof"
    else if d.binderInfo.isInstImplicit then pure "instance"
    else pure (dataKind env shape)
  let head := if kind == "proof" then headText (conclusion d.type) else headText d.type
  return jarr [Json.str (nameText d.userName), Json.str kind, Json.str head, Json.str shape]

def hypothesisKinds (env : Environment) (ds : List LocalDecl) : MetaM (List Json) :=
  match ds with
  | [] => return []
  | d :: rest => do return (← hypothesisKind env d) :: (← hypothesisKinds env rest)

/-- `[name, kind, head, shape]` of each hypothesis, and last of the target under the name `⊢`. -/
def kindsJson (v : View) : MetaM Json := do
  let env ← getEnv
  let target := jarr [Json.str "⊢", Json.str "target", Json.str (headText (conclusion v.target)), Json.str (shapeOf env v.target)]
  return jarr (append (← hypothesisKinds env v.decls) [target])

end Turnstile
