"""Asynchronous access to a model. Queries are batched.

A search uses one client for its own policy and value. In a process that runs many searches on one model, these share a second client. A
model server batches the queries of many such processes, whose clients may have several calls under way.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prover.models.base import Policy, Query, Suggestion, Value, ValueEstimate
from prover.models.batcher import Batcher

Answers = tuple[Sequence[list[Suggestion]], Sequence[ValueEstimate], int]
"""Suggestions of each policy query, estimate of each value query, version of the weights."""
Call = Callable[[list[Query], list[Query], int], Awaitable[Answers]]
"""Calls a model with (policy queries, value queries, number of suggestions)."""


class InferenceClient(Batcher[tuple[bool, Query], Any]):
    """Policy and Value over `call`. An exception of the model reaches every caller whose query was in the batch, as does a ValueError
    for answers that are malformed."""

    def __init__(self, call: Call, n: int, parallel: int = 1) -> None:
        """`n`: suggestions per policy query. `parallel`: maximum number of concurrent calls."""
        super().__init__(self._answers, parallel)
        self.n = n
        self.version = 0
        """Version of the weights that gave the last answer."""
        self._model = call

    async def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        """`self.n` suggestions for each query. `n` is ignored, because one call may serve searches with different `n`."""
        return await self.ask([(True, q) for q in queries])

    async def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        return await self.ask([(False, q) for q in queries])

    async def _answers(self, items: list[tuple[bool, Query]]) -> list[Any]:
        """`items`: (whether the policy is asked, query)."""
        policy, value = ([q for asked, q in items if asked == kind] for kind in (True, False))
        suggestions, estimates, self.version = await self._model(policy, value, self.n)
        _check(suggestions, estimates, len(policy), len(value))
        answers = {True: iter(suggestions), False: iter(estimates)}
        return [next(answers[asked]) for asked, _ in items]


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
        """`thread`: run plain functions in a thread, so that the event loop is not blocked."""
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
