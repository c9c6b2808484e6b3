"""Which texts get a process of their own: never one too few."""

from __future__ import annotations

import pytest

from prover.lean.runs_code import runs_code
from prover.lean.server import statement_source
from prover.lean.theorem import Theorem
from tests.exploits.attacks import SIDE_EFFECTS, SPOILING
from tests.lean.honest import PREAMBLE, proofs

RUNS = [
    *SPOILING.values(),
    *(text for text in SIDE_EFFECTS.values() if "#eval" in text),
    'macro "x" : term => `(3)',
    "local macro_rules | `(3) => `(2)",
    "@[simp, unknown_attribute] theorem a : True := trivial",
    "@[simp, tactic Lean.x] def a := 1",
    "attribute [local simp, term_elab x] a",
    "attribute -- here\n  [init] a",
    "attribute -- ]\n  [init] a",
    "@[inline -- ]\n, cpass] def a := 1",
    "@[simp /- ] -/, formatter k] def a := 1",
    "run_cmd pure ()",
    "theorem a : True := by run_tac pure ()",
    "theorem a : True := by decide +native",
    "theorem a : True := by native_decide",
    "initialize x : Nat ← pure 1",
    "@[implemented_by g] def f := 1",
    "unsafe def f := 1",
    "#guard f 1 == 2",
    "simproc s (1) := fun _ => pure .continue",
]
DOES_NOT = [
    "#check Nat\n#print axioms x\ntheorem a : 1 = 1 := rfl",
    "@[simp] theorem a : 1 = 1 := rfl\nattribute [local instance] b",
    "@[local simp ←] theorem a : 1 = 1 := rfl",
    "-- an alternative, and a definition initially prunes\ntheorem a (evaluate : Nat) : evaluate = evaluate := rfl",
    "variable (n : Nat)\nopen Nat in\ninstance : Inhabited Nat := ⟨n⟩",
]


@pytest.mark.parametrize("text", RUNS)
def test_may_run(text):
    assert runs_code(text)


@pytest.mark.parametrize("text", DOES_NOT)
def test_runs_nothing(text):
    assert not runs_code(text)


def test_honest_proofs_share_a_process():
    """Else a batch would start one for every line."""
    shared = [h for h in proofs() if not runs_code(statement_source(Theorem(h.name, h.statement, context=PREAMBLE), h.proof))]
    assert len(shared) > 0.95 * len(proofs())
