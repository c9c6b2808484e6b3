"""A queue by two lists, which agrees with a queue by one."""

from __future__ import annotations

from curricula.worlds import peano, sequences
from curricula.worlds.development import Development
from curricula.worlds.lemmas import lemmas

_LISTS = {"app_nil_right", "app_assoc", "rev_app", "rev_rev", "len_app", "len_rev"}
LEMMAS = lemmas("""
items_enq (x : N) (q : Q) : (items (enq x q)) = (app (items q) (cons x (nil)))
  cases q with
  | (two l r) => rw [enq_two, items_two, items_two, rev_cons, app_assoc]
items_jump (x : N) (q : Q) : (items (jump x q)) = (cons x (items q))
  cases q with
  | (two l r) => rw [jump_two, items_two, app_cons, items_two]
items_norm (q : Q) : (items (norm q)) = (items q)
  cases q with
  | (two l r) => rw [norm_two, items_two, rev_nil, app_nil_right, items_two]
items_deq (q : Q) : (items (deq q)) = (rest (items q))
  cases q with
  | (two l r) => rw [deq_two, items_two, rev_nil, app_nil_right, items_two]
items_invert (q : Q) : (items (invert q)) = (rev (items q))
  cases q with
  | (two l r) => rw [invert_two, items_two, items_two, rev_app, rev_rev]
invert_invert (q : Q) : (invert (invert q)) = q
  cases q with
  | (two l r) => rw [invert_two, invert_two]
norm_norm (q : Q) : (norm (norm q)) = (norm q)
  cases q with
  | (two l r) => rw [norm_two, norm_two, rev_nil, app_nil_right]
size_items (q : Q) : (len (items q)) = (size q)
  cases q with
  | (two l r) => rw [items_two, len_app, len_rev, size_two]
size_enq (x : N) (q : Q) : (size (enq x q)) = (succ (size q))
  cases q with
  | (two l r) => rw [enq_two, size_two, len_cons, add_succ, size_two]
size_invert (q : Q) : (size (invert q)) = (size q)
  rw [← size_items, items_invert, len_rev, size_items]
size_norm (q : Q) : (size (norm q)) = (size q)
  rw [← size_items, items_norm, size_items]
invert_enq (x : N) (q : Q) : (invert (enq x q)) = (jump x (invert q))
  cases q with
  | (two l r) => rw [enq_two, invert_two, invert_two, jump_two]
deq_jump (x : N) (q : Q) : (items (deq (jump x q))) = (items q)
  rw [items_deq, items_jump, rest_cons]
norm_eq (p q : Q) (h : (items p) = (items q)) : (norm p) = (norm q)
  cases p with
  | (two l r) =>
    cases q with
    | (two s t) => rw [norm_two, norm_two, ← items_two, ← items_two, h]
size_eq (p q : Q) (h : (items p) = (items q)) : (size p) = (size q)
  rw [← size_items, ← size_items, h]
""")

WORLD = Development(
    name="programs",
    types={"N": peano.WORLD.types["N"], "L": sequences.WORLD.types["L"], "Q": {"two": ("L", "L")}},
    functions=(
        *sequences.WORLD.functions[:4],
        "rest : L → L\n(rest (nil)) = (nil)\n(rest (cons x l)) = l",
        "items : Q → L\n(items (two l r)) = (app l (rev r))",
        "enq : N → Q → Q\n(enq x (two l r)) = (two l (cons x r))",
        "jump : N → Q → Q\n(jump x (two l r)) = (two (cons x l) r)",
        "norm : Q → Q\n(norm (two l r)) = (two (app l (rev r)) (nil))",
        "deq : Q → Q\n(deq (two l r)) = (two (rest (app l (rev r))) (nil))",
        "invert : Q → Q\n(invert (two l r)) = (two r l)",
        "size : Q → N\n(size (two l r)) = (add (len l) (len r))",
    ),
    lemmas=(*peano.ADDITION, *(each for each in sequences.LEMMAS if each.name in _LISTS), *LEMMAS),
    lean_types={"N": "N", "L": "L", "Q": "Q", "A": "N"},
    borrowed={**peano.OPERATIONS, **{op: sequences.WORLD.own[op] for op in ("nil", "cons", "app", "rev", "len")}},
    own={
        "rest": (("L",), "L"),
        "two": (("L", "L"), "Q"),
        "items": (("Q",), "L"),
        "enq": (("A", "Q"), "Q"),
        "jump": (("A", "Q"), "Q"),
        "norm": (("Q",), "Q"),
        "deq": (("Q",), "Q"),
        "invert": (("Q",), "Q"),
        "size": (("Q",), "N"),
    },
    variables={**{sort: sequences.WORLD.variables[sort] for sort in "NLA"}, "Q": ("p", "q")},
    names={
        **{name: sequences.WORLD.names[name] for name in ("L", "nil", "cons", "app", "rev", "len")},
        **peano.NUMBER_NAMES,
        "Q": ("Queue", "Line"),
        "two": ("ends", "parts"),
        "items": ("list", "view"),
        "enq": ("push", "enter"),
        "jump": ("unshift", "cut"),
        "deq": ("pop", "leave"),
        "rest": ("tail", "drop"),
        "norm": ("tidy", "settle"),
        "invert": ("swap", "reverse"),
        "size": ("weight", "total"),
    },
    swaps=(("add",), ("cons", "app"), ("two",), ("enq", "jump")),
)
