"""Infilling on real Lean: goals that are reached, and examples whose tactic leads to the goal after."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from prover.lean.theorem import Goal, Theorem
from prover.models.base import Query
from prover.search import Budget, Search, proof_tree, to_script
from prover.search.backward import conjectures
from prover.search.infill import InfillEnvironment, InfillPolicy
from rl.algorithms.infilling import DISTANCES, collect_infill
from rl.bench.infilling import cut
from tests.search.test_search_lean import Says, alone

pytestmark = pytest.mark.lean

SWAP = Theorem("swapped", "(p q r : Prop) : p ∧ q ∧ r → (r ∧ q) ∧ (q ∧ p)")
STEPS = Says("intro h", "constructor", "exact h.1", "exact h.2.1", "exact h.2.2")
BOTH = Theorem("both", "(p q : Prop) (hp : p) : p ∧ ∀ n : Nat, q ∨ n = n")


async def stepped(server, state, *tactics):
    """The first state after each tactic in turn, on the last group."""
    for tactic in tactics:
        (result,) = await server.step(state, (tactic,))
        assert result.ok, result.message
        state = result.states[-1]
    return state


def test_a_goal_counts_as_reached_up_to_bound_names_and_not_under_other_names(loop, server):
    async def run():
        root = await server.open(BOTH)
        right = await stepped(server, root, "constructor")
        env = InfillEnvironment(server, right)
        (split, renamed, more, failed) = await env.step(
            root,
            ("constructor", "refine ⟨?_, (?_ : ∀ m : Nat, q ∨ m = m)⟩", "constructor; exact hp; intro k", "exact hp"),
        )
        for result in (split, renamed):
            assert [s.goals[0].target for s in result.states] == ["p"] and result.order == ((0, 0),)
        assert [s.goals[0].target for s in more.states] == ["q ∨ k = k"]
        assert not failed.ok and len(env.arrivals) == 2
        # Under another name of a hypothesis, the tactics that follow would not apply.
        introduced = InfillEnvironment(server, await stepped(server, right, "intro k"))
        same, other = await introduced.step(right, ("intro k", "intro j"))
        assert same.solved and not other.solved

    loop.run(run())


def test_a_search_ends_at_the_goal_and_says_whether_it_came_by_way_of_it(loop, server):
    async def run(*tactics: str):
        root = await server.open(BOTH)
        env = InfillEnvironment(server, await stepped(server, root, "constructor"))
        search = Search(root, env, Says(*tactics), config=alone())
        result = await search.run(Budget(lean_calls=20))
        await search.close()
        return result.outcome, result.lean_calls_to_solve, result.outcome == "proved" and env.reached(search.graph)

    assert loop.run(run("constructor", "exact hp")) == ("proved", 4, True)  # both fail once
    assert loop.run(run("constructor")) == ("exhausted", None, False)
    assert loop.run(run("exact ⟨hp, fun _ => Or.inr rfl⟩")) == ("proved", 1, False)


def test_the_policy_is_told_the_goal():
    class Notes(Says):
        seen: list[Query] = []

        def suggest(self, queries, n):
            self.seen += queries
            return super().suggest(queries, n)

        def count_tokens(self, query, suggestions):
            return len(query.towards)

    from tests.models.sample_goals import query

    told = InfillPolicy(Notes("rfl"), "⊢ q")
    plain = query("⊢ p")
    assert told.suggest([plain], 1)[0][0].tactic == "rfl"
    assert [q.towards for q in Notes.seen] == ["⊢ q"] and told.count_tokens(plain, []) == 3


def test_a_clamped_tactic_leads_to_the_goal_after(loop, server):
    async def run():
        root = await server.open(SWAP)
        search = Search(root, server, STEPS, config=alone())
        assert (await search.run(Budget(lean_calls=200))).outcome == "proved"
        rows = [row for _, row in collect_infill(search.examples())]
        proof = proof_tree(search.graph)
        leading = {e.text: e.leading for e in search.examples()}
        return rows, proof, leading

    rows, proof, leading = loop.run(run())
    assert proof is not None and proof.size == 8
    assert {row["distance"] for row in rows} <= set(DISTANCES) and {1, 2, 3} <= {row["distance"] for row in rows}

    async def replayed(row):
        """Texts of the goals that the recorded tactics leave after `distance` levels, from the goal before."""
        level = [await server.open(SWAP)]
        while row["state"] not in [s.text for s in level]:
            level = await below(level)
        level = [s for s in level if s.text == row["state"]]
        (tactic, weight), *_ = row["tactics"]
        assert (tactic, weight) == (leading[row["state"]], 1.0)
        for _ in range(row["distance"]):
            level = await below(level)
        return [s.text for s in level]

    async def below(level):
        results = [(await server.step(s, (leading[s.text],)))[0] for s in level]
        assert all(r.ok for r in results)
        return [s for r in results for s in r.states]

    for row in rows:
        assert row["towards"] != row["state"] and row["towards"] in loop.run(replayed(row))


def test_holes_are_parts_of_the_proof(loop, server):
    async def run():
        root = await server.open(SWAP)
        search = Search(root, server, STEPS, config=alone())
        proof = (await search.run(Budget(lean_calls=200))).proof
        assert proof is not None
        root = await server.open(SWAP)
        holes = await cut(root, proof, server, 3, random.Random(0))
        assert [h.size for h in holes] == sorted({h.size for h in holes}) and {h.size for h in holes} <= {1, 2, 3}
        for hole in holes:
            # The proof's own tactics close it.
            tactics = {n.tactic for n in nodes(proof)}
            found = Search(
                hole.before, InfillEnvironment(server, hole.after), Says(*sorted(tactics)), config=alone("breadth")
            )
            result = await found.run(Budget(lean_calls=300))
            assert result.outcome == "proved"
            assert result.proof is not None and result.proof.size <= hole.size
        return len(holes)

    def nodes(tree):
        yield tree
        for child in tree.children:
            yield from nodes(child)

    assert loop.run(run()) >= 2


MIDDLE = Theorem("middle", "(a b c d : Prop) (ha : a) (h : a → b) (g : b → c) (f : c → d) : d ∧ d")


class Remembers(Says):
    """Notes the goal to reach of each query."""

    def __init__(self, *tactics: str) -> None:
        super().__init__(*tactics)
        self.told: dict[str, str] = {}

    def suggest(self, queries, n):
        self.told |= {q.state.text: q.towards for q in queries if not q.attempt}
        return super().suggest(queries, n)


def test_backward_steps_prove_a_conjecture_and_the_goal_from_it(loop, server):
    async def run(backward: int):
        policy = Remembers("constructor", "exact f h1", "exact g (h ha)")
        search = Search(await server.open(MIDDLE), server, policy, config=replace(alone(), backward=backward))
        result = await search.run(Budget(lean_calls=200))
        await search.close()
        return result, policy.told

    result, told = loop.run(run(4))
    assert result.outcome == "proved" and result.proof is not None
    assert "refine (fun h1 : c => ?_) ?_" in to_script(result.proof)
    given = "a b c d : Prop\nha : a\nh : a → b\ng : b → c\nf : c → d"
    # The policy is told `c` where the goal is to be proved from it, and nothing above and at `c` itself.
    after = {text.split("\n", 1)[1] if text.startswith("case") else text: told[text] for text in told}
    assert after[f"{given}\nh1 : c\n⊢ d ∧ d"].endswith(f"{given}\n⊢ c")
    assert after[f"{given}\n⊢ d ∧ d"] == after[f"{given}\n⊢ c"] == ""

    async def with_have():
        policy = Remembers("have h1 : c := ?_", "exact f h1")
        search = Search(await server.open(MIDDLE), server, policy, config=replace(alone(), backward=1))
        await search.run(Budget(lean_calls=12))
        await search.close()
        return policy.told

    # The goals that `have` leaves share a metavariable.
    told, stated = loop.run(with_have()), f"case refine_1\n{given}\n⊢ c"
    assert told[f"case refine_2\n{given}\nh1 : c\n⊢ d ∧ d\n\n{stated}"] == stated
    plain, told = loop.run(run(0))
    assert plain.outcome == "exhausted" and set(told.values()) == {""}


def test_conjectures_are_parts_of_implications_that_are_not_known():
    hypotheses = (("a", "Prop"), ("ha", "a"), ("h", "a → b → c"), ("g", "∀ x, p x → q"), ("f", "(a → d) → b"))
    assert conjectures(Goal("", hypotheses, "c")) == ["b", "a → d"]
