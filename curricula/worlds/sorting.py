"""Insertion sort on numbers of its own: the result is sorted and has the same length and sum."""

from __future__ import annotations

from curricula.worlds import peano, sequences
from curricula.worlds.development import Development
from curricula.worlds.lemmas import lemmas

LEMMAS = lemmas("""
leq_refl (n : N) : (leq n n) = (yes)
  induction n with
  | (zero) => rfl
  | (succ n) ih => rw [leq_succ_succ, ih]
leq_succ (n : N) : (leq n (succ n)) = (yes)
  induction n with
  | (zero) => rfl
  | (succ n) ih => rw [leq_succ_succ, ih]
leq_total (m n : N) (h : (leq m n) = (no)) : (leq n m) = (yes)
  induction m generalizing n with
  | (zero) =>
    rw [leq_zero] at h
    cases h
  | (succ m) ih =>
    cases n with
    | (zero) => rfl
    | (succ n) =>
      rw [leq_succ_succ] at h
      rw [leq_succ_succ, ih n h]
leq_trans (a m n : N) (h : (leq a m) = (yes)) (k : (leq m n) = (yes)) : (leq a n) = (yes)
  induction a generalizing m n with
  | (zero) => rfl
  | (succ a) ih =>
    cases m with
    | (zero) => cases h
    | (succ m) =>
      cases n with
      | (zero) => cases k
      | (succ n) =>
        rw [leq_succ_succ] at h k
        rw [leq_succ_succ, ih m n h k]
leq_add (m n : N) : (leq m (add m n)) = (yes)
  induction m with
  | (zero) => rfl
  | (succ m) ih => rw [succ_add, leq_succ_succ, ih]
also_left (b c : B) (h : (also b c) = (yes)) : b = (yes)
  cases b with
  | (yes) => rfl
  | (no) => cases h
also_right (b c : B) (h : (also b c) = (yes)) : c = (yes)
  cases b with
  | (yes) => exact h
  | (no) => cases h
low_ins (m n : N) (l : L) (h : (leq n m) = (yes)) (k : (low n l) = (yes)) : (low n (ins m l)) = (yes)
  cases l with
  | (nil) => rw [ins_nil, low_cons, h]
  | (cons x l) =>
    rw [ins_cons]
    cases (leq m x) with
    | (yes) => rw [pick_yes, low_cons, h]
    | (no) =>
      rw [low_cons] at k
      rw [pick_no, low_cons, k]
sorted_ins (m : N) (l : L) (h : (sorted l) = (yes)) : (sorted (ins m l)) = (yes)
  induction l with
  | (nil) => rfl
  | (cons n l) ih =>
    rw [sorted_cons] at h
    have first := also_left _ _ h
    have second := also_right _ _ h
    rw [ins_cons]
    cases e : (leq m n) with
    | (yes) =>
      rw [pick_yes, sorted_cons m (cons n l), low_cons, e, sorted_cons n l, first, second]
      rfl
    | (no) =>
      rw [pick_no, sorted_cons, low_ins m n l (leq_total m n e) first, ih second]
      rfl
sorted_sort (l : L) : (sorted (sort l)) = (yes)
  induction l with
  | (nil) => rfl
  | (cons n l) ih =>
    rw [sort_cons]
    exact sorted_ins n (sort l) ih
len_ins (m : N) (l : L) : (len (ins m l)) = (succ (len l))
  induction l with
  | (nil) => rfl
  | (cons n l) ih =>
    rw [ins_cons]
    cases (leq m n) with
    | (yes) => rfl
    | (no) => rw [pick_no, len_cons, ih, len_cons]
len_sort (l : L) : (len (sort l)) = (len l)
  induction l with
  | (nil) => rfl
  | (cons n l) ih => rw [sort_cons, len_ins, ih, len_cons]
sum_ins (m : N) (l : L) : (sum (ins m l)) = (add m (sum l))
  induction l with
  | (nil) => rfl
  | (cons n l) ih =>
    rw [ins_cons]
    cases (leq m n) with
    | (yes) => rfl
    | (no) => rw [pick_no, sum_cons, ih, sum_cons, add_left_comm]
sum_sort (l : L) : (sum (sort l)) = (sum l)
  induction l with
  | (nil) => rfl
  | (cons n l) ih => rw [sort_cons, sum_ins, ih, sum_cons]
ins_low (m : N) (l : L) (h : (low m l) = (yes)) : (ins m l) = (cons m l)
  cases l with
  | (nil) => rfl
  | (cons n l) =>
    rw [low_cons] at h
    rw [ins_cons, h, pick_yes]
sort_sorted (l : L) (h : (sorted l) = (yes)) : (sort l) = l
  induction l with
  | (nil) => rfl
  | (cons n l) ih =>
    rw [sorted_cons] at h
    rw [sort_cons, ih (also_right _ _ h), ins_low n l (also_left _ _ h)]
sort_sort (l : L) : (sort (sort l)) = (sort l)
  exact sort_sorted (sort l) (sorted_sort l)
""")

WORLD = Development(
    name="programs",
    types={"N": peano.WORLD.types["N"], "B": {"yes": (), "no": ()}, "L": {"nil": (), "cons": ("N", "L")}},
    functions=(
        peano.WORLD.functions[0],
        "leq : N → N → B\n(leq (zero) n) = (yes)\n(leq (succ m) (zero)) = (no)\n(leq (succ m) (succ n)) = (leq m n)",
        "also : B → B → B\n(also (yes) c) = c\n(also (no) c) = (no)",
        "pick : B → L → L → L\n(pick (yes) l r) = l\n(pick (no) l r) = r",
        "ins : N → L → L\n(ins m (nil)) = (cons m (nil))\n"
        "(ins m (cons n l)) = (pick (leq m n) (cons m (cons n l)) (cons n (ins m l)))",
        "sort : L → L\n(sort (nil)) = (nil)\n(sort (cons n l)) = (ins n (sort l))",
        "low : N → L → B\n(low m (nil)) = (yes)\n(low m (cons n l)) = (leq m n)",
        "sorted : L → B\n(sorted (nil)) = (yes)\n(sorted (cons n l)) = (also (low n l) (sorted l))",
        "len : L → N\n(len (nil)) = (zero)\n(len (cons n l)) = (succ (len l))",
        "sum : L → N\n(sum (nil)) = (zero)\n(sum (cons n l)) = (add n (sum l))",
    ),
    lemmas=(*peano.ADDITION, *LEMMAS),
    lean_types={sort: sort for sort in "NBL"},
    borrowed={**peano.OPERATIONS, "nil": ((), "L"), "cons": (("N", "L"), "L"), "len": (("L",), "N")},
    own={
        "yes": ((), "B"),
        "no": ((), "B"),
        "leq": (("N", "N"), "B"),
        "also": (("B", "B"), "B"),
        "pick": (("B", "L", "L"), "L"),
        "ins": (("N", "L"), "L"),
        "sort": (("L",), "L"),
        "low": (("N", "L"), "B"),
        "sorted": (("L",), "B"),
        "sum": (("L",), "N"),
    },
    variables={"N": ("m", "n", "a", "x"), "B": ("b", "c"), "L": ("l", "r")},
    names={
        **{name: sequences.WORLD.names[name] for name in ("L", "nil", "cons", "len")},
        **peano.NUMBER_NAMES,
        "B": ("Flag", "Truth"),
        "yes": ("high", "on"),
        "no": ("off",),
        "leq": ("below", "atmost"),
        "also": ("both", "meet"),
        "pick": ("choose", "branch"),
        "ins": ("insert", "place"),
        "sort": ("arrange", "tidy"),
        "low": ("least", "head"),
        "sorted": ("ordered", "inorder"),
        "sum": ("total", "mass"),
    },
    swaps=(("add",), ("cons",), ("ins",), ("low",), ("also",)),
)
