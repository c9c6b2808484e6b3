"""One model for many searches: questions that arrive during a call go together in the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from prover.models.base import Query, Suggestion, ValueEstimate

Answer = Callable[[list[Query], list[Query], int], Awaitable[tuple[list[list[Suggestion]], list[ValueEstimate], int]]]
"""(queries to suggest for, queries to evaluate, tactics a query) to (suggestions, values, version of the weights)."""


class SharedModel:
    """Policy and Value over `answer`, of which one call is under way at a time. What it raises, everyone who asked gets."""

    def __init__(self, answer: Answer, n: int) -> None:
        self._answer = answer
        self.n = n
        self.version = 0
        """Of the weights that gave the last answer."""
        self.longest = 0
        """Most questions that waited at once since the last `take_longest`."""
        self._asked: dict[str, list[tuple[Query, asyncio.Future[Any]]]] = {"suggest": [], "evaluate": []}
        self._runner: asyncio.Task[None] | None = None

    async def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        """`self.n` tactics for each query, whatever `n` is: one call serves searches that may ask for different numbers."""
        return await self._ask("suggest", queries)

    async def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        return await self._ask("evaluate", queries)

    @property
    def waiting(self) -> int:
        """Questions that no call has taken yet."""
        return sum(len(asked) for asked in self._asked.values())

    def take_longest(self) -> int:
        """`longest`, which counts anew from here."""
        found, self.longest = self.longest, self.waiting
        return found

    async def _ask(self, kind: str, queries: Sequence[Query]) -> list[Any]:
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in queries]
        self._asked[kind].extend(zip(queries, futures, strict=True))
        self.longest = max(self.longest, self.waiting)
        if self._runner is None or self._runner.done():
            self._runner = loop.create_task(self._run())
        return list(await asyncio.gather(*futures))

    async def _run(self) -> None:
        await asyncio.sleep(0)
        while any(self._asked.values()):
            suggest, self._asked["suggest"] = self._asked["suggest"], []
            evaluate, self._asked["evaluate"] = self._asked["evaluate"], []
            try:
                answer = await self._answer([q for q, _ in suggest], [q for q, _ in evaluate], self.n)
                if (len(answer[0]), len(answer[1])) != (len(suggest), len(evaluate)):
                    raise ValueError(
                        f"a model gave {len(answer[0])} and {len(answer[1])} answers to {len(suggest)} and {len(evaluate)} queries"
                    )
            except Exception as e:
                for _, future in [*suggest, *evaluate]:
                    if not future.done():
                        future.set_exception(e)
                continue
            self.version = answer[2]
            for (_, future), result in zip([*suggest, *evaluate], [*answer[0], *answer[1]], strict=True):
                if not future.done():
                    future.set_result(result)
