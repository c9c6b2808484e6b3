import Turnstile.Compare

/-! A file with open `sorry`s is judged with an axiom `assumed : (place : Nat) → (α : Sort u) → α` in place of each (`fill.py`). The axiom
proves anything, so a proof may use it only for what the reference uses it for: an open place's own type, under the binders around
that place. -/

open Lean Meta Elab

set_option compiler.small 0

namespace Turnstile

/-- A binder around a term. -/
structure Around where
  /-- Its number in the walk: terms under different binders are different uses. -/
  number : Nat
  type : Expr
  value? : Option Expr

/-- `e` under these binders, the innermost first. All of them count, because `e` may hold only under a hypothesis that it does not
mention. -/
def under (bs : List Around) (e : Expr) : Expr :=
  match bs with
  | [] => e
  | b :: rest =>
    match b.value? with
    | some v => under rest (.letE `x b.type v e false)
    | none => under rest (.forallE `x b.type e .default)

structure Uses where
  /-- Types at which the axiom is used, closed. -/
  found : List Expr
  /-- Terms that were walked, each with the number of the binder around it. -/
  seen : Table (Nat × Expr)
  /-- Number of binders entered. -/
  count : Nat

/-- Find the uses of the axiom `a` in `e`. A use without its type counts as a use for the axiom itself. -/
partial def usesWithin (a : Name) (bs : List Around) (e : Expr) (u : Uses) : Uses :=
  let number := match bs with
    | [] => 0
    | b :: _ => b.number
  if anyOf (fun (k, n, x) => k == e.hash && n == number && x == e) (u.seen.bucket e.hash) || !mentionsName a e then u
  else
    let u := { u with seen := u.seen.insert e.hash (number, e) }
    match e with
    | .const _ _ => { u with found := e :: u.found }
    | .app (.app (.const n ls) place) x =>
      let u := usesWithin a bs place (usesWithin a bs x u)
      if n == a then { u with found := under bs x :: u.found } else usesWithin a bs (.const n ls) u
    | .app f x => usesWithin a bs x (usesWithin a bs f u)
    | .lam _ t b _ => inside t none b (usesWithin a bs t u)
    | .forallE _ t b _ => inside t none b (usesWithin a bs t u)
    | .letE _ t v b _ => inside t (some v) b (usesWithin a bs v (usesWithin a bs t u))
    | .mdata _ b => usesWithin a bs b u
    | .proj _ _ b => usesWithin a bs b u
    | _ => u
where
  inside (type : Expr) (value? : Option Expr) (body : Expr) (u : Uses) : Uses :=
    let number := u.count + 1
    usesWithin a ({ number, type, value? } :: bs) body { u with count := number }

def usesOf (a : Name) (c : ConstantInfo) : List Expr :=
  let terms := match c with
    | .thmInfo v => [v.type, v.value]
    | .defnInfo v => [v.type, v.value]
    | .opaqueInfo v => [v.type, v.value]
    | c => [c.type]
  match keep (mentionsName a) terms with
  | [] => []
  | es => go es { found := [], seen := emptyTable, count := 0 }
where
  go (es : List Expr) (u : Uses) : List Expr :=
    match es with
    | [] => u.found
    | e :: rest => go rest (usesWithin a [] e u)

/-- A closed type as a constant, for comparisons up to the names of universe parameters. -/
def claimOf (e : Expr) : ConstantInfo :=
  .axiomInfo { name := `_turnstile.claim, levelParams := (collectLevelParams {} e).params.toList, type := e, isUnsafe := false }

/-- The types of the reference's uses whose constants mean the same for the candidate. -/
def Comparison.claims (c : Comparison) (a : Name) : List ConstantInfo × Comparison := ofConstants c.reference.added c []
where
  ofConstants (ks : List ConstantInfo) (c : Comparison) (acc : List ConstantInfo) : List ConstantInfo × Comparison :=
    match ks with
    | [] => (acc, c)
    | k :: rest =>
      let (acc, c) := ofUses (usesOf a k) c acc
      ofConstants rest c acc
  ofUses (es : List Expr) (c : Comparison) (acc : List ConstantInfo) : List ConstantInfo × Comparison :=
    match es with
    | [] => (acc, c)
    | e :: rest =>
      let (same, c) := sameConstants e.getUsedConstants.toList c
      ofUses rest c (if same then claimOf e :: acc else acc)
  sameConstants (ns : List Name) (c : Comparison) : Bool × Comparison :=
    match ns with
    | [] => (true, c)
    | n :: rest =>
      if !c.reference.addedNames.contains n || isTheoremOf c.reference n then sameConstants rest c
      else match c.same n n with
        | (none, c) => sameConstants rest c
        | (some _, c) => (false, c)

/-- Whether `use` is `claim` with further binders, which the rest of it does not mention: an open definition unfolded in a proof is
under the proof's binders. `fuel` bounds the steps and numbers the variables. -/
partial def weakens (use claim : Expr) (fuel : Nat) : Bool × Nat :=
  if use == claim then (true, fuel)
  else match fuel with
  | 0 => (false, 0)
  | fuel + 1 =>
    let var := Expr.fvar ⟨.num `_turnstile.x fuel⟩
    match use with
    | .forallE _ t b _ =>
      let (met, fuel) := match claim with
        | .forallE _ t' b' _ => if t == t' then weakens (b.instantiate1 var) (b'.instantiate1 var) fuel else (false, fuel)
        | _ => (false, fuel)
      if met then (true, fuel) else weakens (b.instantiate1 var) claim fuel
    | .letE _ t v b _ =>
      let (met, fuel) := match claim with
        | .letE _ t' v' b' _ =>
          if t == t' && v == v' then weakens (b.instantiate1 var) (b'.instantiate1 var) fuel else (false, fuel)
        | _ => (false, fuel)
      if met then (true, fuel) else weakens (b.instantiate1 var) claim fuel
    | _ => (false, fuel)

/-- Constants of the candidate that use the axiom `a` for what the reference does not use it for. -/
def Comparison.strangers (c : Comparison) (a : Name) : NameSet × Comparison :=
  if !c.candidate.addedNames.contains a then ({}, c)
  else
    let (claims, c) := c.claims a
    (go c claims c.candidate.added {}, c)
where
  claimed (c : Comparison) (claims : List ConstantInfo) (e : Expr) : Bool :=
    anyOf (fun r => (weakens (bare e) (bare r.type) 400).1 || sameTypeFilled c.reference c.candidate r (claimOf e)) claims
  go (c : Comparison) (claims ks : List ConstantInfo) (acc : NameSet) : NameSet :=
    match ks with
    | [] => acc
    | k :: rest => go c claims rest (if anyOf (fun e => !claimed c claims e) (usesOf a k) then acc.insert k.name else acc)

end Turnstile
