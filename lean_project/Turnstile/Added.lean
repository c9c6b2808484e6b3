import Turnstile.Basic

/-! The constants that a part of a text adds to the environment, found by comparing environments. -/

open Lean

set_option compiler.small 0

namespace Turnstile

/-- Names in the second map but not in the first. The two maps share most of their memory. -/
unsafe def addedNamesImpl (old new : PersistentHashMap.Node Name ConstantInfo) (acc : List Name) : List Name :=
  if ptrAddrUnsafe old == ptrAddrUnsafe new then acc
  else match old, new with
  | .entries os, .entries ns => entries os.toList ns.toList acc
  | _, n => all n acc
where
  all (n : PersistentHashMap.Node Name ConstantInfo) (acc : List Name) : List Name :=
    match n with
    | .entries es => allEntries es.toList acc
    | .collision ks _ _ => append ks.toList acc
  allEntries (es : List (PersistentHashMap.Entry Name ConstantInfo (PersistentHashMap.Node Name ConstantInfo)))
      (acc : List Name) : List Name :=
    match es with
    | [] => acc
    | .entry k _ :: rest => allEntries rest (k :: acc)
    | .ref n :: rest => allEntries rest (all n acc)
    | .null :: rest => allEntries rest acc
  entries (os ns : List (PersistentHashMap.Entry Name ConstantInfo (PersistentHashMap.Node Name ConstantInfo)))
      (acc : List Name) : List Name :=
    match os, ns with
    | o :: os, n :: ns =>
      match o, n with
      | .ref a, .ref b => entries os ns (addedNamesImpl a b acc)
      | _, n => entries os ns (allEntries [n] acc)
    | [], ns => allEntries ns acc
    | _, [] => acc

@[implemented_by addedNamesImpl]
opaque addedNames (old new : PersistentHashMap.Node Name ConstantInfo) (acc : List Name) : List Name

def notIn (env : Kernel.Environment) (ns acc : List Name) : List Name :=
  match ns with
  | [] => acc
  | n :: rest =>
    match env.find? n with
    | some _ => notIn env rest acc
    | none => notIn env rest (n :: acc)

/-- Constants in the second environment but not in the first. -/
def newIn (old new : Kernel.Environment) : List Name :=
  notIn old (addedNames old.constants.map₂.root new.constants.map₂.root []) []

def nameSetOf (ns : List Name) (acc : NameSet) : NameSet :=
  match ns with
  | [] => acc
  | n :: rest => nameSetOf rest (acc.insert n)

end Turnstile
