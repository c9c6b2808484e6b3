"""Stable keys: equal exactly for goals equal up to names of bound and free variables."""

from __future__ import annotations

import pytest

from prover.lean.theorem import Theorem

pytestmark = pytest.mark.lean

EQUAL = [
    ("(p q : Prop) (h : p) : q", "(a b : Prop) (k : a) : b"),
    (": ∀ x : Nat, x = x", ": ∀ y : Nat, y = y"),
    ("(n : Nat) : ∃ m, m > n", "(k : Nat) : ∃ z, z > k"),
    ("(f : Nat → Nat) : (fun x => f x) = f", "(g : Nat → Nat) : (fun y => g y) = g"),
    ("{α : Type} (xs : List α) : xs ++ [] = xs", "{β : Type} (l : List β) : l ++ [] = l"),
    ("(n : Nat) : let m := n + 1; m > n", "(k : Nat) : let j := k + 1; j > k"),
    ("(h : 1 = 2) : False", "(x✝ : 1 = 2) : False"),
    ("[Inhabited Nat] : Nat.zero = 0", "[i : Inhabited Nat] : Nat.zero = 0"),
]

DIFFERENT = [
    ("(p q : Prop) (h : p) : q", "(p q : Prop) (h : q) : q"),
    ("(p q : Prop) (h : p) : q", "(p q : Prop) : q"),
    ("(p q : Prop) : p", "(p q : Prop) : q"),
    ("(n : Nat) : n + 0 = n", "(n : Nat) : 0 + n = n"),
    ("(n : Nat) : n + 0 = n", "(n : Int) : n + 0 = n"),
    (": (1 : Nat) = 1", ": (1 : Nat) = 2"),
    (": ∀ x : Nat, ∃ y, x = y", ": ∀ x : Nat, ∃ y, y = x"),
    ("(n : Nat) : let m := n + 1; m > n", "(n : Nat) : let m := n + 2; m > n"),
    ("{α : Type} (x : α) : x = x", "{α : Prop} (x : α) : x = x"),
    ("(p : Prop) (h : p) (k : p) : p", "(p : Prop) (h : p) : p"),
    (': "a" = "a"', ': "b" = "b"'),
]


async def key(server, statement: str, tactic: str | None = None) -> str:
    state = await server.open(Theorem("t", statement.replace("x✝", "hidden")))
    try:
        if tactic is None:
            return state.key
        (result,) = await server.step(state, [tactic])
        assert result.ok, result.message
        keys = " ".join(sorted(s.key for s in result.states))
        await server.free(result.states)
        return keys
    finally:
        await server.free([state])


@pytest.mark.parametrize("one, other", EQUAL)
def test_equal_up_to_names(loop, server, one, other):
    assert loop.run(key(server, one)) == loop.run(key(server, other))


@pytest.mark.parametrize("one, other", DIFFERENT)
def test_different(loop, server, one, other):
    assert loop.run(key(server, one)) != loop.run(key(server, other))


@pytest.mark.parametrize(
    "statement, one, other, equal",
    [
        (": ∃ n : Nat, n > 3", "refine ⟨?n, ?_⟩", "refine ⟨?m, ?_⟩", True),
        (": ∃ n : Nat, n > 3", "refine ⟨?n, ?_⟩", "apply Exists.intro", False),  # the goals stand in another order
        (": ∃ n m : Nat, n > m", "refine ⟨?a, ?b, ?_⟩", "refine ⟨?b, ?a, ?_⟩", True),
        (": ∃ n m : Nat, n > m", "refine ⟨?a, ?b, ?_⟩", "refine ⟨?a, 3, ?_⟩", False),
        ("(a b c : Nat) (h : a = b) : a = c", "apply Eq.trans", "refine Eq.trans (b := ?q) ?_ ?_", False),
        ("(a b c : Nat) (h : a = b) : a = c", "apply Eq.trans h", "rw [h]", True),
        ("(p q : Prop) : p → q → p", "intro a b", "intro x y", True),
        ("(p q : Prop) : p → q → p", "intro a b", "intros", True),
        ("(p q : Prop) : p → q → p", "intro a b", "intro a", False),
        ("(n : Nat) : n = n", "cases n", "induction n", False),
        ("(n : Nat) : 0 + n = n", "skip", "show 0 + n = n", True),
        ("(n : Nat) : n = n", "let k := n + 1", "let j := n + 1", True),  # a `let` that nothing uses
        ("(n : Nat) : n = n", "let k := n + 1", "let k := n + 2", False),
        ("(n : Nat) : n = n", "let k := n + 1", "skip", False),
    ],
)
def test_after_tactics(loop, server, statement, one, other, equal):
    a, b = loop.run(key(server, statement, one)), loop.run(key(server, statement, other))
    assert (a == b) == equal


def test_the_same_in_another_process(loop, server):
    before = [loop.run(key(server, s)) for pair in EQUAL for s in pair]
    loop.run(server.restart())
    assert [loop.run(key(server, s)) for pair in EQUAL for s in pair] == before
