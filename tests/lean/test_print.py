"""A goal's text is what Lean prints, although most lines are printed once and cached."""

from __future__ import annotations

import pytest

from prover.lean.theorem import Theorem
from prover.search.lean_queries import answers

pytestmark = pytest.mark.lean

LONG = " ∧ ".join(f"alpha + {i} * beta = beta * {i} + alpha" for i in range(9))
CASES = [
    (
        "(p q r : Prop) (h : p ∧ q) : (q ∧ p) ∨ r",
        ["left", "cases h", "have k : q := h.2", "constructor; constructor", "clear r"],
    ),
    (
        "(n : Nat) (h : ∀ n : Nat, n = n) : ∀ n : Nat, n = n",
        ["intro m", "intro n", "have n := 1", "specialize h n", "revert n"],
    ),
    (
        "(x : Nat) (h : ∃ y, y > x ∧ ∀ x, x < y → x ≤ 3) : x < 9",
        ["obtain ⟨y, h⟩ := h", "obtain ⟨x, h⟩ := h", "cases h", "rcases h with ⟨_, _, _⟩"],
    ),
    (
        f"(alpha beta : Nat) (h : {LONG}) : {LONG}",
        ["refine ⟨?_, ?_⟩", "have := h", "obtain ⟨a, b⟩ := h", "simp only [Nat.add_comm]"],
    ),
    (
        "{α : Type} [DecidableEq α] (x y : α) (xs : List α) : x ∈ y :: xs → y ≠ x → x ∈ xs",
        ["intro h", "intro h k", "cases xs", "by_cases x = y"],
    ),
    (
        "(f : Nat → Nat) (a b : Nat) (h : f a = b) : ∃ c, f c = b",
        ["refine ⟨?_, ?_⟩", "constructor", "exists a", "generalize a = z at *", "subst h"],
    ),
    ("(n m : Nat) : let k := n + m; k = m + n", ["intro k", "intro k; have := k", "simp only []"]),
    ("(a b c : Nat) (h : a < b) : c = c", ["induction a", "induction c", "cases b", "have d : Nat := a", "rename_i"]),
    (
        "(P : Nat → Prop) (h : ∀ x, P x) : ∀ y, P (y + 1)",
        ["intro x", "intro h", "intro P", "have Q := P", "rename Nat → Prop => R"],
    ),
]


@pytest.mark.parametrize("statement, tactics", CASES)
def test_text_is_what_lean_prints(loop, server, statement, tactics):
    """`fail` says the goal as Lean prints it. Twice over, so that the second round meets what the first has printed."""

    async def go() -> int:
        root = await server.open(Theorem("t", statement))
        compared = 0
        todo = [(root, 2)]
        made = [root]
        while todo:
            state, depth = todo.pop()
            (failed,) = await server.step(state, ["fail"])
            assert failed.message.endswith(state.goals[0].text), (failed.message, state.text)
            compared += 1
            if depth:
                for _ in range(2):
                    for result in await server.step(state, tactics):
                        made += result.states
                        todo += [(s, depth - 1) for s in result.states if len(s.goals) == 1]
        await server.free(made)
        return compared

    assert loop.run(go()) > 5


def test_a_name_in_scope_changes_only_what_it_must(loop, server):
    """The same hypothesis under another name of its variable is another line."""

    async def go() -> list[str]:
        root = await server.open(Theorem("t", "(p : Nat → Prop) : ∀ n, p n → p (n + 0)"))
        results = await server.step(root, ["intro a ha", "intro b hb", "intro b ha", "intro a ha"])
        texts = [r.states[0].text for r in results]
        assert len({r.states[0].key for r in results}) == 1
        await server.free([root, *(s for r in results for s in r.states)])
        return texts

    one, two, three, again = loop.run(go())
    assert one == again and len({one, two, three}) == 3
    assert "ha : p a\n⊢ p (a + 0)" in one and "hb : p b\n⊢ p (b + 0)" in two and "ha : p b\n⊢ p (b + 0)" in three


def test_names_alike_with_other_types(loop, server):
    """Two branches may use one name, and Lean's own number, for variables of other types."""

    async def go() -> list[str]:
        root = await server.open(Theorem("t", "(q : Prop) : q → q"))
        results = await server.step(
            root, ["have f : ∀ {n : Nat}, n = n := rfl", "have f : ∀ (n : Nat), n = n := fun _ => rfl"]
        )
        after = [(await server.step(r.states[0], ["have k := @f 1", "have k : f = f := rfl"])) for r in results]
        texts = [r.states[0].text for pair in after for r in pair if r.ok]
        for pair in after:
            for r in pair:
                for s in r.states:
                    (failed,) = await server.step(s, ["fail"])
                    assert failed.message.endswith(s.text)
        await server.free([root])
        return texts

    assert len(set(loop.run(go()))) >= 3


@pytest.mark.parametrize(("question", "head"), [("exact?", "Try this"), ("try?", "Try these")])
def test_suggestions_of_lean(loop, server, question, head):
    """One message has one suggestion, or several."""
    state = loop.run(server.open(Theorem("t", "(p q : Prop) (a : p) (b : q) : p ∧ q")))
    (result,) = loop.run(server.step(state, [question]))
    assert [text.startswith(head) for text in result.said] == [True], result
    assert (len(answers(result.said)) > 1) == (head == "Try these")
    loop.run(server.free([state]))
