"""Work on many things at once: order, errors, cancellation."""

from __future__ import annotations

import asyncio

import pytest

from prover.concurrency import each


@pytest.mark.parametrize("at_once", [0, 1, 3, 20])
def test_results_come_in_order(at_once: int) -> None:
    under_way = most = 0

    async def work(n: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01 * (n % 3))
        under_way -= 1
        return n * n

    assert asyncio.run(each(range(10), work, at_once)) == [n * n for n in range(10)]
    assert 1 <= most <= max(1, at_once)


@pytest.mark.parametrize("error", [asyncio.CancelledError, KeyError])
def test_an_error_cancels_the_work_under_way(error: type[BaseException]) -> None:
    begun, ended = list[int](), list[int]()

    async def work(n: int) -> int:
        begun.append(n)
        if n == 1:
            raise error
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0)
            ended.append(n)
        return n

    async def run() -> None:
        with pytest.raises(error):
            await each(range(5), work, 2)
        assert begun == [0, 1] and ended == [0]

    asyncio.run(run())


def test_a_cancelled_caller_ends_its_work() -> None:
    ended = list[int]()

    async def work(n: int) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(n)

    async def run() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(each(range(5), work, 2), 0.05)
        assert sorted(ended) == [0, 1]

    asyncio.run(run())


def test_nothing_is_begun_after_the_time() -> None:
    async def work(n: int) -> int:
        await asyncio.sleep(0.05)
        return n

    assert asyncio.run(each(range(5), work, 1, seconds=0.01)) == [0]
