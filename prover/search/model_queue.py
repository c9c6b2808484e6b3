"""Questions to the models, gathered while a model works and asked all together when it is free."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prover.models.base import Policy, Query, Suggestion, Value, ValueEstimate
from prover.search.config import SearchConfig
from prover.search.stats import Meter


class ModelQueue:
    """Policy and value behind one queue. `suggest` and `evaluate` of either may be plain or coroutine functions.

    One call is under way at a time: it takes all that waited, policy and value questions together, up to `max_batch`
    each. What a model raises is raised to everyone who asked in that call.
    """

    def __init__(self, policy: Policy, value: Value | None, config: SearchConfig, meters: Sequence[Meter]) -> None:
        self._policy = policy
        self._value = value
        self._n = config.suggestions
        self._max_batch = config.max_batch
        self._executor = ThreadPoolExecutor(1, "search-model") if config.model_thread else None
        self._meters = meters
        self._policy_asked: list[tuple[Query, asyncio.Future[list[Suggestion]]]] = []
        self._value_asked: list[tuple[Query, asyncio.Future[ValueEstimate]]] = []
        self._runner: asyncio.Task[None] | None = None
        self.calls = 0

    async def suggest(self, query: Query) -> list[Suggestion]:
        future: asyncio.Future[list[Suggestion]] = asyncio.get_running_loop().create_future()
        self._policy_asked.append((query, future))
        self._start()
        return await future

    async def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        loop = asyncio.get_running_loop()
        asked: list[tuple[Query, asyncio.Future[ValueEstimate]]] = [(q, loop.create_future()) for q in queries]
        self._value_asked.extend(asked)
        self._start()
        return list(await asyncio.gather(*(f for _, f in asked)))

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    def _start(self) -> None:
        if self._runner is None:
            self._runner = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._policy_asked or self._value_asked:
                await asyncio.sleep(0)  # whoever is ready to ask joins this call
                policy = self._policy_asked[: self._max_batch]
                value = self._value_asked[: self._max_batch]
                del self._policy_asked[: self._max_batch]
                del self._value_asked[: self._max_batch]
                await self._ask(policy, value)
        finally:
            self._runner = None

    async def _ask(
        self,
        policy: list[tuple[Query, asyncio.Future[list[Suggestion]]]],
        value: list[tuple[Query, asyncio.Future[ValueEstimate]]],
    ) -> None:
        futures: list[asyncio.Future[Any]] = [f for _, f in policy] + [f for _, f in value]
        for meter in self._meters:
            meter.enter()
        self.calls += 1
        try:
            answers: list[Any] = []
            if policy:
                queries = [q for q, _ in policy]
                offered = _checked("policy", await self._call(self._policy.suggest, queries, self._n), len(queries))
                for s in (s for row in offered for s in row):
                    if not s.logprob < math.inf:
                        raise ValueError(f"policy gave `{s.tactic}` the log-probability {s.logprob}")
                answers += offered
            if value:
                assert self._value is not None
                queries = [q for q, _ in value]
                estimates = _checked("value", await self._call(self._value.evaluate, queries), len(queries))
                for e in estimates:
                    if not 0.0 < e.steps < math.inf:
                        raise ValueError(f"value estimated {e.steps} steps to go, from {e.probs}")
                answers += estimates
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
            for future, answer in zip(futures, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
        finally:
            for meter in self._meters:
                meter.leave()

    async def _call(self, function: Any, *arguments: Any) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*arguments)
        if self._executor is None:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)


def _checked(what: str, answers: Sequence[Any], expected: int) -> Sequence[Any]:
    if len(answers) != expected:
        raise ValueError(
            f"{what} gave {len(answers)} answers to {expected} queries; it must give one for each, in order"
        )
    return answers
