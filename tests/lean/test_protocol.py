"""Answers of the proof server to tactics: the goals or the error of real Lean."""

from __future__ import annotations

import asyncio

import pytest

from prover.lean.server import Limits
from prover.lean.theorem import Theorem

pytestmark = pytest.mark.lean

PQ = "(p q : Prop) (hp : p) (hq : q) : p ∧ q"
SWAP = "(p q : Prop) : p ∧ q → q ∧ p"
OR = "(p q : Prop) : p ∨ q → q ∨ p"
EX = ": ∃ n : Nat, n > 3 ∧ n < 5"
EQ = "(a b c : Nat) (h : a = b) (k : b = c) : a = c"
N = "(n : Nat) : n + 0 = n"
UNI = "(α : Type) (s : α → Prop) (𝔸 : ∀ x, s x) (β₁ : α) : s β₁"
F = "(f : Nat → Nat) (h : ∀ n, f n = n) : f (f 2) = 2"
P = "(p : Prop) : p"

# (statement, tactic, groups of goals: each goal as its hypotheses beyond the statement's own, and its target)
OK: list[tuple[str, str, list[list[str]]]] = [
    (PQ, "constructor", [["case left | ⊢ p"], ["case right | ⊢ q"]]),
    (PQ, "exact ⟨hp, hq⟩", []),
    (PQ, "refine ⟨?_, hq⟩", [["⊢ p"]]),
    (PQ, "apply And.intro", [["case left | ⊢ p"], ["case right | ⊢ q"]]),
    (PQ, "refine ⟨?a, ?b⟩\ncase b => exact hq", [["case a | ⊢ p"]]),
    (PQ, "constructor <;> assumption", []),
    (PQ, "constructor <;> skip", [["case left | ⊢ p"], ["case right | ⊢ q"]]),
    (PQ, "constructor\nnext => exact hp\nnext => exact hq", []),
    (PQ, "constructor\n· exact hp\n· exact hq", []),
    (PQ, "constructor; exact hp", [["case right | ⊢ q"]]),
    (PQ, "·exact ⟨hp, hq⟩", []),
    (PQ, "  exact ⟨hp, hq⟩  ", []),
    (PQ, "exact ⟨hp,hq⟩ -- a comment", []),
    (PQ, "/- a comment -/ exact ⟨hp,hq⟩", []),
    (PQ, "exact\n  ⟨hp,\n   hq⟩", []),
    (PQ, "all_goals constructor", [["case left | ⊢ p"], ["case right | ⊢ q"]]),
    (PQ, "skip", [["⊢ p ∧ q"]]),
    (PQ, "first | omega | exact ⟨hp, hq⟩", []),
    (PQ, "have r : q ∧ p := ⟨hq, hp⟩", [["r : q ∧ p | ⊢ p ∧ q"]]),
    (SWAP, "intro h", [["h : p ∧ q | ⊢ q ∧ p"]]),
    (SWAP, "intro ⟨a, b⟩", [["a : p | b : q | ⊢ q ∧ p"]]),
    (SWAP, "rintro ⟨a, b⟩", [["a : p | b : q | ⊢ q ∧ p"]]),
    (SWAP, "intro h; cases h with\n| intro a b => exact ⟨b, a⟩", []),
    (
        SWAP,
        "intro h; obtain ⟨a, b⟩ := h; constructor",
        [["case left | a : p | b : q | ⊢ q"], ["case right | a : p | b : q | ⊢ p"]],
    ),
    (SWAP, "exact fun ⟨a, b⟩ => ⟨b, a⟩", []),
    (OR, "rintro (a | b)", [["case inl | a : p | ⊢ q ∨ p"], ["case inr | b : q | ⊢ q ∨ p"]]),
    (OR, "intro h; rcases h with a | b", [["case inl | a : p | ⊢ q ∨ p"], ["case inr | b : q | ⊢ q ∨ p"]]),
    (OR, "intro h; exact h.symm", []),
    (OR, "intro h; left", [["case h | h : p ∨ q | ⊢ q"]]),
    (EX, "refine ⟨?n, ?_, ?_⟩", [["case n | ⊢ Nat", "case refine_1 | ⊢ ?n > 3", "case refine_2 | ⊢ ?n < 5"]]),
    (EX, "constructor", [["case h | ⊢ ?w > 3 ∧ ?w < 5", "case w | ⊢ Nat"]]),
    (EX, "exact ⟨4, by decide⟩", []),
    (EX, "exists 4", []),
    (EX, "refine ⟨?w, ?a, ?b⟩\ncase w => exact 4", [["case a | ⊢ 4 > 3"], ["case b | ⊢ 4 < 5"]]),
    (EX, "constructor; constructor", [["case h.left | ⊢ ?w > 3", "case h.right | ⊢ ?w < 5", "case w | ⊢ Nat"]]),
    (EQ, "rw [h]", [["⊢ b = c"]]),
    (EQ, "rw [h, k]", []),
    (EQ, "apply Eq.trans", [["case h₁ | ⊢ a = ?b", "case h₂ | ⊢ ?b = c", "case b | ⊢ Nat"]]),
    (EQ, "apply Eq.trans; exact h; exact k", []),
    (EQ, "calc a = b := h\n  _ = c := k", []),
    (EQ, "omega", []),
    (EQ, "simp_all", []),
    (EQ, "exact h ▸ k", []),
    (EQ, "suffices e : b = c by rw [h, e]", [["⊢ b = c"]]),
    (EQ, "symm", [["⊢ c = a"]]),
    (EQ, "have e : a = c := h.trans k", [["e : a = c | ⊢ a = c"]]),
    (EQ, "conv => lhs; rw [h]", [["⊢ b = c"]]),
    (N, "rfl", []),
    (N, "simp", []),
    (N, "induction n with\n| zero => rfl\n| succ m ih => rfl", []),
    (N, "match n with\n| 0 => rfl\n| n+1 => rfl", []),
    (N, "grind", []),
    (N, "simp (config := { maxSteps := 1000 })", []),
    (N, "simp +arith", []),
    (N, "induction n <;> simp", []),
    (UNI, "exact 𝔸 β₁", []),
    (UNI, "apply 𝔸", []),
    (": False", "exfalso", [["⊢ False"]]),
    (": False", "by_cases h : 1 = 1", [["case pos | h : 1 = 1 | ⊢ False"], ["case neg | h : ¬1 = 1 | ⊢ False"]]),
    (F, "rw [h]", [["⊢ f 2 = 2"]]),
    (F, "simp only [h]", []),
]

ERRORS = [
    (PQ, "exact hp", "Type mismatch"),
    (PQ, "exact ⟨_, hq⟩", "don't know how to synthesize placeholder"),
    (PQ, "exact ⟨?_, hq⟩", "don't know how to synthesize placeholder"),
    (PQ, "exact foo", "Unknown identifier `foo`"),
    (PQ, "done", "unsolved goals"),
    (PQ, 'fail "a\\nb"', "a"),
    (PQ, "constructor\nexact hq", "Type mismatch"),
    (PQ, "constructor\n· skip", "unsolved goals"),
    (PQ, "case nope => skip", "Case tag"),
    (PQ, "have : p := by skip", "unsolved goals"),
    (PQ, "", "unexpected end of input"),
    (PQ, "   \n ", "unexpected end of input"),
    (PQ, "exact (", "unexpected end of input"),
    (PQ, "exact hp )", "expected end of input"),
    (PQ, "foo bar", "unknown tactic"),
    (PQ, "constructor)", "expected end of input"),
    (PQ, "theorem x : p := hp", "or tactic"),
    (PQ, "skip\nend A", "expected end of input"),
    (PQ, "skip\ntheorem x : False := sorry", "expected end of input"),
    (EX, "refine ⟨_, ?_⟩", "don't know how to synthesize placeholder"),
    (N, "decide", "free variables"),
    (N, "ring", "unknown tactic"),
    (N, "simp only []", "no progress"),
    (": False", "decide", "false"),
    (": False", "omega", "omega could not prove"),
    (P, "trivial", "assumption"),
    (": (List.range 3000).length = 3000", "decide", "maximum recursion depth"),
    (P, "repeat skip", "maximum recursion depth"),
    (P, "exact " + "(" * 400 + "p" + ")" * 399, "unexpected end of input"),
    (P, "exact lcProof", "`lcProof` may not be used"),
    (P, "exact lcUnreachable", "`lcUnreachable` may not be used"),
    (P, 'simp (config := dbgTrace "x" fun _ => {})', "may not be used"),
    (P, "simp (maxSteps := unsafeCast 5)", "a computed configuration"),
    (P, "simp (config := { maxSteps := (fun x => x) 3 })", "a computed configuration"),
    (P, "let rec f (n : Nat) : p := f n\nexact f 0", ""),
    (P, "\x00", "expected token"),
    (P, "exact \ud800", ""),
]

SORRIES = [
    "sorry",
    "exact sorry",
    "exact (sorry : p)",
    "have h : p := sorry\nexact h",
    "have h : p := by sorry\nexact h",
    "admit",
    "skip <;> sorry",
    "first | fail | sorry",
    "exact sorryAx p",
    "exact sorryAx p true",
    "exact _root_.sorryAx p true",
    "exact @sorryAx p false",
    "exact (show p from by first | done | admit)",
    "stop",
    "apply?",
    "by_cases h : p; exact h; all_goals sorry",
    "refine sorryAx _ ?_; exact true",
    "exact cast sorry trivial",
    "exact let_fun h : p := sorry; h",
]


def lines(goal_text: str, given: str) -> str:
    """A goal without the hypotheses of the first one."""
    known = set(given.split("\n"))
    return " | ".join(line for line in goal_text.split("\n") if line not in known or line.startswith("⊢"))


@pytest.mark.parametrize("statement, tactic, groups", OK)
def test_goals(loop, server, statement, tactic, groups):
    state = loop.run(server.open(Theorem("t", statement)))
    (result,) = loop.run(server.step(state, [tactic]))
    assert result.status == "ok", result.message
    given = state.goals[0].text
    assert [[lines(g.text, given) for g in s.goals] for s in result.states] == groups
    assert result.solved == (not groups)
    assert sorted(result.order) == [(i, j) for i, group in enumerate(groups) for j in range(len(group))]
    loop.run(server.free([state, *result.states]))


@pytest.mark.parametrize("statement, tactic, why", ERRORS)
def test_errors(loop, server, statement, tactic, why):
    state = loop.run(server.open(Theorem("t", statement)))
    pid = server.pid
    (result,) = loop.run(server.step(state, [tactic]))
    assert result.status == "error" and not result.states
    assert why in result.message
    assert server.pid == pid
    loop.run(server.free([state]))


@pytest.mark.parametrize("tactic", SORRIES)
def test_sorry_in_any_form(loop, server, tactic):
    state = loop.run(server.open(Theorem("t", P)))
    (result,) = loop.run(server.step(state, [tactic]))
    assert result.status == "error"
    loop.run(server.free([state]))


def test_order_tells_leans_goal_list(loop, server):
    """Goals that share metavariables make a group; `order` puts the groups' goals back into Lean's order."""
    statement = ": (∃ n : Nat, n > 3) ∧ 1 = 1 ∧ ∃ m : Nat, m > 4"
    state = loop.run(server.open(Theorem("t", statement)))
    tactic = "refine ⟨⟨?a, ?_⟩, ?b, ⟨?c, ?_⟩⟩"
    (result,) = loop.run(server.step(state, [tactic]))
    targets = [[g.target for g in s.goals] for s in result.states]
    assert sorted(targets) == [["1 = 1"], ["Nat", "?a > 3"], ["Nat", "?c > 4"]]
    assert [targets[i][j] for i, j in result.order] == ["Nat", "?a > 3", "1 = 1", "Nat", "?c > 4"]
    # A tactic on the first goal of a group settles the metavariable in the others.
    group = next(s for s in result.states if s.goals[-1].target == "?a > 3")
    (after,) = loop.run(server.step(group, ["exact 5"]))
    assert [[g.target for g in s.goals] for s in after.states] == [["5 > 3"]]
    loop.run(server.free([state, *result.states, *after.states]))


@pytest.mark.parametrize(
    "statement, tactic, renamed, use",
    [
        (SWAP, "intro", ("a",), "exact ⟨a.2, a.1⟩"),
        (SWAP, "intro h; cases h", ("left", "right"), "exact ⟨right, left⟩"),
        ("(p q : Prop) (hp : p) : q → p", "intro p", ("p_1",), "exact hp"),
        ("(n : Nat) (h : n = 3) : ∀ n : Nat, n = n", "intro n", ("n_1",), "have : n_1 = 3 := h\nrfl"),
        ("(n : Nat) : n = n", "cases n", (), "rfl"),
        ("(p : Prop) : p → p → p", "intros", ("a", "a_1"), "exact a"),
        ("(p : Prop) : p → p", "intro this", (), "exact this"),
        ("(n : Nat) : n = n", "induction n using Nat.rec", (), "rfl"),
    ],
)
def test_inaccessible_hypotheses_get_names(loop, server, statement, tactic, renamed, use):
    state = loop.run(server.open(Theorem("t", statement)))
    (result,) = loop.run(server.step(state, [tactic]))
    goal = result.states[0].goals[0]
    assert goal.renamed == renamed
    assert "✝" not in goal.text
    assert set(renamed) <= {name for name, _ in goal.hypotheses}
    (closed,) = loop.run(server.step(result.states[0], [use]))
    assert closed.solved, closed.message
    loop.run(server.free([state, *result.states]))


def test_heartbeats_give_a_timeout_and_the_state_stays(loop, server):
    statement = "(a b c d e f : Nat) (h : a * b + c = d) : (a + b + c + d + e + f) ^ 4 = (f + e + d + c + b + a) ^ 4"
    state = loop.run(server.open(Theorem("t", statement)))
    before, server.limits = server.limits, Limits(heartbeats=20, seconds=60.0)
    try:
        pid = server.pid
        (result,) = loop.run(server.step(state, ["simp [Nat.pow_succ, Nat.mul_add, Nat.add_mul, Nat.add_comm]"]))
        assert result.status == "timeout", result
        (again,) = loop.run(server.step(state, ["skip"]))
        assert again.ok and again.states[0].key == state.key
        assert server.pid == pid
    finally:
        server.limits = before
    loop.run(server.free([state]))


def test_many_steps_at_once_each_get_their_own_answer(loop, server):
    async def go() -> None:
        states = [await server.open(Theorem("t", f"(n : Nat) (h : n = {i}) : n < {i + 1}")) for i in range(6)]
        tactics = ["omega", "skip", "exact foo", "subst h", *(f"have h{k} : {k} = {k} := rfl" for k in range(20))]
        answers = await asyncio.gather(*(server.step(s, tactics) for s in states))
        for i, results in enumerate(answers):
            assert [r.status for r in results[:4]] == ["ok", "ok", "error", "ok"]
            assert results[3].states[0].goals[0].target == f"{i} < {i + 1}"
            for k, result in enumerate(results[4:]):
                assert f"h{k} : {k} = {k}" in result.states[0].goals[0].text
        await server.free(states)

    loop.run(go())


def test_states_made_from_a_freed_state_can_be_replayed(loop, server):
    """Also after the freed state was replayed for one of them."""

    async def go() -> None:
        root = await server.open(Theorem("t", "(p q : Prop) (hp : p) (hq : q) : (p ∨ q) ∧ (q ∨ p)"))
        (whole,) = await server.step(root, ["constructor"])
        parent, beside = whole.states
        (left,) = await server.step(parent, ["apply Or.inl"])
        (right,) = await server.step(parent, ["apply Or.inr"])
        await server.free([root, parent])
        await server.restart()
        for state, tactic in ((left.states[0], "exact hp"), (right.states[0], "exact hq"), (beside, "exact Or.inl hq")):
            (done,) = await server.step(state, [tactic])
            assert done.solved, (tactic, done.message)
        # And where it is freed in the process that has it.
        root = await server.open(Theorem("u", "(p q : Prop) (hp : p) (hq : q) : p ∨ q"))
        (left,) = await server.step(root, ["apply Or.inl"])
        (right,) = await server.step(root, ["apply Or.inr"])
        await server.restart()
        (done,) = await server.step(left.states[0], ["exact hp"])
        assert done.solved
        await server.free([root])
        (done,) = await server.step(right.states[0], ["exact hq"])
        assert done.solved, done.message

    loop.run(go())


def test_sorries_of_a_context_are_freed(loop, server):
    known = len(server.handles)
    state = loop.run(
        server.open(Theorem("t", ": P ∨ True", context="def P : Prop := sorry\ntheorem before : 1 = 1 := by sorry"))
    )
    assert len(server.handles) == known + 1 and "P ∨ True" in state.text
    (done,) = loop.run(server.step(state, ["exact Or.inr trivial"]))
    assert done.solved
    loop.run(server.restart())
    (done,) = loop.run(server.step(state, ["exact Or.inr trivial"]))
    assert done.solved, done.message
    loop.run(server.free([state]))
    assert len(server.handles) == known


def test_freed_states(loop, server):
    known = len(server.handles)
    state = loop.run(server.open(Theorem("t", PQ)))
    (result,) = loop.run(server.step(state, ["constructor"]))
    loop.run(server.free([state]))
    (gone,) = loop.run(server.step(state, ["skip"]))
    assert gone.status == "error" and "freed" in gone.message
    (still,) = loop.run(server.step(result.states[0], ["exact hp"]))
    assert still.solved
    loop.run(server.restart())
    (back,) = loop.run(server.step(result.states[1], ["exact hq"]))  # by way of the freed state's recipe
    assert back.solved
    loop.run(server.free([*result.states, *result.states]))
    assert len(server.handles) == known
