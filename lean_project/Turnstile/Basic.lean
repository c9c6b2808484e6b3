import Lean.Elab.Frontend
import Lean.Meta.Tactic.Rename

/-! List functions, a hash table and JSON access.

The embedded Lean's library lacks private declarations and the compiler's auxiliary ones, so code that specialises, inlines or
calls polymorphic library functions does not compile there. This file replaces the ones that the server needs. The interpreter's
stack there holds only a few hundred frames, so functions on long data are tail-recursive. -/

open Lean

set_option compiler.small 0

namespace Turnstile

def revOnto {α : Type} (xs ys : List α) : List α :=
  match xs with
  | [] => ys
  | x :: rest => revOnto rest (x :: ys)

def append {α : Type} (xs ys : List α) : List α := revOnto (revOnto xs []) ys

def mapList {α β : Type} (f : α → β) (xs : List α) : List β := go xs []
where
  go (xs : List α) (acc : List β) : List β :=
    match xs with
    | [] => revOnto acc []
    | x :: rest => go rest (f x :: acc)

def keep {α : Type} (p : α → Bool) (xs : List α) : List α := go xs []
where
  go (xs : List α) (acc : List α) : List α :=
    match xs with
    | [] => revOnto acc []
    | x :: rest => if p x then go rest (x :: acc) else go rest acc

def anyOf {α : Type} (p : α → Bool) (xs : List α) : Bool :=
  match xs with
  | [] => false
  | x :: rest => if p x then true else anyOf p rest

def fromList {α : Type} (xs : List α) : Array α :=
  let rec go (xs : List α) (acc : Array α) : Array α :=
    match xs with
    | [] => acc
    | x :: rest => go rest (acc.push x)
  go xs #[]

def lengthOf {α : Type} (xs : List α) : Nat := go xs 0
where
  go (xs : List α) (n : Nat) : Nat :=
    match xs with
    | [] => n
    | _ :: rest => go rest (n + 1)

def nth {α : Type} (xs : List α) (i : Nat) : Option α :=
  match xs with
  | [] => none
  | x :: rest => if i == 0 then some x else nth rest (i - 1)

def lastOf {α : Type} (xs : List α) : Option α :=
  match xs with
  | [] => none
  | [x] => some x
  | _ :: rest => lastOf rest

def isNil {α : Type} (xs : List α) : Bool :=
  match xs with
  | [] => true
  | _ => false

def hasName (n : Name) (xs : List Name) : Bool := anyOf (fun m => m == n) xs

def mentionsName (a : Name) (e : Expr) : Bool := hasName a e.getUsedConstants.toList

def hasString (s : String) (xs : List String) : Bool := anyOf (fun t => t == s) xs

/-- The elements of a persistent array, in order, in front of `acc`. -/
partial def persistentNode {α : Type} (n : PersistentArrayNode α) (acc : List α) : List α :=
  match n with
  | .leaf xs => append xs.toList acc
  | .node cs => children cs.toList acc
where
  children (cs : List (PersistentArrayNode α)) (acc : List α) : List α :=
    match cs with
    | [] => acc
    | c :: rest => persistentNode c (children rest acc)

def persistentList {α : Type} (a : PersistentArray α) : List α := persistentNode a.root a.tail.toList

/-- A hash table from `UInt64` hashes to buckets of values; the caller compares. -/
structure Table (α : Type) where
  buckets : Array (List (UInt64 × α))
  size : Nat

def emptyTable {α : Type} : Table α := { buckets := #[[], [], [], [], [], [], [], []], size := 0 }

def Table.slot {α : Type} (t : Table α) (h : UInt64) : Nat := h.toNat % t.buckets.size

def Table.bucket {α : Type} (t : Table α) (h : UInt64) : List (UInt64 × α) := t.buckets[t.slot h]?.getD []

def putAll {α : Type} (xs : List (UInt64 × α)) (bs : Array (List (UInt64 × α))) : Array (List (UInt64 × α)) :=
  match xs with
  | [] => bs
  | (h, a) :: rest =>
    let i := h.toNat % bs.size
    putAll rest (bs.set! i ((h, a) :: bs[i]?.getD []))

partial def emptyBuckets {α : Type} (n : Nat) (acc : Array (List (UInt64 × α))) : Array (List (UInt64 × α)) :=
  if n == 0 then acc else emptyBuckets (n - 1) (acc.push [])

partial def rehash {α : Type} (old : Array (List (UInt64 × α))) (i : Nat) (bs : Array (List (UInt64 × α))) :
    Array (List (UInt64 × α)) :=
  if i < old.size then rehash old (i + 1) (putAll (old[i]?.getD []) bs) else bs

def Table.insert {α : Type} (t : Table α) (h : UInt64) (a : α) : Table α :=
  let t := if t.size > 2 * t.buckets.size
    then { t with buckets := rehash t.buckets 0 (emptyBuckets (4 * t.buckets.size) #[]) } else t
  { buckets := putAll [(h, a)] t.buckets, size := t.size + 1 }

def strField (j : Json) (k : String) : String :=
  match j.getObjVal? k with
  | .ok (.str s) => s
  | _ => ""

def natField (j : Json) (k : String) (default : Nat) : Nat :=
  match j.getObjVal? k with
  | .ok (.num n) => n.mantissa.toNat
  | _ => default

def boolField (j : Json) (k : String) : Bool :=
  match j.getObjVal? k with
  | .ok (.bool b) => b
  | _ => false

def listField (j : Json) (k : String) : List Json :=
  match j.getObjVal? k with
  | .ok (.arr xs) => xs.toList
  | _ => []

def strings (xs : List Json) : List String := go xs []
where
  go (xs : List Json) (acc : List String) : List String :=
    match xs with
    | [] => revOnto acc []
    | .str s :: rest => go rest (s :: acc)
    | _ :: rest => go rest acc

def numbers (xs : List Json) : List Nat := go xs []
where
  go (xs : List Json) (acc : List Nat) : List Nat :=
    match xs with
    | [] => revOnto acc []
    | .num n :: rest => go rest (n.mantissa.toNat :: acc)
    | _ :: rest => go rest acc

def jnat (n : Nat) : Json := Json.num { mantissa := n, exponent := 0 }

def jarr (xs : List Json) : Json := Json.arr (fromList xs)

def nameText (n : Name) : String := n.toString

def jnames (xs : List Name) : Json := jarr (mapList (fun n => Json.str (nameText n)) xs)

end Turnstile
