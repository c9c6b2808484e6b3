"""Searches with faults of the environment, models or callers: outcomes stay right and the graph sound."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence

import pytest

from prover.lean.runtime import LeanRuntime
from prover.lean.server import LeanServer
from prover.lean.theorem import ProofState, StepResult, Theorem
from prover.models.base import Query, Suggestion, ValueEstimate
from prover.search import Budget, Search, SearchConfig
from prover.solve.attempt import Prover, attempt
from tests.search.checks import check_graph
from tests.search.synthetic import Outcome, Problem, Tactics, World, chain, started


def test_an_exception_fails_the_tactic_and_many_end_the_search() -> None:
    async def run() -> None:
        problem = chain(5)
        search, _ = started(problem, world=World(problem, raises=2), in_flight=1, max_expansions=4)
        result = await search.run()
        assert result.outcome == "proved" and result.stats.errors["crash"] == 2
        search, world = started(problem, world=World(problem, raises=100), in_flight=1, max_exceptions=3)
        result = await search.run()
        assert result.outcome == "error" and "the server is gone" in result.message and len(world.steps) == 3
        check_graph(search.graph, at_rest=True)

    asyncio.run(run())


def test_a_search_without_answers_is_an_error() -> None:
    async def run() -> None:
        problem = chain(5)
        # Three tactics, all of which raise: fewer than end a search, and nothing is left to try.
        search, world = started(problem, world=World(problem, raises=100), in_flight=1)
        result = await search.run()
        assert result.outcome == "error" and "the server is gone" in result.message and len(world.steps) == 3
        data = search.to_bytes()
        await search.close()
        world = World(problem)
        again = Search.from_bytes(data, world.state(0), world, Tactics(problem))
        result = await again.run()
        assert result.outcome == "error" and "earlier run" in result.message
        await again.close()

    asyncio.run(run())


def test_a_goal_that_cannot_be_replayed_is_not_exhausted() -> None:
    """After a resume goals are replayed. A goal that Lean answers differently is open, not exhausted."""
    problem = chain(5)

    class Forgets(World):
        async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
            return (
                [StepResult("timeout") for _ in tactics]
                if self.held[state.id] == 0
                else await super().step(state, tactics)
            )

    async def run() -> None:
        search, _ = started(problem, in_flight=1)
        assert (await search.run(Budget(lean_calls=4))).outcome == "budget"
        data = search.to_bytes()
        await search.close()
        world = Forgets(problem)
        again = Search.from_bytes(data, world.state(0), world, Tactics(problem))
        result = await again.run()
        assert result.outcome == "error" and "could not be restored by replay" in result.message
        assert result.stats.errors["replay"]
        await again.close()

    asyncio.run(run())


def test_a_rollout_ends_when_a_sibling_fails() -> None:
    """Of two goals one has only a tactic that fails: once another simulation has found that, the rollout from the other is of no use, while
    the root has another way left."""
    length = 40
    ways: list[tuple[tuple[float, Outcome], ...]] = [((-0.1, (g + 1,)),) for g in range(2, 2 * length)]
    ways[length - 2] = ((-0.1, ()),)  # goals 2 to `length` and those after it are two ways
    root = ((-0.1, (1, 2)), (-5.0, (length + 1,)))
    problem = Problem((root, ((-0.1, "error"),), *ways, ((-0.1, "error"),)))

    async def run(seed: int) -> int:
        world = World(problem, delay_s=0.0)
        search, _ = started(problem, world=world, in_flight=3, selection="rollout", rollout_depth=length, seed=seed)
        assert (await search.run()).outcome == "exhausted"
        check_graph(search.graph, at_rest=True)
        await search.close()
        return sum(2 <= goal <= length for goal, _ in world.steps)

    assert max(asyncio.run(run(seed)) for seed in range(8)) < length // 4


def test_a_models_error_is_raised_and_the_search_can_continue() -> None:
    class Broken(Tactics):
        broken = True

        def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
            if self.broken and self.queries > 2:
                raise OSError("no such GPU")
            return super().suggest(queries, n)

    async def run() -> None:
        problem = chain(5)
        world, policy = World(problem, delay_s=0.0), Broken(problem)
        search = Search(world.state(0), world, policy, config=SearchConfig(in_flight=4))
        with pytest.raises(OSError, match="no such GPU"):
            await search.run()
        check_graph(search.graph, at_rest=True)
        policy.broken = False
        assert (await search.run()).outcome == "proved"
        await search.close()
        assert not world.held

    asyncio.run(run())


class Says(Tactics):
    """Tactics that all have one log-probability, and a value of one estimate."""

    def __init__(self, problem: Problem, logprob: float, probs: tuple[float, ...] = (1.0,)) -> None:
        super().__init__(problem)
        self.logprob, self.probs = logprob, probs

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return [[Suggestion(s.tactic, self.logprob) for s in row] for row in super().suggest(queries, n)]

    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        return [ValueEstimate(self.probs) for _ in queries]


@pytest.mark.parametrize(
    ("logprob", "probs", "message"),
    [
        (float("nan"), (1.0,), "log-probability nan"),
        (float("inf"), (1.0,), "log-probability inf"),
        (-1.0, (float("nan"), 0.5), "add up to nan"),
        (-1.0, (), "add up to 0"),
    ],
)
def test_numbers_that_are_none_are_refused(logprob: float, probs: tuple[float, ...], message: str) -> None:
    async def run() -> None:
        world, models = World(chain(3)), Says(chain(3), logprob, probs)
        search = Search(world.state(0), world, models, models, config=SearchConfig(in_flight=1, model_thread=False))
        with pytest.raises(ValueError, match=message):
            await search.run()
        check_graph(search.graph, at_rest=True)
        await search.close()

    asyncio.run(run())


def test_tactics_of_no_probability_are_tried_all_the_same() -> None:
    async def run() -> None:
        world = World(chain(3))
        search = Search(world.state(0), world, Says(chain(3), float("-inf")), config=SearchConfig(in_flight=1))
        assert (await search.run()).outcome == "proved"
        assert [e.prior for e in search.graph.root.edges] == [pytest.approx(1 / 3)] * 3
        await search.close()

    asyncio.run(run())


@pytest.mark.parametrize("selection", ["puct", "rollout", "best_first"])
def test_a_cancelled_run_leaves_nothing_in_flight(selection: str) -> None:
    async def run() -> None:
        problem = chain(200)  # long enough not to be done before a busy machine cancels it
        search, world = started(problem, world=World(problem, delay_s=0.003), in_flight=4, selection=selection)
        for _ in range(5):
            task = asyncio.create_task(search.run())
            await asyncio.sleep(0.012)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            check_graph(search.graph, at_rest=True)
        assert (await search.run()).outcome == "proved"
        await search.close()
        assert not world.held

    asyncio.run(run())


class Kills:
    """Real Lean, which dies with the second call; `for_good`: and nothing can be started in its place."""

    def __init__(self, server: LeanServer, for_good: bool) -> None:
        self.server, self.for_good = server, for_good
        self.calls = 0

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        self.calls += 1
        if self.calls == 2:
            if self.for_good:
                self.server.runtime = LeanRuntime("native", "gone", ("/no/such/lean",))
            assert self.server.pid is not None
            os.kill(self.server.pid, signal.SIGKILL)
        return await self.server.step(state, tactics)

    async def free(self, states: Sequence[ProofState]) -> None:
        await self.server.free(states)


class Offers:
    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return [[Suggestion(f"exact h{i}", -float(i)) for i in range(4)] if not q.attempt else [] for q in queries]


@pytest.mark.lean
@pytest.mark.parametrize(("for_good", "outcome"), [(True, "error"), (False, "exhausted")])
def test_a_lean_that_cannot_restart_is_an_error(loop, for_good: bool, outcome: str) -> None:
    async def run():
        async with LeanServer() as server:
            theorem = Theorem("t", "(p : Prop) : p")
            root = await server.open(theorem)
            prover = Prover("offers", Offers(), SearchConfig(in_flight=1, model_thread=False))
            return await attempt(theorem, root, Kills(server, for_good), [prover], 64)

    found = loop.run(run())
    assert found.outcome == outcome and found.lean_calls == 4, found
    assert ("offers" in found.used_up) != for_good and bool(found.reason) == for_good
