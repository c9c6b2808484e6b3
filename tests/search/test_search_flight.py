"""Parallel simulations: models and Lean work at the same time, and no worker idles that could continue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, cast

import pytest

from prover.models.base import Query, Suggestion, ValueEstimate
from prover.search import Budget, Search, SearchConfig
from tests.search.synthetic import Knows, Problem, Tactics, World, chain, started, virtually


def test_model_questions_are_gathered_and_lean_runs_meanwhile() -> None:
    # Many independent goals at once: the policy is slow, so later goals wait and go together.
    n = 24
    goals = [((-0.1, tuple(range(1, n + 1))),), *[((-0.5, "error"), (-1.0, ())) for _ in range(n)]]
    problem = Problem(tuple(goals))

    class Slow(Tactics):
        sizes: list[int] = []
        overlapped = 0

        def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
            self.sizes.append(len(queries))
            time.sleep(0.01)
            self.overlapped = max(self.overlapped, world.in_flight)
            return super().suggest(queries, n)

    world = World(problem, delay_s=0.004)

    async def run() -> None:
        policy = Slow(problem)
        search = Search(world.state(0), world, policy, config=SearchConfig(in_flight=8))
        result = await search.run()
        await search.close()
        assert result.outcome == "proved"
        assert max(policy.sizes) > 2 and len(policy.sizes) < n
        assert policy.overlapped > 0
        assert 0 < result.stats.lean_s <= result.stats.seconds

    asyncio.run(run())


def test_parallel_search_does_not_widen_early() -> None:
    """Workers wait for a pending model or Lean call instead of asking for more tactics above it."""
    length = 12
    rest = ((-0.2, "error"), (-0.3, "error"), *((-3.0, "error"),) * 6)
    problem = Problem(tuple(((-0.1, (g + 1,) if g + 1 < length else ()), *rest) for g in range(length)))

    class Slow(Tactics):
        async def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:  # pyright: ignore
            await asyncio.sleep(0.002)
            return Tactics.suggest(self, queries, n)

    async def run(in_flight: int) -> tuple[int, int]:
        world = World(problem, delay_s=0.001)
        config = SearchConfig(in_flight=in_flight, suggestions=3, widen_base=1000)
        search = Search(world.state(0), world, cast(Any, Slow(problem)), config=config)
        result = await search.run()
        await search.close()
        assert result.outcome == "proved" and result.lean_calls_to_solve is not None
        return result.lean_calls_to_solve, max(g.expansions for g in search.graph.nodes.values())

    for in_flight in (1, 8):
        calls, expansions = virtually(run(in_flight))
        assert expansions == 1 and calls <= 3 * length


def test_calls_in_flight_at_the_proof_are_not_counted_to_solve() -> None:
    """A curve over budgets is read off one search: what many in flight found by its third call, a budget of three finds."""
    problem = Problem((((-0.1, "error"), (-0.2, "error"), (-0.3, ()), *((-0.5, "error"),) * 5),))

    async def run(budget: int) -> tuple[str, int, int | None]:
        search, _ = started(problem, world=World(problem, delay_s=0.001), in_flight=8, selection="best_first")
        result = await search.run(Budget(lean_calls=budget))
        await search.close()
        return result.outcome, result.lean_calls, result.lean_calls_to_solve

    assert virtually(run(8)) == ("proved", 8, 3)
    assert virtually(run(3)) == ("proved", 3, 3)
    assert virtually(run(2)) == ("budget", 2, None)


def test_what_an_expansion_offers_goes_to_idle_workers_at_once() -> None:
    world = World(chain(1, width=8), delay_s=0.001)
    search, _ = started(world.problem, world=world, in_flight=8, selection="best_first")

    async def run() -> None:
        assert (await search.run(Budget(lean_calls=8))).outcome == "proved"
        await search.close()

    virtually(run())
    assert world.most_in_flight == 8


class SlowKnows(Knows):
    """A value that takes longer than Lean."""

    async def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:  # pyright: ignore
        await asyncio.sleep(0.003)
        return await Knows.evaluate(self, queries)


@pytest.mark.parametrize("in_flight", [2, 4, 8])
def test_walks_in_flight_take_the_calls_of_one(in_flight: int) -> None:
    """A deep proof behind the first tactic of each goal, beside tactics at the root that lead astray: no call goes to these while the
    goals of the right tactic are being expanded, evaluated or tried."""
    depth = 12
    astray = tuple(range(depth, depth + 8))
    root = ((-0.1, (1,)), *((-0.5, (g,)) for g in astray))
    chain_ = [((-0.1, (g + 1,) if g + 1 < depth else ()), (-1.0, "error"), (-1.5, "error")) for g in range(1, depth)]
    problem = Problem((root, *chain_, *[((-0.5, "error"),) * 3 for _ in astray]))

    class Slow(Tactics):
        async def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:  # pyright: ignore
            await asyncio.sleep(0.003)
            return Tactics.suggest(self, queries, n)

    async def calls(n: int) -> int | None:
        world = World(problem, delay_s=0.001)
        value: Any = SlowKnows(problem.least(32))
        search = Search(world.state(0), world, cast(Any, Slow(problem)), value, config=SearchConfig(in_flight=n))
        result = await search.run(Budget(lean_calls=60))
        await search.close()
        return result.lean_calls_to_solve

    alone = virtually(calls(1))
    assert alone is not None and virtually(calls(in_flight)) == alone


def test_walks_in_flight_work_on_different_subgoals() -> None:
    """All subgoals of a tactic have to be proved, so they are proved at the same time."""
    n = 6
    problem = Problem((((-0.1, tuple(range(1, n + 1))),), *[((-0.1, ()),) for _ in range(n)]))
    world = World(problem, delay_s=0.002)
    search, _ = started(problem, world=world, in_flight=n)

    async def run() -> None:
        assert (await search.run()).lean_calls == n + 1
        await search.close()

    virtually(run())
    assert world.most_in_flight == n
