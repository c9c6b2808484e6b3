"""Which texts share a process of the audit."""

from __future__ import annotations

import asyncio

import pytest

from prover.errors import UserError
from prover.lean.audit import Auditor
from prover.lean.judges import Judges, Place
from prover.lean.runtime import find_runtime
from prover.lean.server import Limits
from prover.lean.theorem import Theorem

pytestmark = pytest.mark.lean

RUNS_NO_CODE = """universe u
open Nat (succ)
namespace A
section
variable {α : Type u} (p q : Prop)
inductive Both (p q : Prop) : Prop where
  | intro (left : p) (right : q) : Both p q
structure Pair (α : Type u) where
  first : α
  second : α
class Op (α : Type u) where
  op : α → α
theorem both (h : Both p q) : p := by
  cases h
  assumption
end
"""

MANY = "inductive T where\n" + "\n".join(f"  | c{i} (t : T)" for i in range(500))


@pytest.fixture(scope="module")
def judges(loop):
    judges = Judges(find_runtime(), Limits(heartbeats=400_000, seconds=60), fresh_every=500)
    yield judges
    loop.run(judges.close())


@pytest.mark.parametrize("context", ["", "-- a comment", RUNS_NO_CODE, "/- a comment -/\nopen Nat List"])
def test_what_runs_no_code_shares_a_process(loop, judges, context):
    assert loop.run(judges.may_share(Place(context=context)))


@pytest.mark.parametrize(
    "context",
    [
        "def one := 1",
        "abbrev T := Nat",
        "instance : Inhabited Nat := ⟨1⟩",
        "inductive T where | a\nderiving DecidableEq",
        "unsafe inductive T where | a (f : T → T)",
        "structure S where\n  x : Nat := by exact 1",
        "variable (x : Nat := by exact 1)",
        "structure S extends Lean.Meta.Simp.Config",
        "set_option maxRecDepth 100",
        "attribute [simp] Nat.add_comm",
        "@[simp] theorem a (n : Nat) : n + 0 = n := rfl",
        'local notation "one" => 1',
        'macro "one" : term => `(1)',
        "#eval 1",
        'run_cmd Lean.logInfo m!""',
        "open Nat in theorem a : True := by native_decide",
        "theorem a : True := by decide +native",
        'section\nvariable (p : Prop)\nopen Lean Elab\nelab "one" : term => return .sort .zero',
    ],
)
def test_other_contexts_get_a_process_of_their_own(loop, judges, context):
    assert not loop.run(judges.may_share(Place(context=context)))


def test_proofs_in_their_contexts(loop):
    """Contexts that declare different things under one name, some of them shared, are audited at once."""
    theorems = [
        Theorem("t", f": T → {one}", context=f"{context}\ninductive T : Prop where\n  | a (h : {one})")
        for context in ("", "def x := 1")
        for one in ("True", "False", "1 = 1")
    ]

    async def audited():
        async with Auditor() as auditor:
            return await asyncio.gather(*(auditor.audit(t, "intro h\ncases h\nassumption") for t in theorems))

    assert [v.verdict for v in loop.run(audited())] == ["proved"] * len(theorems)


@pytest.mark.parametrize("context", [MANY, f"def x := 1\n{MANY}"], ids=["shared", "apart"])
def test_a_context_over_its_time_is_no_judgement(loop, context):
    """A proof is not rejected because its context took too long, and is not held to that."""

    async def audited():
        async with Auditor(seconds=0.2) as auditor:
            theorem = Theorem("t", ": True", context=context)
            return [await auditor.audit(theorem, "trivial") for _ in range(2)]

    assert [v.verdict for v in loop.run(audited(), 300)] == ["error", "error"]


def test_a_start_that_failed_is_tried_again(loop, monkeypatch):
    """The fault is not one that real Lean has on demand."""
    judges, starts = Judges(find_runtime(), Limits(), 500), 0

    async def start():
        nonlocal starts
        starts += 1
        raise UserError(f"start {starts}")

    monkeypatch.setattr(judges, "_start", start)
    for number in (1, 2):
        with pytest.raises(UserError, match=f"start {number}"):
            loop.run(judges.may_share(Place(context="open Nat")))
