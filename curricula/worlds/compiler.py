"""A compiler from expressions to code for a stack machine, which is correct, and an optimisation."""

from __future__ import annotations

from curricula.worlds import peano
from curricula.worlds.development import Development
from curricula.worlds.lemmas import lemmas

LEMMAS = lemmas("""
exec_code (e : E) (c : C) (s : S) : (exec (code e c) s) = (exec c (top (eval e) s))
  induction e generalizing c s with
  | (num n) => rw [code_num, exec_push, eval_num]
  | (both d e) ihd ihe => rw [code_both, ihd, ihe, exec_sum, fold_top_top, eval_both]
  | (twice e) ih => rw [code_twice, ih, exec_copy, dup_top, exec_sum, fold_top_top, eval_twice]
eval_swap (e : E) : (eval (swap e)) = (eval e)
  induction e with
  | (num n) => rfl
  | (both d e) ihd ihe => rw [swap_both, eval_both, ihd, ihe, eval_both, add_comm]
  | (twice e) ih => rw [swap_twice, eval_twice, ih, eval_twice]
swap_swap (e : E) : (swap (swap e)) = e
  induction e with
  | (num n) => rfl
  | (both d e) ihd ihe => rw [swap_both, swap_both, ihd, ihe]
  | (twice e) ih => rw [swap_twice, swap_twice, ih]
exec_swap (e : E) (c : C) (s : S) : (exec (code (swap e) c) s) = (exec (code e c) s)
  rw [exec_code, eval_swap, exec_code]
cat_halt_right (c : C) : (cat c (halt)) = c
  induction c with
  | (halt) => rfl
  | (push n c) ih => rw [cat_push, ih]
  | (sum c) ih => rw [cat_sum, ih]
  | (copy c) ih => rw [cat_copy, ih]
cat_assoc (b c k : C) : (cat (cat b c) k) = (cat b (cat c k))
  induction b with
  | (halt) => rfl
  | (push n b) ih => rw [cat_push, cat_push, ih, cat_push]
  | (sum b) ih => rw [cat_sum, cat_sum, ih, cat_sum]
  | (copy b) ih => rw [cat_copy, cat_copy, ih, cat_copy]
exec_cat (c k : C) (s : S) : (exec (cat c k) s) = (exec k (exec c s))
  induction c generalizing s with
  | (halt) => rfl
  | (push n c) ih => rw [cat_push, exec_push, ih, exec_push]
  | (sum c) ih => rw [cat_sum, exec_sum, ih, exec_sum]
  | (copy c) ih => rw [cat_copy, exec_copy, ih, exec_copy]
code_cat (e : E) (c k : C) : (cat (code e c) k) = (code e (cat c k))
  induction e generalizing c with
  | (num n) => rfl
  | (both d e) ihd ihe => rw [code_both, ihd, ihe, cat_sum, code_both]
  | (twice e) ih => rw [code_twice, ih, cat_copy, cat_sum, code_twice]
exec_halt_code (e : E) (s : S) : (exec (code e (halt)) s) = (top (eval e) s)
  rw [exec_code, exec_halt]
eval_of_exec (d e : E) (h : ∀ c s, (exec (code d c) s) = (exec (code e c) s)) : (eval d) = (eval e)
  have g := h (halt) (bare)
  rw [exec_code, exec_code, exec_halt, exec_halt] at g
  injection g
""")

WORLD = Development(
    name="programs",
    types={
        "N": peano.WORLD.types["N"],
        "E": {"num": ("N",), "both": ("E", "E"), "twice": ("E",)},
        "C": {"halt": (), "push": ("N", "C"), "sum": ("C",), "copy": ("C",)},
        "S": {"bare": (), "top": ("N", "S")},
    },
    functions=(
        peano.WORLD.functions[0],
        "eval : E → N\n(eval (num n)) = n\n(eval (both d e)) = (add (eval d) (eval e))\n(eval (twice e)) = (add (eval e) (eval e))",
        "fold : S → S\n(fold (bare)) = (bare)\n(fold (top m (bare))) = (top m (bare))\n"
        "(fold (top m (top n s))) = (top (add n m) s)",
        "dup : S → S\n(dup (bare)) = (bare)\n(dup (top m s)) = (top m (top m s))",
        "exec : C → S → S\n(exec (halt) s) = s\n(exec (push n c) s) = (exec c (top n s))\n"
        "(exec (sum c) s) = (exec c (fold s))\n(exec (copy c) s) = (exec c (dup s))",
        "code : E → C → C\n(code (num n) c) = (push n c)\n(code (both d e) c) = (code d (code e (sum c)))\n"
        "(code (twice e) c) = (code e (copy (sum c)))",
        "cat : C → C → C\n(cat (halt) k) = k\n(cat (push n c) k) = (push n (cat c k))\n"
        "(cat (sum c) k) = (sum (cat c k))\n(cat (copy c) k) = (copy (cat c k))",
        "swap : E → E\n(swap (num n)) = (num n)\n(swap (both d e)) = (both (swap e) (swap d))\n(swap (twice e)) = (twice (swap e))",
    ),
    lemmas=(*peano.ADDITION, *LEMMAS),
    lean_types={sort: sort for sort in "NECS"},
    borrowed=peano.OPERATIONS,
    own={
        "num": (("N",), "E"),
        "both": (("E", "E"), "E"),
        "twice": (("E",), "E"),
        "halt": ((), "C"),
        "push": (("N", "C"), "C"),
        "sum": (("C",), "C"),
        "copy": (("C",), "C"),
        "bare": ((), "S"),
        "top": (("N", "S"), "S"),
        "eval": (("E",), "N"),
        "fold": (("S",), "S"),
        "dup": (("S",), "S"),
        "exec": (("C", "S"), "S"),
        "code": (("E", "C"), "C"),
        "cat": (("C", "C"), "C"),
        "swap": (("E",), "E"),
    },
    variables={"N": ("m", "n", "a"), "E": ("d", "e"), "C": ("b", "c", "k"), "S": ("s", "r")},
    names={
        **peano.NUMBER_NAMES,
        "E": ("Expr", "Formula"),
        "C": ("Code", "Program"),
        "S": ("Stack", "Pile"),
        "num": ("lit", "value"),
        "both": ("total", "pair"),
        "twice": ("doubled",),
        "halt": ("stop", "done"),
        "push": ("load", "put"),
        "sum": ("fuse", "merge"),
        "copy": ("again", "clone"),
        "bare": ("empty", "void"),
        "top": ("over", "atop"),
        "eval": ("meaning", "sem"),
        "fold": ("merged", "shrink"),
        "dup": ("cloned", "grow"),
        "exec": ("run", "go"),
        "code": ("compile", "trans"),
        "cat": ("seq", "glue"),
        "swap": ("turn", "opt"),
    },
    swaps=(("add",), ("exec",), ("code",), ("top",)),
)
