"""Budgets, freeing, merging, widening, examples, disproof, memory and overhead of the search loop."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import sys
import tracemalloc
import zlib
from collections.abc import Sequence
from types import FrameType
from typing import Any, cast

import pytest

from prover.errors import UserError
from prover.lean.theorem import Goal, ProofState, StepResult
from prover.models.base import Query, Suggestion, ValueEstimate
from prover.search import Budget, Search, SearchConfig, search_both
from prover.search.graph import DUPLICATE, Graph
from prover.search.select import edge_value
from tests.search.checks import check_graph
from tests.search.synthetic import Knows, Problem, Tactics, World, chain, started


def test_statuses_are_counted_and_the_proof_is_returned() -> None:
    async def run() -> None:
        problem = Problem(
            (((-0.1, "error"), (-0.2, "timeout"), (-0.3, "memory"), (-0.4, "crash"), (-0.5, (0,)), (-0.6, ())),)
        )
        search, world = started(problem, in_flight=1)
        result = await search.run()
        assert result.outcome == "proved" and result.proof is not None and result.proof.tactic == "t5"
        assert result.stats.errors == {"error": 1, "timeout": 1, "memory": 1, "crash": 1, "cycle": 1}
        assert result.lean_calls == result.lean_calls_to_solve == 6
        await search.close()
        await search.close()
        assert not world.held
        with pytest.raises(RuntimeError, match="closed"):
            await search.run()

    asyncio.run(run())


@pytest.mark.parametrize("selection", ["puct", "rollout", "best_first", "best_tactic"])
def test_the_budget_in_lean_calls_is_never_exceeded(selection: str) -> None:
    async def run() -> None:
        search, world = started(
            chain(40), world=World(chain(40), delay_s=0.0), in_flight=8, selection=selection, model_thread=True
        )
        for n in (1, 2, 5, 11):
            before = len(world.steps)
            result = await search.run(Budget(lean_calls=n))
            assert result.outcome == "budget" and len(world.steps) - before == n
            check_graph(search.graph, at_rest=True)
        assert (await search.run()).outcome == "proved"
        await search.close()

    asyncio.run(run())


def test_budgets_in_seconds_and_tokens_end_a_search() -> None:
    async def run() -> None:
        search, world = started(chain(500), world=World(chain(500), delay_s=0.002), in_flight=2)
        assert (await search.run(Budget(seconds=0.05))).outcome == "budget"
        assert len(world.steps) <= 2 * (0.05 / 0.002 + 1), "two at a time, each of at least 2 ms"
        tokens = search.stats().model_tokens
        assert (await search.run(Budget(model_tokens=20))).outcome == "budget"
        assert 20 <= search.stats().model_tokens - tokens < 60
        await search.close()

    asyncio.run(run())
    with pytest.raises(ValueError, match="negative"):
        Budget(lean_calls=-1)


def test_tokens_are_counted_by_who_spends_them() -> None:
    class Counts(Tactics):
        def count_tokens(self, query: Query, suggestions: Sequence[Suggestion] = ()) -> int:
            return 100 + len(suggestions)

    class Reads(Knows):
        def count_tokens(self, query: Query, suggestions: Sequence[Suggestion] = ()) -> int:
            return 1000

    async def spent(value: Knows | None) -> int:
        problem = chain(3)
        world = World(problem)
        search = Search(world.state(0), world, Counts(problem), cast(Any, value), config=SearchConfig(in_flight=1))
        await search.run()
        await search.close()
        return search.stats().model_tokens

    least = chain(3).least(32)
    assert asyncio.run(spent(None)) == asyncio.run(spent(Knows(least))) == 3 * 103
    assert asyncio.run(spent(Reads(least))) == 3 * 103 + 2 * 1000  # two goals after the root


def test_tactics_equal_in_effect_are_merged() -> None:
    async def run() -> None:
        problem = Problem((((-0.1, (1, 2)), (-0.2, (2, 1)), (-0.3, (1, 1))), (), ()))
        search, _ = started(problem, in_flight=1, selection="breadth")
        result = await search.run()
        assert result.outcome == "exhausted" and result.stats.duplicates == 1
        assert [e.status == DUPLICATE for e in search.graph.root.edges] == [False, True, False]
        await search.close()

    asyncio.run(run())


def test_a_duplicate_has_the_label_of_its_twin_before_and_after_saving() -> None:
    """Both tactics leave the goal that is proved: neither is a failure, and neither is missing from the tactics that work."""

    async def run() -> None:
        problem = Problem((((-0.1, (1,)), (-0.2, (1,)), (-0.3, "error")), ((-0.1, "error"), (-0.2, ()))))
        search, world = started(problem, in_flight=1, selection="breadth")
        await search.run(Budget(lean_calls=3))
        loaded = Search.from_bytes(search.to_bytes(), world.state(0), world, Tactics(problem))
        for each in (search, loaded):
            await each.run()
            root = each.examples()[0]
            assert root.best == (("t0", 2), ("t1", 2)) and set(root.tried) == {"t0", "t1", "t2"}
            assert [t for t, _ in root.errors] == ["t2"]
        await search.close()

    asyncio.run(run())


def test_a_goal_that_is_surely_not_provable_is_worth_nothing() -> None:
    never, sure = (0.0,) * 15 + (1.0,), (1.0,) + (0.0,) * 15
    assert ValueEstimate(never).value(0.95) == 0.0 and ValueEstimate(sure).value(0.95) == pytest.approx(0.95)
    half = tuple((a + b) / 2 for a, b in zip(never, sure, strict=True))
    assert ValueEstimate(half).value(0.95) == pytest.approx(0.475)  # not 0.95 ** 8.5


def test_a_solved_subtree_is_freed_and_never_touched_again() -> None:
    async def run() -> None:
        # Goal 1 has a proof and an open side branch; goal 2 is long. Once 1 is proved, its branch is dropped.
        side = tuple(((-0.1, (g + 1,)),) for g in range(3, 20))
        problem = Problem(
            (
                ((-0.1, (1, 2)),),
                ((-0.1, (3,)), (-0.2, ())),
                ((-0.1, "error"), (-0.2, (20,))),
                *side,
                ((-0.1, (21,)),),
                ((-0.1, ()),),
            )
        )
        search, world = started(problem, in_flight=1, combine="sum")
        result = await search.run()
        assert result.outcome == "proved"
        solved_at = world.steps.index((1, "t1"))
        assert all(goal in (0, 2, 20, 21) for goal, _ in world.steps[solved_at + 1 :])
        assert set(world.held.values()) == {0}
        await search.close()
        assert not world.held

    asyncio.run(run())


def test_values_guide_and_lie_within_bounds() -> None:
    # Two ways: a deep dead end with the better prior, and the proof. A right value needs fewer calls than none.
    dead = tuple(((-0.1, (g + 1,)), (-1.0, (g + 1, 0))) for g in range(1, 30))
    problem = Problem((((-0.1, (1,)), (-2.0, (32,))), *dead, (), (), ((-0.1, (33,)),), ((-0.1, (34,)),), ((-0.1, ()),)))

    async def calls(value: Knows | None) -> int:
        search, _ = started(problem, value, in_flight=1)
        result = await search.run()
        assert result.outcome == "proved"
        assert all(0 <= n.value <= 1 for n in search.graph.nodes.values())
        await search.close()
        return result.lean_calls

    least = problem.least(32)
    assert asyncio.run(calls(Knows(least))) < asyncio.run(calls(None))


@pytest.mark.parametrize(
    ("rule", "expected"), [("min", 0.9 * 0.25), ("product", 0.25 * 0.5), ("sum", 0.9 * 0.25 * 0.5)]
)
def test_and_nodes_combine_by_the_rule(rule: str, expected: float) -> None:
    config = SearchConfig(combine=rule, discount=0.9)  # type: ignore[arg-type]
    graph = Graph(ProofState(0, "r", (Goal("⊢ r"),)), config)
    graph.add_suggestions(graph.root, [Suggestion("t", -1.0)])
    edge = graph.root.untried[-1]
    graph.claim(edge)
    graph.apply(edge, StepResult("ok", tuple(ProofState(i, f"c{i}", (Goal("⊢ c"),)) for i in (1, 2)), ((0, 0), (1, 0))))
    for child, value in zip(edge.children, (0.25, 0.5), strict=True):
        child.value = value
    assert edge_value(edge, config) == pytest.approx(expected)


def test_widening_asks_again_without_dropping() -> None:
    async def run() -> None:
        # The good tactic of goal 0 is the third; the first leads to a long chain that keeps it alive.
        tail = tuple(((-0.1, (g + 1,)),) for g in range(1, 60))
        problem = Problem((((-0.1, (1,)), (-0.2, "error"), (-9.0, ())), *tail, ()))
        search, world = started(problem, in_flight=1, suggestions=2, widen_base=4, widen_power=1.0)
        result = await search.run()
        assert result.outcome == "proved" and result.proof is not None and result.proof.size == 1
        assert search.graph.root.expansions == 2 and len(search.graph.root.edges) == 3
        assert len(world.steps) < 12
        await search.close()

    asyncio.run(run())


@pytest.mark.parametrize("selection", ["puct", "best_first", "best_tactic", "breadth", "rmax", "uniform"])
def test_a_saved_search_makes_the_same_calls(selection: str) -> None:
    """All but `rollout`, where a run's end cuts a rollout short."""
    rng = random.Random(3)
    n = 400

    def outcome(g: int) -> tuple[int, ...] | str:
        later = range(g + 1, min(n, g + 30))
        return tuple(rng.sample(later, rng.choice([1, 1, 2]))) if g + 31 < n and rng.random() < 0.6 else "error"

    problem = Problem(tuple(tuple((-3 * rng.random(), outcome(g)) for _ in range(6)) for g in range(n)))
    options = {"selection": selection, "in_flight": 1, "suggestions": 4}

    async def run(first: int, more: int) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
        search, world = started(problem, **options)
        await search.run(Budget(lean_calls=first))
        data = search.to_bytes()
        await search.close()
        again = World(problem)
        search = Search.from_bytes(data, again.state(0), again, Tactics(problem))
        await search.run(Budget(lean_calls=more))
        await search.close()
        return world.steps, again.steps

    whole, _ = asyncio.run(run(90, 0))
    before, after = asyncio.run(run(40, 50))
    assert before + [call for call in after if call not in before] == whole  # what is repeated is a replay


def test_examples_contain_what_was_found() -> None:
    async def run() -> None:
        problem = Problem((((-0.1, "error"), (-0.2, (1,)), (-0.3, (2,))), ((-0.1, ()),), ((-0.1, (1,)),)))
        search, _ = started(problem, premises=lambda state: ("Nat.add_comm",), in_flight=1, keep_improving=True)
        await search.run()
        root, *_ = search.examples()
        assert root.solved and root.steps == 2 and root.premises == ("Nat.add_comm",)
        assert root.errors == (("t0", "error"),)
        assert root.best[0] == ("t1", 2)
        assert sum(share for _, share in root.visits) == pytest.approx(1.0)
        await search.close()

    asyncio.run(run())


def test_theorem_and_negation_share_a_budget() -> None:
    async def run() -> None:
        hopeless = Problem(tuple(((-0.1, (g + 1,)), (-0.2, "error")) for g in range(400)))
        theorem, _ = started(hopeless, in_flight=1)
        negation, _ = started(chain(20), in_flight=1)
        a, b = await search_both(theorem, negation, Budget(lean_calls=400), rate=0.25, slice_calls=16)
        assert a.outcome == "budget" and b.outcome == "proved"
        assert a.lean_calls == pytest.approx(3 * b.lean_calls, abs=20)
        theorem, _ = started(hopeless, in_flight=1)
        negation, _ = started(chain(300), in_flight=1)
        a, b = await search_both(theorem, negation, Budget(lean_calls=100), rate=0.5, slice_calls=16)
        assert a.lean_calls + b.lean_calls == 100 and a.lean_calls == pytest.approx(50, abs=8)

    asyncio.run(run())


def test_bad_settings_are_named() -> None:
    with pytest.raises(UserError, match="best_first"):
        started(chain(1), selection="alphabeta")
    with pytest.raises(ValueError, match="temperature"):
        SearchConfig(temperature=0.0)


class Endless:
    """An endless problem: one tactic in three leads to a new goal."""

    made = 0

    def state(self) -> ProofState:
        self.made += 1
        goal = Goal(f"h : p\n⊢ goal number {self.made}", target=f"goal number {self.made}")
        return ProofState(self.made, f"{self.made:032x}", (goal,))

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        if zlib.crc32((tactics[0] + state.key).encode()) % 3:  # not `hash`, by whose seed a problem may end
            return [StepResult("error", message="unknown identifier")]
        return [StepResult("ok", (self.state(),), ((0, 0),))]

    async def free(self, states: Sequence[ProofState]) -> None:
        pass

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return [[Suggestion(f"apply lemma_{q.state.id}_{i}", -0.2 * i) for i in range(n)] for q in queries]

    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        return [ValueEstimate((0.25, 0.25, 0.25, 0.25)) for _ in queries]


def test_a_million_edges_fit_in_four_gigabytes() -> None:
    async def run() -> None:
        world = Endless()
        config = SearchConfig(selection="breadth", in_flight=1, suggestions=8, model_thread=False)
        search = Search(world.state(), world, world, config=config)
        gc.collect()
        tracemalloc.start()
        while search.graph.edge_count < 8_000:
            await search.run(Budget(lean_calls=500))
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # Nearly every edge tried, a node for every third, each with its text: the most that a search keeps.
        assert used / search.graph.edge_count * 1_000_000 < 4e9
        await search.close()

    asyncio.run(run())


def test_overhead_of_a_lean_call_is_small() -> None:
    made = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal made
        made += event == "call"

    async def run() -> int:
        world = Endless()
        search = Search(world.state(), world, world, world, config=SearchConfig(model_thread=False))
        sys.setprofile(count)
        try:
            result = await search.run(Budget(lean_calls=2000))
        finally:
            sys.setprofile(None)
        await search.close()
        return result.lean_calls

    # Python calls, since time depends on the machine: 140 for each Lean call, about 0.2 ms.
    assert asyncio.run(run()) == 2000 and made < 2000 * 300


@pytest.mark.parametrize(("temperature", "outcome"), [(SearchConfig().temperature, "proved"), (1.0, "budget")])
def test_a_proof_far_down_the_list_is_not_starved_by_what_looks_better(temperature: float, outcome: str) -> None:
    """One tactic proves the root, 41st of its list; the first leads into a tree of goals without an end."""

    async def run() -> None:
        goals: list[Any] = [((-0.5, (1,)), *((-2.0 - 0.15 * i, "error") for i in range(40)), (-8.0, ()))]
        for g in range(1, 600):
            goals.append(((-0.7, (2 * g,)), (-1.0, (2 * g + 1,)), *((-2.0 - 0.2 * i, "error") for i in range(6))))
        goals += [((-0.7, "error"),)] * 600
        search, _ = started(
            Problem(tuple(goals)), in_flight=1, temperature=temperature, suggestions=64, root_breadth=math.inf
        )
        assert (await search.run(Budget(lean_calls=300))).outcome == outcome
        await search.close()

    asyncio.run(run())


@pytest.mark.parametrize(("breadth", "least", "most"), [(SearchConfig().root_breadth, 87, 150), (math.inf, 1, 60)])
def test_a_long_search_tries_much_at_the_root(breadth: float, least: int, most: int) -> None:
    """The root's first tactic is nearly certain, says the policy, and leads into goals without an end."""

    async def run() -> None:
        goals: list[Any] = [((-0.001, (1,)), *((-12.0, "error") for _ in range(180)))]
        goals += [((-0.7, (2 * g,)), (-0.8, (2 * g + 1,))) for g in range(1, 600)]
        goals += [((-0.7, "error"),)] * 600
        search, world = started(
            Problem(tuple(goals)), in_flight=1, root_breadth=breadth, suggestions=256, fpu_reduction=0.3
        )
        await search.run(Budget(lean_calls=200))
        assert least <= sum(goal == 0 for goal, _ in world.steps) <= most
        await search.close()

    asyncio.run(run())


def test_a_rollout_that_fails_is_worth_nothing_to_every_goal_on_its_way() -> None:
    async def run() -> None:
        goals: list[Any] = [((-0.1, (g + 1,)),) for g in range(4)]
        search, _ = started(Problem((*goals, ((-0.1, "error"),))), in_flight=1, selection="rollout", max_expansions=1)
        await search.run(Budget(lean_calls=4))
        values = [n.value for n in search.graph.nodes.values() if n is not search.graph.root and n.visits]
        assert len(values) >= 3 and max(values) == 0.0
        await search.close()

    asyncio.run(run())
