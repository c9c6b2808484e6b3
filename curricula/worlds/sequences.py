"""Lists and trees of their own: append, reverse, map, length, mirror image, size, flattening, and equations that follow from their laws."""

from __future__ import annotations

from curricula.worlds import peano
from curricula.worlds.chains import RADIUS
from curricula.worlds.development import Development
from curricula.worlds.lemmas import lemmas

DIFFICULTIES = (2, 9)
HARDER = 2 * RADIUS
"""`split=harder` begins above this. The distance of an equation is exact up to here, so no statement is on both sides."""
SAMPLES = 1000
"""Samples without a new theorem after which the world counts as exhausted."""

LEMMAS = lemmas("""
app_nil_right (l : L) : (app l (nil)) = l
  induction l with
  | (nil) => rfl
  | (cons x l) ih => rw [app_cons, ih]
app_assoc (l r s : L) : (app (app l r) s) = (app l (app r s))
  induction l with
  | (nil) => rfl
  | (cons x l) ih => rw [app_cons, app_cons, ih, app_cons]
rev_app (l r : L) : (rev (app l r)) = (app (rev r) (rev l))
  induction l with
  | (nil) => rw [app_nil, rev_nil, app_nil_right]
  | (cons x l) ih => rw [app_cons, rev_cons, ih, rev_cons, app_assoc]
rev_rev (l : L) : (rev (rev l)) = l
  induction l with
  | (nil) => rfl
  | (cons x l) ih =>
    rw [rev_cons, rev_app, ih]
    rfl
len_app (l r : L) : (len (app l r)) = (add (len l) (len r))
  induction l with
  | (nil) => rw [app_nil, len_nil, zero_add]
  | (cons x l) ih => rw [app_cons, len_cons, ih, len_cons, succ_add]
len_rev (l : L) : (len (rev l)) = (len l)
  induction l with
  | (nil) => rfl
  | (cons x l) ih =>
    rw [rev_cons, len_app, ih]
    rfl
map_app (f : N → N) (l r : L) : (map f (app l r)) = (app (map f l) (map f r))
  induction l with
  | (nil) => rfl
  | (cons x l) ih => rw [app_cons, map_cons, ih, map_cons, app_cons]
map_rev (f : N → N) (l : L) : (map f (rev l)) = (rev (map f l))
  induction l with
  | (nil) => rfl
  | (cons x l) ih =>
    rw [rev_cons, map_app, ih, map_cons f x l, rev_cons]
    rfl
map_map (g f : N → N) (l : L) : (map g (map f l)) = (map (comp g f) l)
  induction l with
  | (nil) => rfl
  | (cons x l) ih =>
    rw [map_cons, map_cons, ih, map_cons]
    rfl
len_map (f : N → N) (l : L) : (len (map f l)) = (len l)
  induction l with
  | (nil) => rfl
  | (cons x l) ih => rw [map_cons, len_cons, ih, len_cons]
rev_inj (l r : L) (h : (rev l) = (rev r)) : l = r
  rw [← rev_rev l, h, rev_rev]
app_left_cancel (l r s : L) (h : (app l r) = (app l s)) : r = s
  induction l with
  | (nil) => exact h
  | (cons x l) ih =>
    rw [app_cons, app_cons] at h
    exact ih (by injection h)
app_right_cancel (l r s : L) (h : (app r l) = (app s l)) : r = s
  have k : (app (rev l) (rev r)) = (app (rev l) (rev s)) := by rw [← rev_app, ← rev_app, h]
  exact rev_inj r s (app_left_cancel (rev l) (rev r) (rev s) k)
mirror_mirror (t : T) : (mirror (mirror t)) = t
  induction t with
  | (leaf) => rfl
  | (node t x u) iht ihu => rw [mirror_node, mirror_node, iht, ihu]
size_mirror (t : T) : (size (mirror t)) = (size t)
  induction t with
  | (leaf) => rfl
  | (node t x u) iht ihu => rw [mirror_node, size_node, iht, ihu, size_node, add_comm]
flat_mirror (t : T) : (flat (mirror t)) = (rev (flat t))
  induction t with
  | (leaf) => rfl
  | (node t x u) iht ihu => rw [mirror_node, flat_node, iht, ihu, flat_node, rev_app, rev_cons, app_assoc, app_cons, app_nil]
len_flat (t : T) : (len (flat t)) = (size t)
  induction t with
  | (leaf) => rfl
  | (node t x u) iht ihu => rw [flat_node, len_app, len_cons, iht, ihu, add_succ, size_node]
flat_tmap (f : N → N) (t : T) : (flat (tmap f t)) = (map f (flat t))
  induction t with
  | (leaf) => rfl
  | (node t x u) iht ihu => rw [tmap_node, flat_node, iht, ihu, flat_node, map_app, map_cons]
mirror_tmap (f : N → N) (t : T) : (mirror (tmap f t)) = (tmap f (mirror t))
  induction t with
  | (leaf) => rfl
  | (node t x u) iht ihu => rw [tmap_node, mirror_node, iht, ihu, mirror_node, tmap_node]
tmap_tmap (g f : N → N) (t : T) : (tmap g (tmap f t)) = (tmap (comp g f) t)
  induction t with
  | (leaf) => rfl
  | (node t x u) iht ihu =>
    rw [tmap_node, tmap_node, iht, ihu, tmap_node]
    rfl
size_tmap (f : N → N) (t : T) : (size (tmap f t)) = (size t)
  induction t with
  | (leaf) => rfl
  | (node t x u) iht ihu => rw [tmap_node, size_node, iht, ihu, size_node]
mirror_inj (t u : T) (h : (mirror t) = (mirror u)) : t = u
  rw [← mirror_mirror t, h, mirror_mirror]
""")

WORLD = Development(
    name="sequences",
    types={
        "N": peano.WORLD.types["N"],
        "L": {"nil": (), "cons": ("A", "L")},
        "T": {"leaf": (), "node": ("T", "A", "T")},
    },
    functions=(
        peano.WORLD.functions[0],
        "app : L → L → L\n(app (nil) r) = r\n(app (cons x l) r) = (cons x (app l r))",
        "rev : L → L\n(rev (nil)) = (nil)\n(rev (cons x l)) = (app (rev l) (cons x (nil)))",
        "len : L → N\n(len (nil)) = (zero)\n(len (cons x l)) = (succ (len l))",
        "map : (N → N) → L → L\n(map f (nil)) = (nil)\n(map f (cons x l)) = (cons (f x) (map f l))",
        "mirror : T → T\n(mirror (leaf)) = (leaf)\n(mirror (node t x u)) = (node (mirror u) x (mirror t))",
        "size : T → N\n(size (leaf)) = (zero)\n(size (node t x u)) = (succ (add (size t) (size u)))",
        "flat : T → L\n(flat (leaf)) = (nil)\n(flat (node t x u)) = (app (flat t) (cons x (flat u)))",
        "tmap : (N → N) → T → T\n(tmap f (leaf)) = (leaf)\n(tmap f (node t x u)) = (node (tmap f t) (f x) (tmap f u))",
    ),
    relations="def comp (g f : N → N) : N → N := fun x => g (f x)",
    lemmas=(*peano.ADDITION, *LEMMAS),
    lean_types={"N": "N", "L": "L", "T": "T", "A": "N", "F": "N → N"},
    borrowed=peano.OPERATIONS,
    own={
        "nil": ((), "L"),
        "cons": (("A", "L"), "L"),
        "app": (("L", "L"), "L"),
        "rev": (("L",), "L"),
        "len": (("L",), "N"),
        "map": (("F", "L"), "L"),
        "comp": (("F", "F"), "F"),
        "leaf": ((), "T"),
        "node": (("T", "A", "T"), "T"),
        "mirror": (("T",), "T"),
        "size": (("T",), "N"),
        "flat": (("T",), "L"),
        "tmap": (("F", "T"), "T"),
    },
    variables={
        "N": peano.WORLD.variables["N"],
        "L": ("l", "r", "s"),
        "T": ("t", "u", "v"),
        "A": ("x", "y", "z"),
        "F": ("f", "g"),
    },
    names={
        **peano.NUMBER_NAMES,
        "L": ("Series", "Chain"),
        "nil": ("empty", "void"),
        "cons": ("link", "put"),
        "app": ("cat", "join"),
        "rev": ("turn", "back"),
        "len": ("length", "count"),
        "map": ("each", "lift"),
        "comp": ("after",),
        "T": ("Tree", "Fork"),
        "leaf": ("tip", "stop"),
        "node": ("branch", "fork"),
        "mirror": ("flop", "reflect"),
        "size": ("weight", "nodes"),
        "flat": ("walk", "items"),
        "tmap": ("tlift", "teach"),
    },
    swaps=(("add",), ("cons", "app")),
)
sample = WORLD.sample
