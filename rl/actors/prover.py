"""Actors with Lean processes: provers, which search, and the auditor."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import ray

from prover.lean.pool import LeanPool
from prover.lean.server import Limits
from prover.logs import ActorLog
from prover.models.base import Query
from prover.models.inference_client import Answers, InferenceClient
from prover.models.tactic_templates import Explorer
from prover.premises.index import LibraryIndex, library_index
from prover.solve.job import Found
from prover.solve.ray_executor import AuditorBody
from rl.attempt import Task, Workbench, collect, premise_source, split
from rl.config import ProverConfig
from rl.learned import Learned
from rl.whole_proofs import Writer

_log = logging.getLogger(__name__)


class ProverBody:
    """One Lean process and its searches."""

    def __init__(
        self,
        config: ProverConfig,
        seed: int,
        model_server: Any = None,
        models: Learned | None = None,
        log: ActorLog | None = None,
    ):
        if log is not None:
            log.open()
        self.config = config
        self.pool = self._make_pool()
        self.server = model_server
        parallel = 2 * config.concurrent  # the server batches the calls of all provers
        self.model, self.sampler = (InferenceClient(self._ask, n, parallel=parallel) for n in (config.suggestions, 1))
        self.writer = Writer(lambda values, n: self.server.write.remote(values, n))
        self.seed = seed
        self.models = models or Learned()
        self._started = False
        self._lock = asyncio.Lock()

    async def _ask(self, suggest: list[Query], evaluate: list[Query], n: int) -> Answers:
        asked = self.server.answer.remote(suggest, evaluate, n)
        try:
            return await asked
        except asyncio.CancelledError:
            ray.cancel(asked)
            raise

    def _make_pool(self) -> Any:
        limits = Limits(heartbeats=self.config.heartbeats, seconds=self.config.step_seconds)
        return LeanPool(1, limits=limits, constants=True, terse=True)

    async def _start(self) -> None:
        async with self._lock:
            if not self._started:
                index: LibraryIndex = await asyncio.to_thread(library_index)
                await self.pool.start()
                _log.info("%s is ready in %.1f s", self.pool.runtime.name, max(s.ready_s for s in self.pool.servers))
                # No await from here on, so that no call of `use` is lost.
                self.index = index
                self.bench = Workbench(
                    self.pool,
                    premise_source(index, self.config, self.models.retriever),
                    self.config,
                    self.seed,
                    Explorer(index, self.seed, self.config.premises, actions=self.config.actions),
                    self.models.explorer(index, self.seed, self.config),
                    self.model,
                    self.sampler,
                    self.writer,
                    assessor=self.models.assessor,
                )
                self._started = True

    async def ready(self) -> str:
        """Start Lean and return its name."""
        await self._start()
        return self.pool.runtime.name

    async def use(self, model_server: Any, models: Learned) -> None:
        """Use this model server and these models from now on."""
        self.server = model_server
        self.models = models
        if self._started:
            if models.retriever is not None:
                self.bench.premises = premise_source(self.index, self.config, models.retriever)
            self.bench.trained_explorer = models.explorer(self.index, self.seed, self.config)
            self.bench.assessor = models.assessor

    async def attempt(self, task: Task) -> tuple[Found, Any]:
        """Attempt a theorem (rl.attempt.collect). Returns (the result without its examples, the examples), each as a Ray object of its
        own."""
        await self._start()
        found = await collect(task, self.bench)
        level = logging.WARNING if found.outcome == "error" else logging.DEBUG
        _log.log(level, "%s: %s, %d Lean calls %s", task.theorem.name, found.outcome, found.lean_calls, found.reason)
        return split(found, task.learn)

    async def counters(self) -> dict[str, float]:
        """Steps, seconds in Lean, restarts, memory, and the longest model queue since the last call."""
        servers = self.pool.servers
        return {
            "steps": self.pool.steps,
            "lean_s": self.pool.lean_s,
            "restarts": sum(s.counters.restarts for s in servers),
            "rss_mb": sum(s.rss_mb() for s in servers),
            "longest_queue": self.model.pop_longest_queue() + self.sampler.pop_longest_queue(),
        }

    async def close(self) -> None:
        await self.pool.close()


Prover = ray.remote(ProverBody)
AuditActor = ray.remote(AuditorBody)
