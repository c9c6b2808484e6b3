"""Continuous batching: one thread steps vLLM's engine, and the requests of all callers are computed together.

A request joins the others at the engine's next step, and its answer is ready as soon as it ends. Replacing the weights waits for the
requests under way, so that every answer is that of one version.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from prover.models.backends.vllm_worker import BY_HEAD

Job = tuple[Future[Any], Any]
"""A future and what to do for it: a function to call, or a request's (prompt, parameters)."""


class EngineLoop:
    """Owns the engine and its thread. Thread-safe."""

    def __init__(self, start: Callable[[], Any]) -> None:
        """`start`: creates vLLM's `LLM`. It runs in the thread, because vLLM's CPU kernels use thread settings of the calling thread."""
        self.most_under_way = 0
        """Maximum number of concurrent requests so far."""
        self.steps = 0
        self.adapter: Any = None
        """LoRARequest of later requests; None: they have no adapters. Set it in `alone`."""
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._names = itertools.count()
        self._under_way: dict[str, Future[Any]] = {}
        self._broken = ""
        started: Future[Any] = Future()
        self._thread = threading.Thread(target=self._run, args=(start, started), name="vllm", daemon=True)
        self._thread.start()
        self.llm = started.result()

    @property
    def broken(self) -> bool:
        """Whether an internal fault ended the engine."""
        return bool(self._broken)

    def submit(self, prompt: dict[str, Any], params: Any) -> Future[Any]:
        """Add a request. The future gives vLLM's `RequestOutput`; cancelling it removes the request from the engine. It raises
        ValueError for a prompt that the engine rejects, and RuntimeError after an internal fault, which ends the engine."""
        return self._put((prompt, params))

    def generate(self, prompts: Sequence[dict[str, Any]], params: Any) -> list[Any]:
        """The outputs of several requests, in order. `params`: of all, or a list with those of each."""
        each = params if isinstance(params, list) else [params] * len(prompts)
        futures = [self.submit(prompt, p) for prompt, p in zip(prompts, each, strict=True)]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def alone(self, function: Callable[[], Any]) -> Any:
        """Call a function in the engine's thread while no request is under way. Later requests wait for it."""
        return self._put(function).result()

    def close(self) -> None:
        """Stop the engine and its workers after the requests under way."""
        self._broken = self._broken or "it is closed"
        self._inbox.put(None)
        self._thread.join()

    def _put(self, job: Any) -> Future[Any]:
        if self._broken:
            raise self._fault()
        future: Future[Any] = Future()
        self._inbox.put((future, job))
        return future

    def _fault(self) -> RuntimeError:
        return RuntimeError(f"the vLLM engine failed earlier ({self._broken}); start a new one")

    def _run(self, start: Callable[[], Any], started: Future[Any]) -> None:
        try:
            engine = (llm := start()).llm_engine
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(llm)
        while True:
            try:
                job = self._inbox.get(block=not self._under_way)
            except queue.Empty:
                self._step(engine)
                continue
            if job is None or callable(job[1]):
                while self._under_way:
                    self._step(engine)
            if job is None:
                break
            self._begin(engine, *job)
        engine.engine_core.shutdown()

    def _begin(self, engine: Any, future: Future[Any], job: Any) -> None:
        if not callable(job):
            prompt, params = job
            name = f"{BY_HEAD if BY_HEAD in (params.extra_args or {}) else ''}{next(self._names)}"
            try:
                engine.add_request(name, {"type": "token", **prompt}, params, lora_request=self.adapter)
            except Exception as error:  # the engine still works
                _fail(future, ValueError(f"vLLM rejects the request: {error}"))
            else:
                self._under_way[name] = future
                self.most_under_way = max(self.most_under_way, len(self._under_way))
        elif future.set_running_or_notify_cancel():
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)

    def _step(self, engine: Any) -> None:
        """One step of the engine. After an internal fault it keeps its requests, which would never end."""
        for name in [name for name, future in self._under_way.items() if future.cancelled()]:
            del self._under_way[name]
            engine.abort_request([name], internal=False)
        if not self._under_way:
            return
        self.steps += 1
        try:
            outputs = engine.step()
        except Exception as error:
            self._broken = f"{type(error).__name__}: {error}"
            for future in self._under_way.values():
                _fail(future, error)
            self._under_way.clear()
            return
        for output in outputs:
            future = self._under_way.pop(output.request_id, None) if output.finished else None
            if future is not None and future.set_running_or_notify_cancel():
                future.set_result(output)


def _fail(future: Future[Any], error: BaseException) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)
