import Turnstile.Modules

/-! Constants as data: what a proof is made of, written so that another process can rebuild it and ask the kernel.

A list of entries, each referring to earlier ones of its kind by index: names `["n", part…]`, levels `["l", …]`, expressions
`["e", …]`, declarations `["d", …]`. Metadata is left out; binder names are kept. -/

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

def findExpr (b : List (UInt64 × (Expr × Nat))) (h : UInt64) (n : Expr) : Option Nat :=
  match b with
  | [] => none
  | (k, (m, i)) :: rest => if k == h && m == n then some i else findExpr rest h n

def nameParts (n : Name) (acc : List Json) : List Json :=
  match n with
  | .anonymous => acc
  | .str p s => nameParts p (Json.str s :: acc)
  | .num p i => nameParts p (jnat i :: acc)

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

def putConstructors (env : Environment) (x : Export) (ns : List Name) : List Json × Export :=
  match ns with
  | [] => ([], x)
  | n :: rest =>
    match env.find? n with
    | some c =>
      let (j, x) := putConstant x c.toConstantVal
      let (js, x) := putConstructors env x rest
      (jarr j :: js, x)
    | none => putConstructors env x rest

def putInductives (env : Environment) (x : Export) (ns : List Name) : List Json × Export :=
  match ns with
  | [] => ([], x)
  | n :: rest =>
    match env.find? n with
    | some (.inductInfo v) =>
      let (j, x) := putConstant x v.toConstantVal
      let (cs, x) := putConstructors env x v.ctors
      let (js, x) := putInductives env x rest
      (jarr (append j [jarr cs]) :: js, x)
    | _ => putInductives env x rest

structure Walk where
  x : Export
  done : NameSet

/-- Write `n` and, before it, all that it rests on, leaving out what `base` has. -/
partial def walk (base env : Environment) (w : Walk) (n : Name) : Walk :=
  if w.done.contains n then w
  else match base.find? n with
  | some _ => w
  | none =>
    match env.find? n with
    | none => w
    | some c => walkConstant base env { w with done := w.done.insert n } c
where
  walkAll (base env : Environment) (w : Walk) (ns : List Name) : Walk :=
    match ns with
    | [] => w
    | n :: rest => walkAll base env (walk base env w n) rest
  uses (base env : Environment) (w : Walk) (e : Expr) : Walk := walkAll base env w e.getUsedConstants.toList
  walkConstant (base env : Environment) (w : Walk) (c : ConstantInfo) : Walk :=
    match c with
    | .axiomInfo v =>
      let w := uses base env w v.type
      let (js, x) := putConstant w.x v.toConstantVal
      { w with x := pushDecl x (Json.str "axiom" :: js) }
    | .thmInfo v =>
      let w := uses base env (uses base env w v.type) v.value
      let (js, x) := putConstant w.x v.toConstantVal
      let (i, x) := putExpr x v.value
      { w with x := pushDecl x (Json.str "theorem" :: append js [jnat i]) }
    | .defnInfo v =>
      let w := uses base env (uses base env w v.type) v.value
      let (js, x) := putConstant w.x v.toConstantVal
      let (i, x) := putExpr x v.value
      let safe := match v.safety with
        | .safe => true
        | _ => false
      { w with x := pushDecl x (Json.str "def" :: append js [jnat i, jint (hintsCode v.hints), Json.bool safe]) }
    | .opaqueInfo v =>
      let w := uses base env (uses base env w v.type) v.value
      let (js, x) := putConstant w.x v.toConstantVal
      let (i, x) := putExpr x v.value
      { w with x := pushDecl x (Json.str "opaque" :: append js [jnat i, Json.bool (!v.isUnsafe)]) }
    | .inductInfo v =>
      let w := markAll w v.all
      let w := typesOf base env w v.all
      let (js, x) := putInductives env w.x v.all
      let (ls, x) := putNames x v.levelParams
      { w with x := pushDecl x [Json.str "inductive", jarr ls, jnat v.numParams, Json.bool (!v.isUnsafe), jarr js] }
    | .ctorInfo v => walk base env w v.induct
    | .recInfo v => walkAll base env w v.all
    | .quotInfo _ => w
  markAll (w : Walk) (ns : List Name) : Walk :=
    match ns with
    | [] => w
    | n :: rest => markAll { w with done := w.done.insert n } rest
  typesOf (base env : Environment) (w : Walk) (ns : List Name) : Walk :=
    match ns with
    | [] => w
    | n :: rest =>
      match env.find? n with
      | some (.inductInfo v) =>
        let w := uses base env w v.type
        typesOf base env (constructorsOf base env w v.ctors) rest
      | _ => typesOf base env w rest
  constructorsOf (base env : Environment) (w : Walk) (ns : List Name) : Walk :=
    match ns with
    | [] => w
    | n :: rest =>
      match env.find? n with
      | some c => constructorsOf base env (uses base env { w with done := w.done.insert n } c.type) rest
      | none => constructorsOf base env w rest

def exportRoots (base env : Environment) (w : Walk) (ns : List Name) : Walk :=
  match ns with
  | [] => w
  | n :: rest =>
    -- Nothing safe can rest on an unsafe or partial constant; if something claims to, the walk meets it.
    match env.find? n with
    | some c => exportRoots base env (if c.isUnsafe || c.isPartial then w else walk base env w n) rest
    | none => exportRoots base env w rest

/-- Entries for `roots` and everything new that they rest on. -/
def exportConstants (base env : Environment) (roots : List Name) : Json :=
  let w := exportRoots base env { x := emptyExport, done := {} } roots
  Json.arr w.x.entries

/-- Names that elaboration added, in no particular order. -/
def newConstants (env : Environment) : List Name := names (persistentPairs env.toKernelEnv.constants.map₂.root [])
where
  names (xs : List Name) : List Name := xs
  persistentPairs (n : PersistentHashMap.Node Name ConstantInfo) (acc : List Name) : List Name :=
    match n with
    | .entries es => entries es.toList acc
    | .collision ks _ _ => append ks.toList acc
  entries (es : List (PersistentHashMap.Entry Name ConstantInfo (PersistentHashMap.Node Name ConstantInfo)))
      (acc : List Name) : List Name :=
    match es with
    | [] => acc
    | .entry k _ :: rest => entries rest (k :: acc)
    | .ref n :: rest => entries rest (persistentPairs n acc)
    | .null :: rest => entries rest acc

/-- Run a whole script on an opened library theorem; its proof as a new theorem on top of the environment. -/
def proveLibrary (s : Server) (env : Environment) (c : ConstantInfo) (script : String) (heartbeats : Nat) :
    IO (Except String Environment) := do
  match ← openLibrary s env c false with
  | .error e => return .error e
  | .ok (thm, _) =>
    let states ← s.states.get
    match ← lookup s.thms thm, ← lookup s.states (states.size - 1) with
    | some t, some st =>
      match parseTactic env t script with
      | .error e => return .error ("parse: " ++ e)
      | .ok stx =>
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
            -- Not checked here: this process runs the candidate's text, so its word counts for nothing.
            let decl := Declaration.thmDecl {
              name := c.name, levelParams := c.levelParams, type := c.type, value, all := [c.name] }
            match core.env.addDeclCore 0 decl none false with
            | .error _ => return .error "elaboration: the proof term was not accepted"
            | .ok env' => return .ok env'
    | _, _ => return .error "the theorem could not be opened"

end Turnstile
