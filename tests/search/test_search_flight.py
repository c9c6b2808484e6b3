"""Parallel simulations: models and Lean work at the same time, and no worker idles that could continue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, cast

from prover.models.base import Query, Suggestion
from prover.search import Budget, Search, SearchConfig
from tests.search.synthetic import Problem, Tactics, World, chain, started


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
        assert 0 < result.stats.lean_utilisation <= 1

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
        calls, expansions = asyncio.run(run(in_flight))
        assert expansions == 1 and calls <= 3 * length


def test_calls_in_flight_at_the_proof_are_not_counted_to_solve() -> None:
    """A curve over budgets is read off one search: what many in flight found by its third call, a budget of three finds."""
    problem = Problem((((-0.1, "error"), (-0.2, "error"), (-0.3, ()), *((-0.5, "error"),) * 5),))

    async def run(budget: int) -> tuple[str, int, int | None]:
        search, _ = started(problem, world=World(problem, delay_s=0.001), in_flight=8)
        result = await search.run(Budget(lean_calls=budget))
        await search.close()
        return result.outcome, result.lean_calls, result.lean_calls_to_solve

    assert asyncio.run(run(8)) == ("proved", 8, 3)
    assert asyncio.run(run(3)) == ("proved", 3, 3)
    assert asyncio.run(run(2)) == ("budget", 2, None)


def test_what_an_expansion_offers_goes_to_idle_workers_at_once() -> None:
    world = World(chain(1, width=8), delay_s=0.001)
    search, _ = started(world.problem, world=world, in_flight=8)

    async def run() -> None:
        assert (await search.run(Budget(lean_calls=8))).outcome == "proved"
        await search.close()

    asyncio.run(run())
    assert world.most_in_flight == 8
