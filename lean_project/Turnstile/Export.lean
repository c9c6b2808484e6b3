import Turnstile.Modules

/-! Constants as data, so that another process can rebuild a proof and check it with the kernel.

An export is a list of entries, each of which refers to earlier ones of its kind by index: names `["n", part…]`, levels
`["l", …]`, expressions `["e", …]`, declarations `["d", …]`. It has no metadata, but the binder names. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

structure Export where
  names : Table (Name × Nat)
  levels : Table (Level × Nat)
  exprs : Table (Expr × Nat)
  nameCount : Nat
  levelCount : Nat
  exprCount : Nat
  entries : Array Json

def emptyExport : Export :=
  { names := emptyTable, levels := emptyTable, exprs := emptyTable, nameCount := 0, levelCount := 0, exprCount := 0,
    entries := #[] }

def findName (b : List (UInt64 × (Name × Nat))) (n : Name) : Option Nat :=
  match b with
  | [] => none
  | (_, (m, i)) :: rest => if m == n then some i else findName rest n

def findLevel (b : List (UInt64 × (Level × Nat))) (n : Level) : Option Nat :=
  match b with
  | [] => none
  | (_, (m, i)) :: rest => if m == n then some i else findLevel rest n

/-- By `Expr.equal`, because `==` takes terms for equal that differ in the kinds of their binders. -/
def findExpr (b : List (UInt64 × (Expr × Nat))) (h : UInt64) (n : Expr) : Option Nat :=
  match b with
  | [] => none
  | (k, (m, i)) :: rest => if k == h && m.equal n then some i else findExpr rest h n

def nameParts (n : Name) (acc : List Json) : List Json :=
  match n with
  | .anonymous => acc
  | .str p s => nameParts p (Json.str s :: acc)
  | .num p i => nameParts p (jnat i :: acc)

def rebuildName (parts : List Json) (acc : Name) : Name :=
  match parts with
  | [] => acc
  | .str s :: rest => rebuildName rest (.str acc s)
  | .num n :: rest => rebuildName rest (.num acc n.mantissa.toNat)
  | _ :: rest => rebuildName rest acc

/-- Names as lists of their components, which may contain dots. -/
def rebuildNames (ns : List Json) : List Name :=
  match ns with
  | [] => []
  | .arr parts :: rest => rebuildName parts.toList .anonymous :: rebuildNames rest
  | _ :: rest => rebuildNames rest

def putName (x : Export) (n : Name) : Nat × Export :=
  match findName (x.names.bucket n.hash) n with
  | some i => (i, x)
  | none =>
    let i := x.nameCount
    let entry := jarr (Json.str "n" :: nameParts n [])
    (i, { x with names := x.names.insert n.hash (n, i), nameCount := i + 1, entries := x.entries.push entry })

def pushLevel (x : Export) (l : Level) (parts : List Json) : Nat × Export :=
  let i := x.levelCount
  (i, { x with levels := x.levels.insert l.hash (l, i), levelCount := i + 1,
               entries := x.entries.push (jarr (Json.str "l" :: parts)) })

partial def putLevel (x : Export) (l : Level) : Nat × Export :=
  match findLevel (x.levels.bucket l.hash) l with
  | some i => (i, x)
  | none =>
    match l with
    | .zero => pushLevel x l [Json.str "z"]
    | .succ a =>
      let (i, x) := putLevel x a
      pushLevel x l [Json.str "s", jnat i]
    | .max a b =>
      let (i, x) := putLevel x a
      let (j, x) := putLevel x b
      pushLevel x l [Json.str "m", jnat i, jnat j]
    | .imax a b =>
      let (i, x) := putLevel x a
      let (j, x) := putLevel x b
      pushLevel x l [Json.str "i", jnat i, jnat j]
    | .param n =>
      let (i, x) := putName x n
      pushLevel x l [Json.str "p", jnat i]
    | .mvar _ => pushLevel x l [Json.str "?"]

def putLevels (x : Export) (ls : List Level) : List Json × Export :=
  match ls with
  | [] => ([], x)
  | l :: rest =>
    let (i, x) := putLevel x l
    let (is, x) := putLevels x rest
    (jnat i :: is, x)

def putNames (x : Export) (ns : List Name) : List Json × Export :=
  match ns with
  | [] => ([], x)
  | n :: rest =>
    let (i, x) := putName x n
    let (is, x) := putNames x rest
    (jnat i :: is, x)

def pushExpr (x : Export) (e : Expr) (parts : List Json) : Nat × Export :=
  let i := x.exprCount
  (i, { x with exprs := x.exprs.insert e.hash (e, i), exprCount := i + 1,
               entries := x.entries.push (jarr (Json.str "e" :: parts)) })

def binderCode (b : BinderInfo) : Nat :=
  match b with
  | .default => 0
  | .implicit => 1
  | .strictImplicit => 2
  | .instImplicit => 3

partial def putExpr (x : Export) (e : Expr) : Nat × Export :=
  match e with
  | .mdata _ b => putExpr x b
  | _ =>
    match findExpr (x.exprs.bucket e.hash) e.hash e with
    | some i => (i, x)
    | none =>
      match e with
      | .bvar i => pushExpr x e [Json.str "b", jnat i]
      | .sort l =>
        let (i, x) := putLevel x l
        pushExpr x e [Json.str "s", jnat i]
      | .const n ls =>
        let (i, x) := putName x n
        let (js, x) := putLevels x ls
        pushExpr x e [Json.str "c", jnat i, jarr js]
      | .app f a =>
        let (i, x) := putExpr x f
        let (j, x) := putExpr x a
        pushExpr x e [Json.str "a", jnat i, jnat j]
      | .lam n t b bi =>
        let (k, x) := putName x n
        let (i, x) := putExpr x t
        let (j, x) := putExpr x b
        pushExpr x e [Json.str "L", jnat k, jnat (binderCode bi), jnat i, jnat j]
      | .forallE n t b bi =>
        let (k, x) := putName x n
        let (i, x) := putExpr x t
        let (j, x) := putExpr x b
        pushExpr x e [Json.str "P", jnat k, jnat (binderCode bi), jnat i, jnat j]
      | .letE n t v b nd =>
        let (k, x) := putName x n
        let (i, x) := putExpr x t
        let (j, x) := putExpr x v
        let (l, x) := putExpr x b
        pushExpr x e [Json.str "Z", jnat k, jnat i, jnat j, jnat l, Json.bool nd]
      | .proj n i b =>
        let (k, x) := putName x n
        let (j, x) := putExpr x b
        pushExpr x e [Json.str "j", jnat k, jnat i, jnat j]
      | .lit (.natVal n) => pushExpr x e [Json.str "t", Json.str (toString n)]
      | .lit (.strVal s) => pushExpr x e [Json.str "u", Json.str s]
      | .fvar _ => pushExpr x e [Json.str "?"]
      | .mvar _ => pushExpr x e [Json.str "?"]
      | .mdata _ b => putExpr x b

def pushDecl (x : Export) (parts : List Json) : Export :=
  { x with entries := x.entries.push (jarr (Json.str "d" :: parts)) }

/-- The first fields of every declaration: name, universe parameters, type. -/
def putConstant (x : Export) (c : ConstantVal) : List Json × Export :=
  let (i, x) := putName x c.name
  let (ls, x) := putNames x c.levelParams
  let (t, x) := putExpr x c.type
  ([jnat i, jarr ls, jnat t], x)

def hintsCode (h : ReducibilityHints) : Int :=
  match h with
  | .opaque => -1
  | .abbrev => -2
  | .regular n => n.toNat

def jint (i : Int) : Json := Json.num { mantissa := i, exponent := 0 }

/-- A lookup of constants by name. -/
abbrev Find := Name → Option ConstantInfo

def putConstructors (find : Find) (x : Export) (ns : List Name) : List Json × Export :=
  match ns with
  | [] => ([], x)
  | n :: rest =>
    match find n with
    | some c =>
      let (j, x) := putConstant x c.toConstantVal
      let (js, x) := putConstructors find x rest
      (jarr j :: js, x)
    | none => putConstructors find x rest

def putInductives (find : Find) (x : Export) (ns : List Name) : List Json × Export :=
  match ns with
  | [] => ([], x)
  | n :: rest =>
    match find n with
    | some (.inductInfo v) =>
      let (j, x) := putConstant x v.toConstantVal
      let (cs, x) := putConstructors find x v.ctors
      let (js, x) := putInductives find x rest
      (jarr (append j [jarr cs]) :: js, x)
    | _ => putInductives find x rest

structure Walk where
  x : Export
  done : NameSet

def startWalk : Walk := { x := emptyExport, done := {} }

/-- Write `n` after its dependencies, except constants of `base`. Unsafe and partial constants are written as data: nothing safe can
depend on them, and the checker only compares them. -/
partial def walk (base : Kernel.Environment) (find : Find) (w : Walk) (n : Name) : Walk :=
  if w.done.contains n then w
  else match base.find? n with
  | some _ => w
  | none =>
    match find n with
    | none => w
    | some c => walkConstant { w with done := w.done.insert n } c
where
  walkAll (w : Walk) (ns : List Name) : Walk :=
    match ns with
    | [] => w
    | n :: rest => walkAll (walk base find w n) rest
  uses (w : Walk) (e : Expr) : Walk := walkAll w e.getUsedConstants.toList
  valued (w : Walk) (kind : String) (v : ConstantVal) (value : Expr) (more : List Json) : Walk :=
    let w := uses (uses w v.type) value
    let (js, x) := putConstant w.x v
    let (i, x) := putExpr x value
    { w with x := pushDecl x (Json.str kind :: append js (jnat i :: more)) }
  walkConstant (w : Walk) (c : ConstantInfo) : Walk :=
    match c with
    | .axiomInfo v =>
      let w := uses w v.type
      let (js, x) := putConstant w.x v.toConstantVal
      { w with x := pushDecl x (Json.str (if v.isUnsafe then "unsafe" else "axiom") :: js) }
    | .thmInfo v => valued w "theorem" v.toConstantVal v.value []
    | .defnInfo v =>
      match v.safety with
      | .safe => valued w "def" v.toConstantVal v.value [jint (hintsCode v.hints)]
      | _ => valued w "unsafe" v.toConstantVal v.value []
    | .opaqueInfo v => valued w (if v.isUnsafe then "unsafe" else "opaque") v.toConstantVal v.value []
    | .inductInfo v =>
      let w := markAll w v.all
      let w := typesOf w v.all
      let (js, x) := putInductives find w.x v.all
      let (ls, x) := putNames x v.levelParams
      { w with x := pushDecl x [Json.str (if v.isUnsafe then "unsafeInductive" else "inductive"), jarr ls, jnat v.numParams, jarr js] }
    | .ctorInfo v => walk base find w v.induct
    | .recInfo v =>
      let w := walkAll w v.all
      if v.isUnsafe then
        let w := uses w v.type
        let (js, x) := putConstant w.x v.toConstantVal
        { w with x := pushDecl x (Json.str "unsafe" :: js) }
      else w
    | .quotInfo _ => w
  markAll (w : Walk) (ns : List Name) : Walk :=
    match ns with
    | [] => w
    | n :: rest => markAll { w with done := w.done.insert n } rest
  typesOf (w : Walk) (ns : List Name) : Walk :=
    match ns with
    | [] => w
    | n :: rest =>
      match find n with
      | some (.inductInfo v) =>
        let w := uses w v.type
        typesOf (constructorsOf w v.ctors) rest
      | _ => typesOf w rest
  constructorsOf (w : Walk) (ns : List Name) : Walk :=
    match ns with
    | [] => w
    | n :: rest =>
      match find n with
      | some c => constructorsOf (uses { w with done := w.done.insert n } c.type) rest
      | none => constructorsOf w rest

/-- Write `roots` and all their dependencies. -/
def exportRoots (base : Kernel.Environment) (find : Find) (w : Walk) (roots : List Name) : Walk :=
  match roots with
  | [] => w
  | n :: rest => exportRoots base find (walk base find w n) rest

/-- `e` with `id` appended to the names of constants in `own`. -/
def renamedIn (own : Name → Bool) (id : Nat) (e : Expr) : Expr :=
  e.replace fun
    | .const n us => if own n then some (.const (.num n id) us) else none
    | _ => none

/-- `c` with `id` appended to its name. -/
def renamedInfo (own : Name → Bool) (id : Nat) (c : ConstantInfo) : ConstantInfo :=
  let e := renamedIn own id
  let to := fun (v : ConstantVal) => { v with name := .num v.name id, type := e v.type : ConstantVal }
  match c with
  | .axiomInfo v => .axiomInfo { v with toConstantVal := to v.toConstantVal }
  | .thmInfo v => .thmInfo { v with toConstantVal := to v.toConstantVal, value := e v.value }
  | .defnInfo v => .defnInfo { v with toConstantVal := to v.toConstantVal, value := e v.value }
  | .opaqueInfo v => .opaqueInfo { v with toConstantVal := to v.toConstantVal, value := e v.value }
  | c => c

/-- Run a whole script on an opened library theorem; returns an environment with the proof as a theorem. -/
def proveLibrary (s : Server) (env : Environment) (c : ConstantInfo) (script : String) (heartbeats : Nat) (inert : Bool) :
    IO (Except String Kernel.Environment) := do
  match ← openLibrary s env c false with
  | .error e => return .error e
  | .ok (thm, _) =>
    let states ← s.states.get
    match ← lookup s.thms thm, ← lookup s.states (states.size - 1) with
    | some t, some st =>
      match parseTactic env t script with
      | .error e => return .error ("parse: " ++ e)
      | .ok stx =>
        if inert && !isNil (notInert stx) then return .error "not inert"
        match ← applyTactic t st stx heartbeats false with
        | .failed _ m _ => return .error ("elaboration: " ++ m)
        | .ok core ms _ (_ :: _) _ =>
          let _ := (core, ms)
          return .error "elaboration: the script leaves goals"
        | .ok core ms _ [] _ =>
          let cctx ← coreContext t heartbeats
          match ← runMeta (inst (.mvar t.root)) cctx core ms with
          | .error e => return .error e
          | .ok (value, core, _) =>
            -- Not checked here: this process runs the candidate's text and is not trusted.
            let decl := Declaration.thmDecl {
              name := c.name, levelParams := c.levelParams, type := c.type, value, all := [c.name] }
            match core.env.toKernelEnv.addDecl (({} : Options).set `debug.skipKernelTC true) decl none with
            | .error _ => return .error "elaboration: the proof term was not accepted"
            | .ok env' => return .ok env'
    | _, _ => return .error "the theorem could not be opened"

end Turnstile
