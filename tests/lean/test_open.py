"""Opening: by statement with its context, by library name from below, from source text with many sorries."""

from __future__ import annotations

import pytest

from prover.lean.server import LeanError
from prover.lean.theorem import Theorem

pytestmark = pytest.mark.lean

CONTEXTS = [
    ("open Nat", "(n : Nat) : succ n ≠ 0", "exact succ_ne_zero n", "n : Nat\n⊢ n.succ ≠ 0"),
    ("variable (n : Nat)", ": n + 0 = n", "exact Nat.add_zero n", "n : Nat\n⊢ n + 0 = n"),
    ("variable {α : Type} [Inhabited α]", "(x : α) : x = x", "rfl", "α : Type\ninst : Inhabited α\nx : α\n⊢ x = x"),
    ("namespace A\ndef two := 2", ": two = 2", "rfl", "⊢ two = 2"),
    ("namespace A.B\ndef two := 2\nend A.B\nopen A.B", ": two = 2", "unfold two; rfl", "⊢ two = 2"),
    ('notation "♯" x:max => Nat.succ x', ": ♯ 1 = 2", "rfl", "⊢ ♯1 = 2"),
    ('local infixl:65 " ⊞ " => Nat.add', ": 1 ⊞ 1 = 2", "rfl", "⊢ 1 ⊞ 1 = 2"),
    ("inductive Tree | leaf | node (l r : Tree)", "(t : Tree) : t = t", "rfl", "t : Tree\n⊢ t = t"),
    (
        "structure P where\n  x : Nat\n  y : Nat",
        "(p : P) : p = ⟨p.x, p.y⟩",
        "rfl",
        "p : P\n⊢ p = { x := p.x, y := p.y }",
    ),
    ("theorem helper (n : Nat) : n ≤ n := Nat.le_refl n", ": 2 ≤ 2", "exact helper 2", "⊢ 2 ≤ 2"),
    ("section\nvariable (k : Nat)\nend", ": 1 = 1", "rfl", "⊢ 1 = 1"),
    ("universe u\nvariable (α : Sort u)", "(x : α) : x = x", "rfl", "α : Sort u\nx : α\n⊢ x = x"),
    ("set_option autoImplicit true", "(x : β) : x = x", "rfl", "β : Sort u_1\nx : β\n⊢ x = x"),
    # Compiled, these would need what the embedded library leaves out; nothing here is ever run.
    ("def f (xs : List Nat) : List Nat := xs ++ [1]", ": f [] = [1]", "rfl", "⊢ f [] = [1]"),
    ("def g : Nat → List Nat\n  | 0 => []\n  | n + 1 => g n ++ [n]", ": g 2 = [0, 1]", "simp [g]", "⊢ g 2 = [0, 1]"),
    ('macro "triv" : tactic => `(tactic| rfl)', ": 1 = 1", "triv", "⊢ 1 = 1"),
    ("@[simp] theorem odd_fact : (37 : Nat) * 3 = 111 := rfl", ": 37 * 3 = 111", "simp", "⊢ 37 * 3 = 111"),
]


@pytest.mark.parametrize("context, statement, tactic, text", CONTEXTS)
def test_statement_in_its_context(loop, server, context, statement, tactic, text):
    state = loop.run(server.open(Theorem("t", statement, context=context)))
    assert [g.text for g in state.goals] == [text]
    (result,) = loop.run(server.step(state, [tactic]))
    assert result.solved, result
    loop.run(server.free([state]))


@pytest.mark.parametrize(
    "name, module, tactic",
    [
        ("List.length_reverse", "Init.Data.List.Basic", "simp [List.reverse]"),
        ("List.map_map", "Init.Data.List.Basic", "induction l <;> simp_all"),
        ("Option.map_id'", "Init.Data.Option.Basic", "cases x <;> rfl"),
    ],
)
def test_library_theorem_from_below(loop, server, name, module, tactic):
    state = loop.run(server.open(Theorem(name, library=name, imports=(module,))))
    assert state.goals[0].renamed == ()
    own, other = loop.run(server.step(state, [f"exact {name}", tactic]))
    assert "Unknown constant" in own.message  # the theorem is not in its own environment
    assert other.ok
    loop.run(server.free([state, *other.states]))


@pytest.mark.parametrize(
    "name, why", [("No.such_theorem", "no such constant"), ("Nat.add_comm", "already in these imports")]
)
def test_library_refusals(loop, server, name, why):
    with pytest.raises(LeanError, match=why):
        loop.run(server.open(Theorem(name, library=name, imports=("Init",))))


FILE = """namespace A
variable (n : Nat)

theorem a : n = n := by sorry

theorem b (h : n = 3) : n + 0 = 3 := by
  have := a n
  sorry

theorem c (p q : Prop) (hp : p) (hq : q) : p ∧ q := by
  constructor
  · sorry
  · sorry

theorem d (p q : Prop) (hp : p) : p ∨ q := Or.inl (sorry)

def f : Nat := sorry

theorem e : ∀ x : Nat, x = x := fun x => by
  cases x with
  | zero => sorry
  | succ k => sorry
end A

example : 1 = 2 := sorry
"""


def test_a_source_with_many_sorries(loop, server):
    found = loop.run(server.load(FILE, file="F.lean"))
    assert [(hole["decl"], [g.target for g in state.goals]) for hole, state in found] == [
        ("A.a", ["n = n"]),
        ("A.b", ["n + 0 = 3"]),
        ("A.c", ["p"]),
        ("A.c", ["q"]),
        ("A.d", ["p"]),
        ("A.f", ["Nat"]),
        ("A.e", ["0 = 0"]),
        ("A.e", ["k + 1 = k + 1"]),
        ("_example", ["1 = 2"]),
    ]
    for hole, _ in found:
        assert FILE.encode()[hole["start"] : hole["stop"]] == b"sorry"
    states = [state for _, state in found]
    assert loop.run(server.step(states[0], ["rfl"]))[0].solved
    assert loop.run(server.step(states[1], ["exact h"]))[0].solved
    assert loop.run(server.step(states[1], ["exact (a n) ▸ h"]))[0].ok  # what comes before is known
    assert not loop.run(server.step(states[1], ["exact c _ _ h h"]))[0].ok  # what comes after is not
    loop.run(server.restart())
    for state, tactic in [(states[7], "rfl"), (states[2], "exact hp"), (states[4], "exact hp")]:
        assert loop.run(server.step(state, [tactic]))[0].solved  # all come back with one elaboration
    loop.run(server.free(states))


@pytest.mark.parametrize("statement", ["(p : Prop) : p", "(x : Nat) : (match x with | 0 => 1 | n + 1 => n) > 0"])
@pytest.mark.parametrize(
    "tactic", ["exact t ..", "apply t", "exact _root_.t _", "exact?", "have := @t; exact this _", "simp [t]"]
)
def test_a_theorem_cannot_prove_itself(loop, server, statement, tactic):
    """Lean's own record of the environment at a `sorry` has the theorem that the `sorry` stands in."""
    state = loop.run(server.open(Theorem("t", statement)))
    (result,) = loop.run(server.step(state, [tactic]))
    assert not result.solved
    loop.run(server.free([state]))


@pytest.mark.parametrize(
    "source, where",
    [
        ("theorem a : 1 = 1 := by\n  foo\n", "F.lean:2:"),
        ("theorem a : 1 = := by sorry", "F.lean:1:1"),
        ("def x : Nat := true\n", "F.lean:1:15"),
        ("\n\ntheorem a : Missing := by sorry", "F.lean:3:0"),
        ("theorem a : 1 = 1 := by sorry\nend B\n", "F.lean:2:"),
    ],
)
def test_errors_name_their_place(loop, server, source, where):
    with pytest.raises(LeanError) as e:
        loop.run(server.load(source, file="F.lean"))
    assert str(e.value).startswith(where)


def test_unknown_import(loop, server):
    with pytest.raises(LeanError, match="No"):
        loop.run(server.load("theorem a : 1 = 1 := by sorry", imports=("No.Such",)))
    assert loop.run(server.load("theorem a : 1 = 1 := by sorry"))


def test_goals_that_share_a_delayed_assignment_stay_together(loop, server):
    """`fun x => ?f` assigns a hidden metavariable once `?f` is solved, and the second goal mentions only that one."""
    state = loop.run(server.open(Theorem("t", ": ∃ f : Nat → Nat, f 0 = 5 ∧ f 1 = 5")))
    (split,) = loop.run(server.step(state, ["refine ⟨fun x => ?f, ?_⟩"]))
    assert [len(s.goals) for s in split.states] == [2]
    (together,) = loop.run(server.step(split.states[0], ["exact 5"]))
    (closed,) = loop.run(server.step(together.states[0], ["exact ⟨rfl, rfl⟩"]))
    assert closed.solved, closed
    loop.run(server.free([state, *split.states, *together.states]))
