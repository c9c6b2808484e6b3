import Turnstile.Added
import Turnstile.Export

/-! Report what a text declares: for every command, the constants that it adds, those that it names, its examples, and its errors.
Nothing is guessed from text or names: new constants are the difference of two environments, and named ones are those that Lean
recorded as names of declarations. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

/-- A declaration in a command's syntax. -/
structure Head where
  kind : Name
  /-- Its first byte, after comments and modifiers. -/
  startsAt : Nat
  /-- Anonymous if it has none. -/
  name : Name
  /-- First byte of its value. -/
  valueAt : Nat

/-- An example. Lean removes its constants, so they are read from the environment in which it was elaborated. -/
structure Example where
  whole : Environment
  env : Kernel.Environment
  name : Name
  /-- Names in this environment only, which are exported with `id` appended. -/
  own : NameSet
  id : Nat

structure Left where
  done : Done
  heads : List Head
  new : List Name
  written : List Name
  /-- Declarations that the command made and removed. -/
  gone : List Name
  examples : List Example

def startByte (stx : Syntax) : Nat :=
  match stx.getPos? false with
  | some p => p.byteIdx
  | none => 0

def identOf (declId : Syntax) : Name :=
  match declId with
  | .node _ _ args => match args.toList with
    | .ident _ _ n _ :: _ => n
    | _ => .anonymous
  | _ => .anonymous

/-- The `declId` among the children of a declaration, or of an optional one. -/
def declIdAmong (xs : List Syntax) : Name :=
  match xs with
  | [] => .anonymous
  | .node i k args :: rest =>
    if k == `Lean.Parser.Command.declId then identOf (.node i k args)
    else if k == `null then match args.toList with
      | [.node i k args] =>
        if k == `Lean.Parser.Command.declId then identOf (.node i k args) else declIdAmong rest
      | _ => declIdAmong rest
    else declIdAmong rest
  | _ :: rest => declIdAmong rest

def headOf (stx : Syntax) : Head :=
  match stx with
  | .node _ k args => { kind := k, startsAt := startByte stx, name := declIdAmong args.toList, valueAt := startByte ((lastOf args.toList).getD .missing) }
  | _ => { kind := .anonymous, startsAt := 0, name := .anonymous, valueAt := 0 }

/-- Commands that define syntax or its meaning: a declaration in one is part of a program. -/
def syntaxCommands : List Name :=
  [`Lean.Parser.Command.macro, `Lean.Parser.Command.macro_rules, `Lean.Parser.Command.elab, `Lean.Parser.Command.elab_rules,
   `Lean.Parser.Command.syntax, `Lean.Parser.Command.notation, `Lean.Parser.Command.mixfix, `Lean.Parser.Command.binderPredicate,
   `Lean.Parser.Command.syntaxAbbrev, `Lean.Parser.Command.syntaxCat, `Lean.Elab.Command.elab_rules]

/-- The declarations in a command's syntax, if it is Lean's own syntax, also inside `open … in`, `mutual` and `#guard_msgs in`. -/
partial def headsOf (stx : Syntax) : List Head :=
  match stx with
  | .node _ k args =>
    if k == `Lean.Parser.Command.declaration then match args.toList with
      | [_, d] => [headOf d]
      | _ => []
    else if hasName k syntaxCommands || containsSub (nameText k) "quot" then []
    else inside args.toList
  | _ => []
where
  inside (xs : List Syntax) : List Head :=
    match xs with
    | [] => []
    | x :: rest => append (headsOf x) (inside rest)

/-- The kind of the command after all `… in`. -/
partial def leafKind (stx : Syntax) : Name :=
  match stx with
  | .node _ k args =>
    if k == `Lean.Parser.Command.in then match args.toList with
      | [_, _, c] => leafKind c
      | _ => k
    else k
  | _ => stx.getKind

/-- Whether it is Lean's name for the constant of an example. -/
def isExampleName (n : Name) : Bool :=
  match n with
  | .str _ s => s == "_example"
  | _ => false

/-- Examples in the environments of a command's info trees, many of which contain the same one. -/
partial def examplesOf (before after : Kernel.Environment) (tree : InfoTree) (acc : List Example) : List Example :=
  match tree with
  | .context (.commandCtx ci) child =>
    let whole := ci.env
    let env := whole.toKernelEnv
    let own := notIn after (newIn before env) []
    match keep (fun n => isExampleName n && !anyOf (fun e => sameIn e n env) acc) own with
    | [] => examplesOf before after child acc
    | names =>
      let more := mapList (fun name => ({ whole, env, name, own := nameSetOf own {}, id := 0 } : Example)) names
      examplesOf before after child (append more acc)
  | .context _ child => examplesOf before after child acc
  | .node _ children => below (persistentList children) acc
  | .hole _ => acc
where
  below (ts : List InfoTree) (acc : List Example) : List Example :=
    match ts with
    | [] => acc
    | t :: rest => below rest (examplesOf before after t acc)
  sameIn (e : Example) (n : Name) (env : Kernel.Environment) : Bool :=
    e.name == n && match e.env.find? n, env.find? n with
      | some a, some b => a.type == b.type && sameValue a b
      | _, _ => false
  sameValue (a b : ConstantInfo) : Bool :=
    match a, b with
    | .thmInfo v, .thmInfo w => v.value == w.value
    | .defnInfo v, .defnInfo w => v.value == w.value
    | .opaqueInfo v, .opaqueInfo w => v.value == w.value
    | _, _ => false

def examplesAmong (before after : Kernel.Environment) (ts : List InfoTree) (acc : List Example) : List Example :=
  match ts with
  | [] => revOnto acc []
  | t :: rest => examplesAmong before after rest (examplesOf before after t acc)

/-- Names that a command's info trees record as names of declarations. -/
structure Noted where
  /-- Those that are new constants. -/
  written : NameSet
  /-- Those that were constants when recorded, but not after the command. -/
  gone : List Name

/-- `new`: the new constants. `env?`: the environment of the tree. -/
partial def notedIn (after : Kernel.Environment) (new : NameSet) (env? : Option Kernel.Environment) (tree : InfoTree)
    (acc : Noted) : Noted :=
  match tree with
  | .context (.commandCtx ci) child => notedIn after new (some ci.env.toKernelEnv) child acc
  | .context _ child => notedIn after new env? child acc
  | .hole _ => acc
  | .node info children =>
    let acc := match info with
      | .ofTermInfo ti =>
        if ti.isBinder then match ti.expr with
          | .const n _ => note n acc
          | _ => acc
        else acc
      | _ => acc
    below (persistentList children) acc
where
  below (ts : List InfoTree) (acc : Noted) : Noted :=
    match ts with
    | [] => acc
    | t :: rest => below rest (notedIn after new env? t acc)
  note (n : Name) (acc : Noted) : Noted :=
    if new.contains n then { acc with written := acc.written.insert n }
    else match after.find? n, env? with
      | none, some env => match env.find? n with
        | some _ => { acc with gone := if hasName n acc.gone then acc.gone else n :: acc.gone }
        | none => acc
      | _, _ => acc

def notedAmong (after : Kernel.Environment) (new : NameSet) (ts : List InfoTree) (acc : Noted) : Noted :=
  match ts with
  | [] => acc
  | t :: rest => notedAmong after new rest (notedIn after new none t acc)

/-- Whether `n` belongs to an example or `#eval`, whose constants Lean always removes. -/
def alwaysTakenBack (n : Name) : Bool :=
  match n with
  | .anonymous => false
  | .num p _ => alwaysTakenBack p
  | .str p s => s == "_example" || s == "_eval" || alwaysTakenBack p

def leftBy (d : Done) : Left :=
  let before := d.before.toKernelEnv
  let after := d.after.toKernelEnv
  let new := newIn before after
  let noted := notedAmong after (nameSetOf new {}) d.trees { written := {}, gone := [] }
  { done := d, heads := headsOf d.stx, new, written := keep (fun n => noted.written.contains n) new
    gone := keep (fun n => !alwaysTakenBack n) noted.gone, examples := examplesAmong before after d.trees [] }

/-- Number the examples of a text from `id`. -/
def numbered (es : List Example) (id : Nat) : List Example :=
  match es with
  | [] => []
  | e :: rest => { e with id } :: numbered rest (id + 1)

def numberedAll (ls : List Left) (id : Nat) (acc : List Left) : List Left :=
  match ls with
  | [] => revOnto acc []
  | l :: rest => numberedAll rest (id + lengthOf l.examples) ({ l with examples := numbered l.examples id } :: acc)

/-- Declarations in Lean's own syntax that added no constant. -/
def leftNothing (l : Left) : List Head :=
  let examples := lengthOf l.examples
  go l.heads examples []
where
  go (hs : List Head) (examples : Nat) (acc : List Head) : List Head :=
    match hs with
    | [] => revOnto acc []
    | h :: rest =>
      if h.kind == `Lean.Parser.Command.example then
        if examples == 0 then go rest 0 (h :: acc) else go rest (examples - 1) acc
      else
        let n := h.name.replacePrefix `_root_ .anonymous
        if anyOf (fun m => n.isSuffixOf (userName m)) l.new then go rest examples acc else go rest examples (h :: acc)

def headJson (h : Head) : Json :=
  Json.mkObj [("kind", Json.str (nameText h.kind)), ("name", jarr (nameParts h.name [])), ("value", jnat h.valueAt)]

def partsOf (ns : List Name) : Json := jarr (mapList (fun n => jarr (nameParts n [])) ns)

/-- The types of examples, for display. -/
def ppExamples (es : List Example) (acc : List Json) : IO (List Json) :=
  match es with
  | [] => return revOnto acc []
  | e :: rest => do ppExamples rest (append (← ppTypes e.whole [e.name] []) acc)

def leftJson (map : FileMap) (types : Bool) (l : Left) : IO Json := do
  let errors ← errorsJson l.done.messages
  let start := match l.heads with
    | h :: _ => h.startsAt
    | [] => startByte l.done.stx
  let at_ := map.toPosition ⟨start⟩
  let after := l.done.after.toKernelEnv
  let hidden := keep (fun n => match after.find? n with
    | some c => c.isUnsafe || c.isPartial
    | none => false) l.new
  let written ← if types then ppTypes l.done.after l.written [] else pure []
  let examples ← if types then ppExamples l.examples [] else pure []
  let nothing := match errors with
    | [] => if l.done.stopped.isEmpty then append (mapList takenBack l.gone) (leftNothing l) else []
    | _ => []
  return Json.mkObj [
    ("number", jnat l.done.number), ("line", jnat at_.line), ("kind", Json.str (nameText (leafKind l.done.stx))),
    ("syntax", Json.bool (hasName (leafKind l.done.stx) syntaxCommands)),
    ("heads", jarr (mapList headJson l.heads)), ("nothing", jarr (mapList headJson nothing)),
    ("new", partsOf l.new), ("written", partsOf l.written), ("unsafe", partsOf hidden),
    ("examples", partsOf (mapList (fun e => exampleName e) l.examples)),
    ("code", jnames (notInert l.done.stx)),
    ("types", jarr (append written examples)), ("errors", jarr errors), ("stopped", Json.str l.done.stopped)]
where
  takenBack (n : Name) : Head := { kind := `taken.back, startsAt := 0, name := n, valueAt := 0 }
  exampleName (e : Example) : Name := .num e.name e.id

/-- Whether a command belongs in the report: it has a declaration, runs code, or failed. -/
def worthTelling (l : Left) : Bool :=
  match l.heads, append l.gone l.new, l.examples with
  | [], [], [] => !l.done.stopped.isEmpty || anyOf (fun (m : Message) => m.severity == .error) l.done.messages
      || !isNil (notInert l.done.stx)
  | _, _, _ => true

def leftJsons (map : FileMap) (types : Bool) (ls : List Left) (acc : List Json) : IO (List Json) :=
  match ls with
  | [] => return revOnto acc []
  | l :: rest => do
    if worthTelling l then leftJsons map types rest ((← leftJson map types l) :: acc) else leftJsons map types rest acc

/-- The constants of an example's environment, under their exported names. -/
def Example.find (e : Example) (n : Name) : Option ConstantInfo :=
  match n with
  | .num m i =>
    if i == e.id && e.own.contains m then (e.env.find? m).map (renamedInfo (fun k => e.own.contains k) e.id) else e.env.find? n
  | _ => e.env.find? n

def exportExamples (base : Kernel.Environment) (es : List Example) (w : Walk) : Walk :=
  match es with
  | [] => w
  | e :: rest => exportExamples base rest (exportRoots base e.find w [.num e.name e.id])

def exportLeft (base final : Kernel.Environment) (ls : List Left) (w : Walk) : Walk :=
  match ls with
  | [] => w
  | l :: rest => exportLeft base final rest (exportExamples base l.examples (exportRoots base final.find? w l.new))

/-- Those of `ns` that mention `a`. -/
def mentioning (env : Kernel.Environment) (a : Name) (ns : List Name) : List Name :=
  keep (fun n => match env.find? n with
    | some c => mentionsName a c.type || (match c.value? true with | some v => mentionsName a v | none => false)
    | none => false) ns

/-- Line of the first code after the last command, as after `#exit`. -/
def unreadLine (ictx : Parser.InputContext) (s : Frontend.State) (last : Option Done) : Option Nat :=
  match last with
  | none => none
  | some d =>
    if d.stx.isOfKind `Lean.Parser.Command.eoi then none
    else
      let at_ := s.parserState.pos
      let p := Parser.whitespace.run ictx (parserContext s.commandState) {} { Parser.mkParserState ictx.inputString with pos := at_ }
      if ictx.atEnd p.pos then none else some (ictx.fileMap.toPosition p.pos).line

/-- Elaborate `context` as a separate text from `state` on; returns its errors. -/
def elaborateContext (m : Manner) (context file : String) (state : IO.Ref Frontend.State) : IO (List Json) := do
  let messages ← IO.mkRef ([] : List Message)
  let stopped ← IO.mkRef ([] : List Json)
  let input := inputOf context file
  commands m input state 0 fun d => do
    messages.set (revOnto d.messages (← messages.get))
    if !d.stopped.isEmpty then
      let line := (input.fileMap.toPosition ⟨startByte d.stx⟩).line
      stopped.set (Json.mkObj [("file", Json.str file), ("line", jnat line), ("column", jnat 0),
        ("m", Json.str d.stopped), ("stopped", Json.bool true)] :: (← stopped.get))
  let s ← state.get
  state.set { s with parserState := {}, cmdPos := 0 }
  return append (revOnto (← stopped.get) []) (← errorsJson (revOnto (← messages.get) []))

/-- Move `state` after the context of a request; returns its errors. The last context is cached for the next request. -/
def behindContext (s : Server) (j : Json) (m : Manner) (file : String) (state : IO.Ref Frontend.State) : IO (List Json) := do
  let key := Json.arr #[jarr (listField j "imports"), jarr (listField j "before"), Json.str (strField j "context"),
    Json.bool (boolField j "trees"), Json.bool (boolField j "inertContext")]
  match ← s.context.get with
  | some (k, known) => if k == key.compress then do state.set known; return [] else elaborated key.compress
  | none => elaborated key.compress
where
  elaborated (key : String) : IO (List Json) := do
    let errors ← elaborateContext { m with kinds? := if boolField j "inertContext" then some inertContextSet else none, skip := [], announce := fun _ => return () } (strField j "context") file state
    match errors with
    | [] => s.context.set (some (key, ← state.get))
    | _ => s.context.set none
    return errors

/-- The modules in a text's own header, the end of the header, and its errors. -/
def headerOf (ictx : Parser.InputContext) : IO (List Json × Parser.ModuleParserState × List Json) := do
  let (stx, ps, messages) ← Parser.parseHeader ictx
  let imports := (headerToImports stx).toList
  return (mapList (fun (i : Lean.Import) => Json.str (nameText i.module)) imports, ps,
    ← errorsJson (persistentList messages.unreported))

/-- Elaborate the text of a request and report its declarations, with the constants as entries. -/
def declare (s : Server) (j : Json) : IO (List (String × Json)) := do
  let heartbeats := natField j "heartbeats" 200000
  let file := strField j "file"
  let failed := fun (errors : List Json) => [("ok", Json.bool true), ("errors", jarr errors), ("commands", jarr []), ("entries", jarr [])]
  match ← environmentOf s j heartbeats with
  | .error errors => return failed errors
  | .ok before =>
    let state ← startOf before heartbeats (boolField j "trees")
    let m : Manner := {
      clock? := some s.clock, ms := natField j "ms" 60000, skip := numbers (listField j "skip"), kinds? := if boolField j "inert" then some inertSet else none
      announce := announcer s j }
    match ← if (strField j "context").isEmpty then pure [] else behindContext s j m file state with
    | e :: es => return failed (e :: es)
    | [] =>
      let ictx := inputOf (strField j "source") file
      let (header, ps, problems) ← if boolField j "header" then headerOf ictx else pure ([], {}, [])
      state.set { (← state.get) with parserState := ps, cmdPos := 0 }
      let found ← IO.mkRef ([] : List Left)
      commands m ictx state 0 fun d => do found.set (leftBy d :: (← found.get))
      let end_ ← state.get
      let final := end_.commandState.env
      s.last.set (some final)
      let last := match ← found.get with
        | [] => none
        | l :: _ => some l.done
      let all := numberedAll (revOnto (← found.get) []) 0 []
      let base := (← environment s (strings (listField j "imports"))).toKernelEnv
      let w := match j.getObjVal? "roots" with
        | .ok (.arr ns) => exportRoots base final.toKernelEnv.find? startWalk (rebuildNames ns.toList)
        | _ => exportLeft base final.toKernelEnv all startWalk
      -- Also those in the modules before the text, which a proof may use although the reference does not.
      let w := match (strField j "assumed").toName with
        | .anonymous => w
        | a => exportRoots base final.toKernelEnv.find? w (mentioning final.toKernelEnv a (newIn base final.toKernelEnv))
      let unread := match unreadLine ictx end_ last with
        | some n => jnat n
        | none => Json.null
      return [("ok", Json.bool true), ("errors", jarr problems), ("header", jarr header),
        ("commands", jarr (← leftJsons ictx.fileMap (boolField j "types") all [])), ("entries", Json.arr w.x.entries), ("unread", unread)]

end Turnstile
