"""Asynchronous access to a model: queries that arrive during a call are batched into the next one.

A search puts one client in front of its own policy and value. Processes that run many searches on one model share a
second client between them. A model server batches the queries of many such processes; their clients do not wait for one call before
the next.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prover.models.base import Policy, Query, Suggestion, Value, ValueEstimate

Answers = tuple[Sequence[list[Suggestion]], Sequence[ValueEstimate], int]
"""Suggestions of each policy query, estimate of each value query, version of the weights."""
Call = Callable[[list[Query], list[Query], int], Awaitable[Answers]]
"""Calls a model with (policy queries, value queries, number of suggestions)."""
_Pending = list[tuple[Query, "asyncio.Future[Any]"]]


class InferenceClient:
    """Policy and Value over `call`. An exception of the model reaches every caller whose query was in the batch, as does a ValueError
    for answers that are malformed. A call is cancelled when all its callers are."""

    def __init__(self, call: Call, n: int, max_batch: int | None = None, parallel: int = 1) -> None:
        """`n`: suggestions per policy query. `max_batch`: most queries of each kind in one call; None: no limit. `parallel`: most calls
        under way at once."""
        self.n = n
        self.parallel = parallel
        self.calls = 0
        self.version = 0
        """Version of the weights that gave the last answer."""
        self.longest_queue = 0
        """Most unanswered queries at once since the last `pop_longest_queue`."""
        self._unanswered = 0
        self._call = call
        self._max_batch = max_batch
        self._policy_queue: _Pending = []
        self._value_queue: _Pending = []
        self._runner: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        """`self.n` suggestions for each query. `n` is ignored, because one call may serve searches with different `n`."""
        futures = self._submit(self._policy_queue, queries)
        if len(futures) == 1:
            return [await futures[0]]  # `gather` would resume the caller one turn of the event loop later
        return list(await asyncio.gather(*futures))

    async def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        """An estimate for each query."""
        return list(await asyncio.gather(*self._submit(self._value_queue, queries)))

    @property
    def waiting(self) -> int:
        """Queries that no call has taken yet."""
        return len(self._policy_queue) + len(self._value_queue)

    def pop_longest_queue(self) -> int:
        """Return `longest_queue` and reset it."""
        longest, self.longest_queue = self.longest_queue, self._unanswered
        return longest

    def _submit(self, queue: _Pending, queries: Sequence[Query]) -> list[asyncio.Future[Any]]:
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in queries]
        queue.extend(zip(queries, futures, strict=True))
        self._unanswered += len(futures)
        self.longest_queue = max(self.longest_queue, self._unanswered)
        if self._runner is None or self._runner.done():
            self._runner = loop.create_task(self._run())
        return futures

    async def _run(self) -> None:
        while self.waiting:
            await asyncio.sleep(0)  # tasks that are ready to ask join this call
            if self.parallel == 1:
                await self._answer(self._take(self._policy_queue), self._take(self._value_queue))
                continue
            while len(self._under_way) >= self.parallel:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            batch = self._take(self._policy_queue), self._take(self._value_queue)
            call = asyncio.get_running_loop().create_task(self._answer(*batch))
            self._under_way.add(call)
            call.add_done_callback(self._under_way.discard)
            futures = [future for queue in batch for _, future in queue]
            for future in futures:
                future.add_done_callback(
                    lambda _, c=call, fs=futures: c.cancel() if all(f.cancelled() for f in fs) else None
                )

    def _take(self, queue: _Pending) -> _Pending:
        batch = queue[: self._max_batch]
        del queue[: self._max_batch]
        return batch

    async def _answer(self, policy: _Pending, value: _Pending) -> None:
        futures = [f for _, f in (*policy, *value)]
        self.calls += 1
        try:
            suggestions, estimates, self.version = await self._call(
                [q for q, _ in policy], [q for q, _ in value], self.n
            )
            _check(suggestions, estimates, len(policy), len(value))
        except BaseException as error:
            for future in futures:
                if not future.done():
                    if isinstance(error, Exception):
                        future.set_exception(error)
                    else:
                        future.cancel()
            if not isinstance(error, Exception):
                raise
        else:
            for future, answer in zip(futures, (*suggestions, *estimates), strict=True):
                if not future.done():
                    future.set_result(answer)
        finally:
            self._unanswered -= len(futures)


def _check(
    suggestions: Sequence[list[Suggestion]], estimates: Sequence[ValueEstimate], policy: int, value: int
) -> None:
    """Raise ValueError for a wrong number of answers, or a log-probability or estimate that is not a finite number."""
    if (len(suggestions), len(estimates)) != (policy, value):
        raise ValueError(
            f"the model gave {len(suggestions)} and {len(estimates)} answers to {policy} and {value} queries; "
            "it must give one for each, in order"
        )
    for s in (s for row in suggestions for s in row):
        if not s.logprob < math.inf:
            raise ValueError(f"policy gave `{s.tactic}` the log-probability {s.logprob}")
    for e in estimates:
        if not 0.0 < (total := sum(e.probs)) < math.inf:
            raise ValueError(f"the value's probabilities add up to {total}: {e.probs}")


class LocalModel:
    """A `Call` over a policy and a value in this process. Their methods may be plain or coroutine functions."""

    def __init__(self, policy: Policy, value: Value | None = None, *, thread: bool = True, version: int = 0) -> None:
        """`thread`: run plain functions in a thread, so that the event loop goes on meanwhile."""
        self._policy = policy
        self._value = value
        self._executor = ThreadPoolExecutor(1, "model") if thread else None
        self._version = version

    async def __call__(self, policy: list[Query], value: list[Query], n: int) -> Answers:
        suggestions: Sequence[list[Suggestion]] = []
        estimates: Sequence[ValueEstimate] = []
        if policy:
            suggestions = await self._run(self._policy.suggest, policy, n)
        if value:
            assert self._value is not None
            estimates = await self._run(self._value.evaluate, value)
        return suggestions, estimates, self._version

    async def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*arguments)
        if self._executor is None:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)

    def close(self) -> None:
        """Let the thread end once its call has returned."""
        if self._executor is not None:
            self._executor.shutdown(wait=False)
