"""Every selection rule against brute force, on generated AND-OR problems, with the graph checked at every Lean call."""

from __future__ import annotations

import asyncio
import os
from typing import cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from prover.lean.theorem import ProofNode
from prover.models.base import Value
from prover.search import RULES, Budget, Search, SearchConfig, SearchResult
from tests.search.checks import check_graph, watch
from tests.search.synthetic import Knows, Problem, Tactics, World, problems

quick = settings(
    max_examples=int(os.environ.get("SEARCH_EXAMPLES", "20")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
OFFERED = 2
EXPANSIONS = 2


def search_for(problem: Problem, world: World, value: Knows | None = None, **options: object) -> Search:
    config = SearchConfig(
        suggestions=OFFERED,
        max_expansions=EXPANSIONS,
        widen_base=2.0,
        model_thread=False,
        **options,  # type: ignore[arg-type]
    )
    return Search(world.state(0), world, Tactics(problem), cast("Value | None", value), config=config)


def check_proof(problem: Problem, tree: ProofNode, goal: int = 0) -> None:
    """A proof tree proves what it should, by the problem itself."""
    _, outcome = problem.tactics[goal][int(tree.tactic[1:])]
    assert not isinstance(outcome, str) and len(outcome) == len(tree.children)
    for child, g in zip(tree.children, outcome, strict=True):
        check_proof(problem, child, g)


async def finish(search: Search, world: World) -> SearchResult:
    result = await search.run()
    check_graph(search.graph, at_rest=True)
    await search.close()
    assert not world.held
    return result


@pytest.mark.parametrize("selection", RULES)
@given(problem=problems(), in_flight=st.sampled_from([1, 4]), valued=st.sampled_from([None, True, False]))
@quick
def test_status_agrees_with_brute_force(selection: str, problem: Problem, in_flight: int, valued: bool | None) -> None:
    async def run() -> None:
        least = problem.least(OFFERED * EXPANSIONS)
        world = World(problem, delay_s=None if in_flight == 1 else 0.0)
        value = None if valued is None else Knows(least, valued)
        search = search_for(problem, world, value, selection=selection, in_flight=in_flight)
        watch(search)
        result = await finish(search, world)
        assert result.outcome == ("proved" if least[0] < float("inf") else "exhausted")
        assert (result.proof is not None) == (result.outcome == "proved")
        assert len(world.steps) == result.lean_calls + result.stats.replay_calls
        if result.proof is not None:
            check_proof(problem, result.proof)
            assert result.lean_calls_to_solve is not None
            if in_flight == 1 and selection != "rollout":
                assert result.lean_calls_to_solve == result.lean_calls

    asyncio.run(run())


@pytest.mark.parametrize("selection", RULES)
@given(problem=problems(), in_flight=st.sampled_from([1, 4]), valued=st.booleans())
@quick
def test_shortest_proof_agrees_with_brute_force(selection: str, problem: Problem, in_flight: int, valued: bool) -> None:
    async def run() -> None:
        least = problem.least(OFFERED * EXPANSIONS)
        world = World(problem, delay_s=None if in_flight == 1 else 0.0)
        value = Knows(least) if valued else None
        options = {"selection": selection, "in_flight": in_flight, "keep_improving": True}
        search = search_for(problem, world, value, **options)
        watch(search)
        result = await finish(search, world)
        assert (result.outcome == "proved") == (least[0] < float("inf"))
        if result.proof is not None:
            check_proof(problem, result.proof)
            assert result.proof.size == least[0]

    asyncio.run(run())


@pytest.mark.parametrize("combine", ["min", "product", "sum"])
@given(problem=problems())
@quick
def test_every_rule_for_and_nodes_agrees(combine: str, problem: Problem) -> None:
    async def run() -> None:
        least = problem.least(OFFERED * EXPANSIONS)
        world = World(problem)
        result = await finish(search_for(problem, world, Knows(least), combine=combine, in_flight=1), world)
        assert (result.outcome == "proved") == (least[0] < float("inf"))

    asyncio.run(run())


@pytest.mark.parametrize("selection", RULES)
@given(problem=problems(), budget=st.integers(1, 12))
@quick
def test_a_search_repeats_itself(selection: str, problem: Problem, budget: int) -> None:
    async def run() -> list[tuple[int, str]]:
        world = World(problem)
        search = search_for(problem, world, Knows(problem.least(4)), selection=selection, in_flight=1)
        result = await search.run(Budget(lean_calls=budget))
        assert result.lean_calls <= budget
        await search.close()
        return world.steps

    assert asyncio.run(run()) == asyncio.run(run())


@pytest.mark.parametrize("selection", RULES)
@given(problem=problems(), pause=st.integers(0, 8), in_flight=st.sampled_from([1, 3]), improve=st.booleans())
@example(  # a rollout's own step fails the root, while goals that it left are open
    problem=Problem(
        (
            ((-0.1, (3,)),),
            (),
            (),
            ((-0.1, "error"), (-0.1, (7,))),
            ((-0.1, "error"),),
            (),
            (),
            ((-0.1, "error"), (-0.1, "error"), (-0.1, (0, 4))),
        )
    ),
    pause=0,
    in_flight=1,
    improve=False,
)
@quick
def test_written_and_resumed(selection: str, problem: Problem, pause: int, in_flight: int, improve: bool) -> None:
    async def run() -> None:
        least = problem.least(OFFERED * EXPANSIONS)
        world = World(problem)
        options = {"selection": selection, "in_flight": in_flight, "keep_improving": improve}
        first = search_for(problem, world, **options)
        paused = await first.run(Budget(lean_calls=pause))
        check_graph(first.graph, at_rest=True)
        data = first.to_bytes()
        await first.close()
        assert not world.held

        world = World(problem)
        second = Search.from_bytes(data, world.state(0), world, Tactics(problem))
        check_graph(second.graph, at_rest=True)
        assert second.to_bytes() == data
        assert second.result().proof == paused.proof
        assert second.result().stats.model_calls == paused.stats.model_calls
        watch(second)
        result = await finish(second, world)
        assert (result.outcome == "proved") == (least[0] < float("inf"))
        if improve and result.proof is not None:
            assert result.proof.size == least[0]
        assert len(world.steps) == result.lean_calls - paused.lean_calls + result.stats.replay_calls

    asyncio.run(run())


@given(problem=problems(goals=14, tactics=8), slices=st.lists(st.integers(0, 4), min_size=1, max_size=6))
@quick
def test_more_budget_goes_on(problem: Problem, slices: list[int]) -> None:
    async def run() -> None:
        world = World(problem)
        search = search_for(problem, world, in_flight=2)
        total = 0
        for budget in slices:
            result = await search.run(Budget(lean_calls=budget))
            check_graph(search.graph, at_rest=True)
            total += budget
            assert result.lean_calls <= total
        await finish(search, world)

    asyncio.run(run())


@pytest.mark.parametrize("selection", [name for name in RULES if name != "rollout"])
@given(problem=problems(), pause=st.integers(1, 12), improve=st.booleans())
@quick
def test_a_pause_changes_nothing(selection: str, problem: Problem, pause: int, improve: bool) -> None:
    """What a search tries, and in which order, is the same where it was written away and resumed. (`rollout` draws by the number of
    calls, which replays do not count in.)"""

    async def run(paused: bool) -> list[tuple[int, str]]:
        world = World(problem)
        search = search_for(problem, world, selection=selection, in_flight=1, keep_improving=improve)
        steps: list[tuple[int, str]] = []
        if paused:
            await search.run(Budget(lean_calls=pause))
            data = search.to_bytes()
            await search.close()
            steps, world = world.steps, World(problem)
            search = Search.from_bytes(data, world.state(0), world, Tactics(problem))
        await finish(search, world)
        return list(dict.fromkeys([*steps, *world.steps]))  # replays repeat what was tried

    assert asyncio.run(run(True)) == asyncio.run(run(False))
