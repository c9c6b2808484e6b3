"""Searches on real Lean: deterministic, resumable, with shared budgets and freed states, and proofs that Lean accepts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from prover.lean.server import LeanServer, Limits, statement_source
from prover.lean.steps import Step
from prover.lean.theorem import ProofNode, ProofState, StepResult, Theorem
from prover.models.base import Query, Suggestion
from prover.models.tactic_templates import Explorer, Portfolio
from prover.search import RULES, Budget, Search, SearchConfig, checker, minimise, proof_tree, search_both, to_script
from prover.search.graph import Edge, Graph, Node
from prover.search.script import checked_script
from tests.lean.test_limits import ARITHMETIC
from tests.search.checks import check_graph

pytestmark = pytest.mark.lean

SWAP = Theorem("swap", "(p q r : Prop) (h : p ∧ q ∧ r) : (r ∧ q) ∧ (q ∧ p)")
ZERO = Theorem("zero", "(xs : List Nat) (h : xs.length = 0) : xs ++ xs = [] ∧ xs.reverse = []")
PARTLY = Theorem(
    "partly",
    "(f : Nat → Nat) (xs : List Nat) (h : xs ≠ []) : (∃ y, y ∈ xs) ∧ (xs.map f).length = xs.length ∧ f 0 = f 1",
)
"""The last part is false for some f: searches go on for ever, and prove the others."""


class Says:
    """A policy that offers the same tactics on every goal, in this order."""

    def __init__(self, *tactics: str) -> None:
        self.tactics = tactics

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return [
            [Suggestion(t, -1.0 - 0.1 * i) for i, t in enumerate(self.tactics)] if not q.attempt else []
            for q in queries
        ]


class Watched:
    """A server, with every step on it written down by the goal's text."""

    def __init__(self, server: LeanServer) -> None:
        self.server = server
        self.steps: list[tuple[str, str, str]] = []

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        results = await self.server.step(state, tactics)
        self.steps += [(state.text, t, r.status) for t, r in zip(tactics, results, strict=True)]
        return results

    async def free(self, states: Sequence[ProofState]) -> None:
        await self.server.free(states)


def alone(selection: str = "puct", seed: int = 0) -> SearchConfig:
    return SearchConfig(selection=selection, in_flight=1, model_thread=False, seed=seed)


def often(*rules: str, of: Iterable[str] = RULES) -> list[Any]:
    """Selection rules as parameters; those that are not named are slow."""
    return [pytest.param(rule, marks=() if rule in rules else pytest.mark.slow) for rule in of]


@pytest.mark.parametrize("selection", often("puct", "best_first", "rollout"))
def test_one_worker_repeats_itself(loop, server, selection):
    async def once(seed: int):
        env = Watched(server)
        search = Search(await server.open(PARTLY), env, Explorer(None, seed), config=alone(selection, seed))
        result = await search.run(Budget(lean_calls=100))
        tree = [(e.tactic, e.status, e.visits, e.value) for n in search.graph.nodes.values() for e in n.edges]
        await search.close()
        return env.steps, tree, result.outcome, result.lean_calls, result.lean_calls_to_solve

    first, again, other = loop.run(once(1)), loop.run(once(1)), loop.run(once(2))
    assert first == again
    assert first[0] != other[0]


@pytest.mark.parametrize("theorem", [PARTLY, SWAP])
@pytest.mark.parametrize("selection", often("puct", of=("puct", "best_first", "rmax")))
def test_a_saved_search_continues_as_if_never_interrupted(loop, server, selection, theorem):
    async def whole():
        env = Watched(server)
        search = Search(await server.open(theorem), env, Explorer(None, 3), config=alone(selection))
        result = await search.run(Budget(lean_calls=90))
        await search.close()
        return env.steps, result.outcome, result.lean_calls, result.proof

    async def in_parts():
        made: list[tuple[str, str, str]] = []
        env = Watched(server)
        search = Search(await server.open(theorem), env, Explorer(None, 3), config=alone(selection))
        await search.run(Budget(lean_calls=25))
        for calls in (40, 25):
            data = search.to_bytes()
            await search.close()  # Lean has forgotten everything
            made += env.steps
            env = Watched(server)
            search = Search.from_bytes(data, await server.open(theorem), env, Explorer(None, 3))
            result = await search.run(Budget(lean_calls=calls))
            check_graph(search.graph, at_rest=True)
            replays = result.stats.replay_calls
        await search.close()
        return made + env.steps, result.outcome, result.lean_calls, result.proof, replays

    steps, *end = loop.run(whole())
    parts, outcome, calls, proof, replays = loop.run(in_parts())
    assert [outcome, calls, proof] == end
    assert len(parts) == len(steps) + replays
    assert set(parts) == set(steps)  # a replay repeats a step that was made


def test_theorem_and_negation_share_calls_at_the_rate(loop, server):
    # Neither side can be proved by these tactics: each new goal has the same ones again.
    endless = Says(*(f"have h{i} : {i} = {i} := rfl" for i in range(6)))
    theorem, negated = Theorem("t", "(p : Prop) : p"), Theorem("n", ": ¬ ∀ (p q : Prop), p → q")

    async def run(rate: float):
        sides = [Search(await server.open(t), server, endless, config=alone()) for t in (theorem, negated)]
        results = await search_both(sides[0], sides[1], Budget(lean_calls=80), rate, slice_calls=8)
        for side in sides:
            await side.close()
        return [r.lean_calls for r in results]

    for rate in (0.0, 0.25, 1.0):
        yes, no = loop.run(run(rate))
        assert yes + no == 80 and abs(no - 80 * rate) <= 8, (rate, yes, no)


def test_a_false_statement_is_disproved_and_the_audit_agrees(loop, server, auditor):
    theorem = Theorem("all_true", "(b : Bool) : b = true")
    negated = Theorem("all_true.negated", ": ¬ ∀ (b : Bool), (b = true)")

    async def run():
        sides = [Search(await server.open(t), server, Explorer(None, 0), config=alone()) for t in (theorem, negated)]
        results = await search_both(sides[0], sides[1], Budget(lean_calls=400))
        for side in sides:
            await side.close()
        return results

    yes, no = loop.run(run())
    assert yes.proof is None and no.outcome == "proved"
    assert loop.run(auditor.audit(negated, to_script(no.proof))).verdict == "proved"


async def held_by_lean(server: LeanServer, first: int, last: int) -> list[int]:
    """The numbers of the states that the Lean process still has."""
    await asyncio.sleep(0)  # what was freed just now is told to Lean together
    alive = []
    for remote in range(first, last):
        number, future = next(server.numbers), asyncio.get_running_loop().create_future()
        server.queue.expect(number, Step(number, 0, "fail", future, replay=True))
        server.write_steps([[number, remote, 'fail "alive"']], 1000)
        if "alive" in (await future).m:
            alive.append(remote)
    return alive


@pytest.mark.parametrize("selection", often("puct", "rollout", of=("puct", "best_first", "rollout")))
def test_dead_subtrees_are_freed_and_in_the_end_all(loop, server, selection):
    async def run():
        before = len(server.handles)
        root = await server.open(PARTLY)
        first = server.handles[root.id].remote
        config = SearchConfig(selection=selection, in_flight=4, model_thread=False)
        search = Search(root, server, Explorer(None, 0), config=config)
        result = await search.run(Budget(lean_calls=400))
        # At rest Lean holds exactly the states of goals that still matter.
        relevant = {n.state.id for n in search.graph.nodes.values() if n.has_state}
        assert all(n.relevant or n is search.graph.root for n in search.graph.nodes.values() if n.has_state)
        last = max(server.handles[i].remote for i in relevant) + 1
        probe = await server.open(PARTLY)
        end = server.handles[probe.id].remote
        alive = await held_by_lean(server, first, end)
        assert sorted(alive) == sorted(server.handles[i].remote for i in relevant)
        assert last <= end and len(search.graph.nodes) > len(relevant) and result.stats.freed > 0
        await search.close()
        await server.free([probe])
        assert await held_by_lean(server, first, end + 1) == []
        assert len(server.handles) == before

    loop.run(run())


def test_found_proofs_are_structured_and_lean_reads_them_back(loop, server, auditor):
    policy = Says("cases h", "constructor", "assumption", "rcases h with ⟨a, b, c⟩", "skip", "simp_all")

    async def run():
        root = await server.open(SWAP)
        search = Search(root, server, Says(*policy.tactics[:4]), config=alone())
        result = await search.run(Budget(lean_calls=400))
        await search.close()
        return result

    result = loop.run(run())
    assert result.outcome == "proved" and result.proof is not None
    script = to_script(result.proof)
    assert "· " in script
    assert loop.run(auditor.audit(SWAP, script)).verdict == "proved"
    source = statement_source(SWAP, script)
    (verdict,) = loop.run(auditor.audit_source(source))
    assert verdict.verdict == "proved", (source, verdict)

    async def shorter():
        root = await server.open(SWAP)

        found = await minimise(SWAP, result.proof, checker(server, root))
        await server.free([root])
        return found

    proof = loop.run(shorter())
    assert proof.tree is not None and proof.tree.size < result.proof.size
    assert loop.run(auditor.audit(SWAP, proof.script)).verdict == "proved"


def test_a_goal_met_by_two_ways_is_named_as_its_proof_needs(loop, server, auditor):
    """`cases y` and then `cases x` leaves one hypothesis at a time without a name, both at once leave two: the same goal, and
    the shorter proof is by the way that came second."""
    theorem = Theorem("fields", "(x y : Nat × Nat) (p : Nat → Prop) (h : p x.1 → p y.2) : p x.1 → p y.2")

    async def run() -> ProofNode | None:
        root = await server.open(theorem)
        graph = Graph(root, alone())

        async def do(node: Node, tactic: str) -> Edge:
            graph.add_tactics(node, [Suggestion(tactic, -1.0)])
            edge = next(e for e in node.edges if e.tactic == tactic)
            graph.claim(edge)
            (result,) = await server.step(node.state, (tactic,))
            graph.apply(edge, result)
            return edge

        (half,) = (await do(graph.root, "cases y")).children
        (whole,) = (await do(half, "cases x")).children
        assert whole.state.goals[0].renamed == ("fst_1", "snd_1")
        assert (await do(graph.root, "cases y <;> cases x")).children == (whole,)
        await do(whole, "exact fun k => (h k : p snd)")
        return proof_tree(graph)

    tree = loop.run(run())
    assert tree is not None and tree.size == 2
    verdict = loop.run(auditor.audit(theorem, to_script(tree)))
    assert verdict.verdict == "proved", (to_script(tree), verdict)


async def found_by(server: LeanServer, theorem: Theorem, tactics: tuple[str, ...]) -> ProofNode | None:
    """The proof that a search finds if it tries these tactics, each on the first goal that the one before left."""
    graph = Graph(await server.open(theorem), alone())
    node = graph.root
    for tactic in tactics:
        graph.add_tactics(node, [Suggestion(tactic, -1.0)])
        edge = next(e for e in node.edges if e.tactic == tactic)
        graph.claim(edge)
        (result,) = await server.step(node.state, (tactic,))
        assert result.ok, result.message
        graph.apply(edge, result)
        node = edge.children[0] if edge.children else node
    return proof_tree(graph)


def test_a_goal_that_waited_in_its_group_is_named_when_it_comes_first(loop, server, auditor):
    """`apply Nat.le_trans` leaves a group of three goals, with the names that `intros` did not give: those of the second goal are
    told with the group, and said when its turn comes."""
    theorem = Theorem("waits", ": ∀ n k : Nat, n + 1 ≤ k → n + 1 ≤ k")

    tree = loop.run(found_by(server, theorem, ("intros; apply Nat.le_trans", "exact Nat.le_refl _", "exact a")))
    assert tree is not None and tree.size == 3
    script = to_script(tree)
    assert "rename_i" in script
    verdict = loop.run(auditor.audit(theorem, script))
    assert verdict.verdict == "proved", (script, verdict)


def test_names_that_were_not_needed_before_do_not_shift_later_ones(loop, server, auditor):
    """`intro h1` hides a hypothesis that is older than those that `cases left` left without names. `rename_i` counts these too."""
    theorem = Theorem("hidden", "(a q d : Prop) (h0 : (a ∧ q) ∧ q) (h1 : q → d) : a → d")

    tree = loop.run(
        found_by(server, theorem, ("cases h0", "cases left", "intro h1", "have h2 := h1_1 right", "exact h2"))
    )
    assert tree is not None and tree.size == 5
    script = to_script(tree)
    assert script.count("rename_i") == 3, script
    verdict = loop.run(auditor.audit(theorem, script))
    assert verdict.verdict == "proved", (script, verdict)


def test_a_script_has_no_bullets_before_the_library_defines_them(loop, server, auditor):
    imports = ("Init.SimpLemmas", "Init.Data.NeZero")
    theorem = Theorem("Nat.instNeZeroSucc", library="Nat.instNeZeroSucc", imports=imports)
    closing = ProofNode("constructor", (ProofNode("exact Nat.noConfusion"),), ((0, 0),))
    tree = ProofNode("cases n", (closing, closing), ((0, 0), (1, 0)))
    assert "· " in to_script(tree)

    async def write() -> str:
        root = await server.open(theorem)
        try:
            return await checked_script(tree, checker(server, root))
        finally:
            await server.free([root])

    script = loop.run(write())
    assert "· " not in script
    verdict = loop.run(auditor.audit(theorem, script))
    assert verdict.verdict == "proved", (script, verdict)


@pytest.mark.parametrize(
    "theorem, tactics",
    [
        # The witness is found by proving the second goal: it stands in both.
        (Theorem("e", ": ∃ n : Nat, n = 3 ∧ n < 5"), ("apply Exists.intro", "constructor", "rfl", "decide")),
        (
            Theorem("c", "(a b c : Nat) (h₁ : a ≤ b) (h₂ : b ≤ c) : a ≤ c ∧ a ≤ b"),
            ("constructor", "apply Nat.le_trans", "exact h₁", "exact h₂"),
        ),
    ],
)
def test_goals_that_share_a_metavariable_stay_together(loop, server, auditor, theorem, tactics):
    async def run():
        search = Search(await server.open(theorem), server, Says(*tactics), config=alone())
        result = await search.run(Budget(lean_calls=200))
        groups = [n.state.goals for n in search.graph.nodes.values()]
        await search.close()
        return result, groups

    result, groups = loop.run(run())
    together = [g for g in groups if len(g) > 1]
    assert together and all(any("?" in goal.text for goal in g) for g in together)
    assert result.outcome == "proved"
    script = to_script(result.proof)
    verdict = loop.run(auditor.audit(theorem, script))
    assert verdict.verdict == "proved", (script, verdict)


def test_a_process_that_dies_costs_one_tactic(loop):
    async def run():
        async with LeanServer(limits=Limits(heartbeats=0, seconds=2.0)) as server:
            search = Search(
                await server.open(SWAP), server, Says(ARITHMETIC, "constructor", "simp_all"), config=alone()
            )
            result = await search.run(Budget(lean_calls=60))
            await search.close()
            return result, server.counters.restarts

    result, restarts = loop.run(run())
    assert result.outcome == "proved" and restarts == 1 and result.stats.errors == {"timeout": 1}


def test_the_portfolio_alone(loop, server):
    async def run():
        search = Search(await server.open(ZERO), server, Portfolio(), config=alone())
        result = await search.run()
        await search.close()
        return result

    assert loop.run(run()).outcome == "proved"
