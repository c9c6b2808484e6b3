import Turnstile.Guard

/-! The first half of the checker: rebuild exported constants on a clean environment, each through the guard and the kernel. A refused
or unjudged declaration fails itself and the declarations that depend on it.

This process never elaborates text: it reads only data. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

/-- Why a constant does not count. -/
structure Fault where
  reason : String
  /-- False: it could not be judged, because of a time or memory limit. -/
  judged : Bool

structure Import where
  names : Array Name
  levels : Array Level
  exprs : Array Expr
  env : Kernel.Environment
  /-- Constants that the kernel accepted, newest first, with the constructors of inductive types. -/
  added : List ConstantInfo
  addedNames : NameSet
  faults : Table (Name × Fault)
  /-- Unsafe and partial constants. They are not declared, since nothing safe can depend on them. -/
  hidden : Table (Name × ConstantInfo)
  /-- Whether any entry so far is a projection or names a constant of compiled evaluation. If not, these checks are skipped. -/
  projects : Bool
  compiles : Bool
  /-- Number of declarations read. -/
  count : Nat

/-- Settings of a replay. -/
structure Judge where
  clock : Clock
  ms : Nat
  skip : List Nat
  announce : Nat → IO Unit

def findIn {α : Type} (b : List (UInt64 × (Name × α))) (n : Name) : Option α :=
  match b with
  | [] => none
  | (_, (m, a)) :: rest => if m == n then some a else findIn rest n

def Import.fault? (x : Import) (n : Name) : Option Fault := findIn (x.faults.bucket n.hash) n
def Import.hidden? (x : Import) (n : Name) : Option ConstantInfo := findIn (x.hidden.bucket n.hash) n

def natOf (j : Json) : Nat :=
  match j with
  | .num n => n.mantissa.toNat
  | _ => 0

def intOf (j : Json) : Int :=
  match j with
  | .num n => n.mantissa
  | _ => 0

/-- An index; out of range if it is invalid. -/
def indexOf (j : Json) : Nat :=
  match j with
  | .num n => if n.exponent == 0 && n.mantissa >= 0 then n.mantissa.toNat else 0xffffffff
  | _ => 0xffffffff

/-- Replaces an invalid entry: no declaration may contain it. -/
def noExpr : Expr := .mvar ⟨`none⟩
def noLevel : Level := .mvar ⟨`none⟩

def Import.name (x : Import) (j : Json) : Name := x.names[indexOf j]?.getD .anonymous
def Import.level (x : Import) (j : Json) : Level := x.levels[indexOf j]?.getD noLevel
def Import.expr (x : Import) (j : Json) : Expr := x.exprs[indexOf j]?.getD noExpr

def Import.nameList (x : Import) (js : List Json) : List Name := mapList x.name js
def Import.levelList (x : Import) (js : List Json) : List Level := mapList x.level js

def binderOf (n : Nat) : BinderInfo :=
  match n with
  | 1 => .implicit
  | 2 => .strictImplicit
  | 3 => .instImplicit
  | _ => .default

/-- Constants that the kernel evaluates with compiled code, or that trust it. No declaration that mentions one reaches the kernel. -/
def compiledEvaluation : List Name :=
  [`Lean.reduceBool, `Lean.reduceNat, `Lean.ofReduceBool, `Lean.ofReduceNat, `Lean.trustCompiler]

def Import.pushExpr (x : Import) (e : Expr) : Import := { x with exprs := x.exprs.push e }
def Import.pushLevel (x : Import) (l : Level) : Import := { x with levels := x.levels.push (if alwaysZero l then .zero else l) }
def Import.pushName (x : Import) (n : Name) : Import :=
  { x with
    names := x.names.push (if hasString (rootOf n) kernelRoots then .anonymous else n)
    compiles := x.compiles || hasName n compiledEvaluation }

def readLevel (x : Import) (parts : List Json) : Import :=
  match parts with
  | [.str "z"] => x.pushLevel .zero
  | [.str "s", a] => x.pushLevel (.succ (x.level a))
  | [.str "m", a, b] => x.pushLevel (.max (x.level a) (x.level b))
  | [.str "i", a, b] => x.pushLevel (.imax (x.level a) (x.level b))
  | [.str "p", n] => x.pushLevel (.param (x.name n))
  | _ => { x with levels := x.levels.push noLevel }

def readExpr (x : Import) (parts : List Json) : Import :=
  match parts with
  | [.str "b", i] => x.pushExpr (.bvar (indexOf i))
  | [.str "s", l] => x.pushExpr (.sort (x.level l))
  | [.str "c", n, .arr ls] => x.pushExpr (.const (x.name n) (x.levelList ls.toList))
  | [.str "a", f, a] => x.pushExpr (.app (x.expr f) (x.expr a))
  | [.str "L", n, bi, t, b] => x.pushExpr (.lam (x.name n) (x.expr t) (x.expr b) (binderOf (natOf bi)))
  | [.str "P", n, bi, t, b] => x.pushExpr (.forallE (x.name n) (x.expr t) (x.expr b) (binderOf (natOf bi)))
  | [.str "Z", n, t, v, b, .bool nd] => x.pushExpr (.letE (x.name n) (x.expr t) (x.expr v) (x.expr b) nd)
  | [.str "j", n, i, b] => { x with projects := true }.pushExpr (.proj (x.name n) (indexOf i) (x.expr b))
  | [.str "t", .str s] => x.pushExpr (match s.toNat? with | some n => .lit (.natVal n) | none => noExpr)
  | [.str "u", .str s] => x.pushExpr (.lit (.strVal s))
  | _ => x.pushExpr noExpr

/-- Record why `ns` do not count. -/
def Import.refuse (x : Import) (ns : List Name) (f : Fault) : Import :=
  match ns with
  | [] => x
  | n :: rest => { x with faults := x.faults.insert n.hash (n, f) : Import }.refuse rest f

def refusal (why : String) : Fault := { reason := "kernel: " ++ why, judged := true }

def Import.note (x : Import) (ns : List Name) : Import :=
  match ns with
  | [] => x
  | n :: rest =>
    match x.env.find? n with
    | some c => { x with added := c :: x.added, addedNames := x.addedNames.insert n : Import }.note rest
    | none => x.note rest

/-- The first of `ns` that does not count, and why. -/
def Import.firstFault (x : Import) (ns : List Name) : Option (Name × Fault) :=
  match ns with
  | [] => none
  | n :: rest => match x.fault? n with
    | some f => some (n, f)
    | none => match x.hidden? n with
      | some _ => some (n, { reason := "unsafe: " ++ nameText (userName n) ++ " is unsafe or partial", judged := true })
      | none => x.firstFault rest

def constantsOf (es : List Expr) : List Name :=
  match es with
  | [] => []
  | e :: rest => append e.getUsedConstants.toList (constantsOf rest)

/-- The fault of `what`, which depends on the faulty `n`. Constants generated for `what` count as part of it. -/
def restingOn (what n : Name) (f : Fault) : Fault :=
  match f.reason.splitOn ": " with
  | kind :: rest =>
    if kind == "unsafe" || what.isPrefixOf n || containsSub f.reason "rests on" then f
    else { f with reason := kind ++ ": rests on " ++ nameText (userName n) ++ ": " ++ ": ".intercalate rest }
  | [] => f

/-- The kernel's refusal of the declaration `what`, as text. -/
def kernelFault (what : Name) (e : Kernel.Exception) : Fault :=
  match e with
  | .unknownConstant _ n => refusal (nameText (userName n) ++ " is not declared")
  | .deterministicTimeout => { reason := "time: the kernel ran over its limit", judged := false }
  | .excessiveMemory => { reason := "memory: the kernel ran over its limit", judged := false }
  | .deepRecursion => { reason := "memory: the kernel's recursion went too deep", judged := false }
  | .interrupted => { reason := "time: the kernel ran over its limit", judged := false }
  | _ => refusal ("the kernel refuses " ++ nameText (userName what))

/-- No limits besides the process's own. From 4.33 the kernel has one on recursion, of 16 times `maxRecDepth`. -/
def kernelOptions : Options := (({} : Options).set `maxHeartbeats (0 : Nat)).set `maxRecDepth (100000 : Nat)

/-- Check a declaration of the constants `ns` with the guard and the kernel, and add it. -/
def Import.add (x : Import) (j : Judge) (ns : List Name) (d : Declaration) : IO Import := do
  let what := match ns with | n :: _ => n | [] => .anonymous
  let taken := keep (fun n => n.isAnonymous || hasName n kernelNames || match x.env.find? n with | some _ => true | none => false) ns
  match taken with
  | n :: _ =>
    let why := match x.env.find? n with
      | some _ => nameText (userName n) ++ " is declared again"
      | none => nameText n ++ " may not be declared: the kernel has a meaning of its own for it"
    return x.refuse ns (refusal why)
  | [] =>
  if anyOf (fun n => n == x.count) j.skip then
    return x.refuse ns { reason := "time: it ended the checker, by time or memory", judged := false }
  let used := if x.compiles || x.faults.size + x.hidden.size > 0 then constantsOf (typesAndValues d) else []
  if anyOf (fun n => hasName n compiledEvaluation) used then
    return x.refuse ns { reason := "axiom: Lean.trustCompiler (compiled evaluation)", judged := true }
  match x.firstFault used with
  | some (n, f) => return x.refuse ns (restingOn what n f)
  | none =>
  match guardBefore x.env x.projects d with
  | some why => return x.refuse ns (refusal why)
  | none =>
  j.announce x.count
  j.clock.begin (x.count + 1) j.ms
  match x.env.addDecl kernelOptions d (some j.clock.token) with
  | .error e =>
    let _ ← j.clock.stop
    return x.refuse ns (kernelFault what e)
  | .ok env =>
    let bad := match d with
      | .inductDecl _ _ ts _ => guardInductive env ts kernelOptions (some j.clock.token)
      | _ => none
    match bad with
    | some why =>
      let late ← j.clock.stop
      return x.refuse ns (if late then kernelFault what .interrupted else refusal why)
    | none =>
      let _ ← j.clock.stop
      return { x with env }.note ns

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

/-- Keep an unsafe or partial constant as data. -/
def Import.hide (x : Import) (n : Name) (c : ConstantInfo) : Import := { x with hidden := x.hidden.insert n.hash (n, c) }

def hideAll (x : Import) (ts : List InductiveType) (ls : List Name) : Import :=
  match ts with
  | [] => x
  | t :: rest =>
    let hide := fun (x : Import) (n : Name) (type : Expr) => x.hide n (.axiomInfo { name := n, levelParams := ls, type, isUnsafe := true })
    let rec ctors (x : Import) (cs : List Constructor) : Import :=
      match cs with
      | [] => x
      | c :: more => ctors (hide x c.name c.type) more
    hideAll (ctors (hide x t.name t.type) t.ctors) rest ls

def readDecl (x : Import) (j : Judge) (parts : List Json) : IO Import :=
  match parts with
  | [.str "axiom", n, .arr ls, t] =>
    let v : AxiomVal := { name := x.name n, levelParams := x.nameList ls.toList, type := x.expr t, isUnsafe := false }
    x.add j [v.name] (.axiomDecl v)
  | [.str "theorem", n, .arr ls, t, e] =>
    let v : TheoremVal := { name := x.name n, levelParams := x.nameList ls.toList, type := x.expr t, value := x.expr e }
    x.add j [v.name] (.thmDecl v)
  | [.str "def", n, .arr ls, t, e, h] =>
    let v : DefinitionVal :=
      { name := x.name n, levelParams := x.nameList ls.toList, type := x.expr t, value := x.expr e,
        hints := hintsOf (intOf h), safety := .safe }
    x.add j [v.name] (.defnDecl v)
  | [.str "opaque", n, .arr ls, t, e] =>
    let v : OpaqueVal :=
      { name := x.name n, levelParams := x.nameList ls.toList, type := x.expr t, value := x.expr e, isUnsafe := false }
    x.add j [v.name] (.opaqueDecl v)
  | [.str "inductive", .arr ls, np, .arr ts] =>
    match inductivesFrom x ts.toList with
    | [] => return x
    | types => x.add j (inductiveNames types) (.inductDecl (x.nameList ls.toList) (natOf np) types false)
  | .str "unsafe" :: n :: .arr ls :: t :: value =>
    let name := x.name n
    let v : DefinitionVal :=
      { name, levelParams := x.nameList ls.toList, type := x.expr t, hints := .opaque, safety := .unsafe
        value := match value with | e :: _ => x.expr e | [] => noExpr }
    return x.hide name (.defnInfo v)
  | [.str "unsafeInductive", .arr ls, _, .arr ts] => return hideAll x (inductivesFrom x ts.toList) (x.nameList ls.toList)
  | _ => return x

def readEntry (x : Import) (j : Judge) (entry : Json) : IO Import :=
  match entry with
  | .arr a =>
    match a.toList with
    | .str "n" :: parts => return x.pushName (rebuildName parts .anonymous)
    | .str "l" :: parts => return readLevel x parts
    | .str "e" :: parts => return readExpr x parts
    | .str "d" :: parts => do
      let x ← readDecl x j parts
      return { x with count := x.count + 1 }
    | _ => return x
  | _ => return x

def readEntries (x : Import) (j : Judge) (es : List Json) : IO Import :=
  match es with
  | [] => return x
  | e :: rest => do readEntries (← readEntry x j e) j rest

def emptyImport (env : Kernel.Environment) : Import :=
  { names := #[], levels := #[], exprs := #[], env, added := [], addedNames := {}
    faults := emptyTable, hidden := emptyTable, projects := false, compiles := false, count := 0 }

def replay (j : Judge) (env : Kernel.Environment) (entries : List Json) : IO Import := readEntries (emptyImport env) j entries

end Turnstile
