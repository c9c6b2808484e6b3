"""Batches asynchronous calls: items that arrive during a call go into the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Answers items with as few calls as possible. An exception of a call reaches every caller with an item in it. With
    `parallel` above 1, a call is cancelled when all callers that wait for it are cancelled."""

    def __init__(self, call: Callable[[list[Item]], Awaitable[Sequence[Answer]]], parallel: int = 1) -> None:
        """`call`: returns the answer of each item, in order. `parallel`: maximum number of concurrent calls."""
        self.calls = 0
        self.parallel = parallel
        self._call = call
        self._queue: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._unanswered = 0
        self._longest = 0
        self._runner: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def ask(self, items: Sequence[Item]) -> list[Answer]:
        """The answer of each item."""
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Answer]] = [loop.create_future() for _ in items]
        self._queue.extend(zip(items, futures, strict=True))
        self._unanswered += len(futures)
        self._longest = max(self._longest, self._unanswered)
        if self._runner is None or self._runner.done():
            self._runner = loop.create_task(self._run())
        if len(futures) == 1:
            return [await futures[0]]  # `gather` would resume the caller one turn of the event loop later
        return list(await asyncio.gather(*futures))

    @property
    def waiting(self) -> int:
        """Number of items that are in no call yet."""
        return len(self._queue)

    def pop_longest_queue(self) -> int:
        """Maximum number of unanswered items since this was last called."""
        longest, self._longest = self._longest, self._unanswered
        return longest

    async def _run(self) -> None:
        while self._queue:
            await asyncio.sleep(0)  # tasks that are ready to ask join this call
            if self.parallel == 1:
                await self._answer(self._take())
                continue
            while len(self._under_way) >= self.parallel:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            batch = self._take()
            call = asyncio.get_running_loop().create_task(self._answer(batch))
            self._under_way.add(call)
            call.add_done_callback(self._under_way.discard)
            futures = [future for _, future in batch]
            for future in futures:
                future.add_done_callback(
                    lambda _, c=call, fs=futures: c.cancel() if all(f.cancelled() for f in fs) else None
                )

    def _take(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        batch, self._queue = self._queue, []
        return batch

    async def _answer(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        self.calls += 1
        try:
            answers = await self._call([item for item, _ in batch])
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    if isinstance(error, Exception):
                        future.set_exception(error)
                    else:
                        future.cancel()
            if not isinstance(error, Exception):
                raise
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
        finally:
            self._unanswered -= len(batch)
