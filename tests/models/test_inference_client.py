"""Queries of concurrent searches share the model's calls."""

from __future__ import annotations

import asyncio

import pytest
from sample_goals import query

from prover.models.base import Query, Suggestion
from prover.models.inference_client import InferenceClient

QUERIES = [query(f"⊢ {i} = {i}") for i in range(8)]


class Model:
    """Calls that end when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[Query], asyncio.Future[None]]] = []
        self.cancelled = 0

    async def __call__(self, suggest: list[Query], evaluate: list[Query], n: int):
        done = asyncio.get_running_loop().create_future()
        self.calls.append((suggest, done))
        try:
            await done
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [[Suggestion(q.state.goals[0].target, -1.0)] for q in suggest], [], 7


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_queries_that_arrive_during_a_call_share_the_next():
    async def scenario() -> None:
        model = Model()
        client = InferenceClient(model, 1)
        asked = []
        for q in QUERIES:
            asked.append(asyncio.ensure_future(client.suggest([q], 1)))
            await settle()
        assert [len(batch) for batch, _ in model.calls] == [1] and client.waiting == 7
        model.calls[0][1].set_result(None)
        await settle()
        assert [len(batch) for batch, _ in model.calls] == [1, 7]
        model.calls[1][1].set_result(None)
        for q, [[found]] in zip(QUERIES, await asyncio.gather(*asked), strict=True):
            assert found.tactic == q.state.goals[0].target
        assert client.version == 7

    asyncio.run(scenario())


def test_calls_in_parallel_do_not_wait_for_each_other():
    async def scenario() -> None:
        model = Model()
        client = InferenceClient(model, 1, parallel=3)
        asked = []
        for q in QUERIES[:5]:
            asked.append(asyncio.ensure_future(client.suggest([q], 1)))
            await settle()
        assert [len(batch) for batch, _ in model.calls] == [1, 1, 1] and client.waiting == 2
        model.calls[2][1].set_result(None)
        await settle()
        assert asked[2].done() and not asked[0].done()
        assert [len(batch) for batch, _ in model.calls] == [1, 1, 1, 2] and client.waiting == 0
        for _, done in model.calls:
            if not done.done():
                done.set_result(None)
        await asyncio.gather(*asked)

    asyncio.run(scenario())


def test_a_call_that_nobody_waits_for_is_cancelled():
    async def scenario() -> None:
        model = Model()
        client = InferenceClient(model, 1, parallel=2)
        asked = [asyncio.ensure_future(client.suggest([q], 1)) for q in QUERIES[:2]]
        await settle()
        assert [len(batch) for batch, _ in model.calls] == [2]
        asked[0].cancel()
        await settle()
        assert model.cancelled == 0, "the other search still needs it"
        asked[1].cancel()
        await settle()
        assert model.cancelled == 1
        again = asyncio.ensure_future(client.suggest([QUERIES[2]], 1))
        await settle()
        model.calls[1][1].set_result(None)
        assert (await again)[0]

    asyncio.run(scenario())


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_fault_reaches_all_that_wait(parallel):
    async def scenario() -> None:
        async def broken(suggest, evaluate, n):
            raise RuntimeError("no memory")

        client = InferenceClient(broken, 1, parallel=parallel)
        found = await asyncio.gather(*(client.suggest([q], 1) for q in QUERIES), return_exceptions=True)
        assert [str(e) for e in found] == ["no memory"] * len(QUERIES)

    asyncio.run(scenario())
