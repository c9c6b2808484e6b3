"""Small instances against false statements, and names that Lean binds by itself."""

from __future__ import annotations

import asyncio
from itertools import islice

import pytest

from prover.lean.audit import Auditor
from prover.lean.server import LeanError, LeanServer
from prover.lean.theorem import Goal, ProofState, Theorem
from prover.solve.instances import refute
from prover.solve.negation import negation
from prover.solve.remarks import auto_bound
from prover.solve.sample_values import SampleValues

COLOURS = "inductive Colour\n  | red\n  | green\nderiving DecidableEq\n"
FALSE = {
    "monus": ("(n : Nat) : n - 1 + 1 = n", "n = 0"),
    "numeral": ("(n : Nat) (h : n < 1000) : n ≠ 617", "n = 617"),
    "hypotheses": ("(a b c : Nat) (h : a < b) : a * c < b * c", "a = 0, b = 1, c = 0"),
    "rising": ("(a b c d : Nat) (h : a < b) (g : b < c) (f : c < d) : a + d < b + c", "a = 0, b = 1, c = 2, d = 3"),
    "lists": ("(xs ys : List Nat) : xs ++ ys = ys ++ xs", "xs = [0], ys = [1]"),
    "types": ("{α : Type u} [DecidableEq α] (x y : α) : x = y", "α = (ULift Nat), x = ⟨0⟩, y = ⟨1⟩"),
    "propositions": ("(p q : Prop) : p ∨ q → p ∧ q", "p = True, q = False"),
    "functions": ("(f : Nat → Nat) (h : ∀ n, f (f n) = n) : f 1 = 0", "f = (fun x => x)"),
    "integers": ("(i : Int) : i ≤ i * i * i", "i = (-2)"),
    "dependent": ("(n : Nat) (i : Fin n) (h : 1 < n) : i.val = 0", "n = 2, i = 1"),
    "own type": ("(c d : Colour) : c = d", "c = .red, d = .green"),
    "pairs": ("(p : Nat × Bool) : p.2 = true", "p = (0, false)"),
    "none": ("(o : Option Nat) : o.isSome = true", "o = none"),
}


@pytest.fixture(scope="module")
def loop():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def server(loop):
    started = LeanServer()
    loop.run(started.__aenter__())
    yield started
    loop.run(started.__aexit__(None, None, None))


@pytest.mark.parametrize(
    ("type_", "first"),
    [
        ("Nat", ["0", "1", "2"]),
        ("ℤ", ["0", "1", "(-1)"]),
        ("(Bool)", ["true", "false"]),
        ("List Bool", ["[]", "[true]", "[false]"]),
        ("Nat → Nat → Bool", ["(fun _ => (fun _ => true))", "(fun _ => (fun _ => false))"]),
        ("Nat × Bool", ["(0, true)", "(0, false)", "(1, true)"]),
        ("Fin 2", ["0", "1"]),
        ("Array (Fin 0)", ["#[]"]),
        ("Empty", []),
        ("a = b", None),
        ("Foo Nat", None),
        ("(" * 10_000, None),
    ],
)
def test_sample_values(type_: str, first: list[str] | None) -> None:
    found = SampleValues(Goal(""), "").of(type_)
    assert (found and list(islice(found, 3))[: len(first or [])]) == first


@pytest.mark.lean
@pytest.mark.parametrize("name", FALSE)
def test_a_small_instance_refutes(loop, server, name: str) -> None:
    statement, instance = FALSE[name]
    theorem = Theorem("t", statement, context=COLOURS)
    false = negation(theorem)
    assert false is not None

    async def work():
        found = await refute(false, await server.open(theorem), await server.open(false), server, 8)
        assert found.script is not None
        return found, await server.step(await server.open(false), (found.script,))

    found, (step,) = loop.run(work())
    assert found.reason == f"its negation is proved: false for {instance}" and found.calls <= 10 and step.solved


@pytest.mark.lean
def test_the_audit_accepts_an_instance_and_a_true_statement_has_none(loop, server) -> None:
    theorem = Theorem("t", "(n : Nat) : n - 1 + 1 = n")
    false = negation(theorem)
    true = Theorem("t", "(a b : Nat) (h : a < b) : a + 1 ≤ b")
    not_true = negation(true)
    assert false is not None and not_true is not None

    async def work():
        found = await refute(false, await server.open(theorem), await server.open(false), server, 8)
        none = await refute(not_true, await server.open(true), await server.open(not_true), server, 8)
        async with Auditor() as auditor:
            return found, none, await auditor.audit(false, found.script)

    found, none, verdict = loop.run(work())
    assert found.script == "intro h\nexact absurd (@h 0) (by decide)" and verdict.verdict == "proved"
    assert none.script is None and none.calls == 4


@pytest.mark.lean
@pytest.mark.parametrize(
    ("statement", "context", "names"),
    [
        ("(f : Nat → Nat) (h : f k = 3) : f k + f i = 3 + f i", "", "`k`, `i`"),
        ("(f : Nat → Nat) (n : Nat) : (List.range n).foldl (fun s j => s + f j) 0 + f j = 0", "", "`j`"),
        ("(x : β) : x = x", "", "`β`"),
        ("(x : Nat) (h : x = m + k) : x = m + k", "variable (m : Nat)", "`k`"),
        ("(f : Nat → Nat) (k : Nat) : f k = f k", "", None),
        ("{α : Type u} [Inhabited α] (x : α) : x = x", "", None),
        (": m = m", "variable (m : Nat)", None),
        ("(n : Nat) : ∀ k, k + n = n + k", "", None),
        (": 1 = 1", "", None),
    ],
)
def test_names_that_lean_binds(loop, server, statement: str, context: str, names: str | None) -> None:
    async def seen(theorem: Theorem) -> ProofState | None:
        try:
            return await server.open(theorem)
        except LeanError:
            return None

    theorem = Theorem("t", statement, context=context)

    async def work():
        return await auto_bound(theorem, await server.open(theorem), seen)

    found = loop.run(work())
    assert (found and found.detail) == names
