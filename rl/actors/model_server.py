"""The actor that serves the current weights, and the object that transfers them through Ray's object store."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import ray

from prover.logs import ActorLog
from prover.models.backends.serve import ServeConfig, open_backend
from prover.models.base import Query, Suggestion, ValueEstimate
from prover.models.batcher import Batcher
from prover.models.inference_client import Answers, InferenceClient
from rl.whole_proofs import Draft


@dataclass(frozen=True)
class Adapter:
    """LoRA adapters that are served without being merged."""

    weights: dict[str, Any]
    """Named as in peft's `adapter_model.safetensors`, with those of a value head, on the CPU."""
    settings: dict[str, Any]
    """Entries of `adapter_config.json`."""
    base: str
    """Folder from which the learner read the base weights."""


@dataclass(frozen=True)
class Published:
    """A version of the model, broadcast through the object store, so that machines need no shared disk."""

    version: int
    files: dict[str, bytes]
    """The checkpoint folder without its weights: architecture, tokenizer, prompt."""
    weights: dict[str, Any]
    """State dict, on the CPU. With an adapter: its base weights, or empty for servers that have them. Empty for replicas across
    machines."""
    folder: str = ""
    """The checkpoint folder. Replicas across machines read it, so it must be on a shared file system."""
    adapter: Adapter | None = None


T = TypeVar("T")
_log = logging.getLogger(__name__)


@ray.remote
class ModelServer:
    """Serves one version at a time, and batches the calls of many provers.

    `load` waits for the calls under way, and later calls wait for `load`, so that no answer mixes versions. If the engine fails, the
    actor ends, so that the fleet replaces it.
    """

    def __init__(self, threads: int, serve: ServeConfig, log: ActorLog | None = None) -> None:
        if log is not None:
            log.open()
        self.threads = threads
        self.serve = serve
        self.policy: Any = None
        self.files: dict[str, bytes] = {}
        self._base = ""
        """`Adapter.base` of the adapters that the engine serves; empty without adapters."""
        self.queries = 0
        self.seconds = 0.0
        self.engines = 0
        self._thread = ThreadPoolExecutor(1, "model")
        self._writers = ThreadPoolExecutor(64, "write")
        """Threads that wait for a concurrent back end."""
        self._clients: dict[int, InferenceClient] = {}
        """Number of suggestions -> client, for back ends that answer one call at a time."""
        self._written: Batcher[tuple[dict[str, Any], int], list[Draft]] = Batcher(self._write_together)
        self._answering, self._began = 0, 0.0
        self._idle, self._open = asyncio.Event(), asyncio.Event()
        self._loading = asyncio.Lock()
        self._idle.set()
        self._open.set()

    async def load(self, published: Published) -> int | None:
        """Serve this version and return its number; None if it is an adapter for other weights than those of the engine. Replaces only
        the weights or the adapter if the architecture is unchanged.

        Raises StaleWeights if one of vLLM's workers serves other weights.
        """
        return await self._alone(self._load, published)

    async def open(self, folder: str) -> int:
        """Serve the checkpoint in a folder on this machine. Returns its version."""
        return await self._alone(self._load_folder, folder)

    async def answer(
        self, suggest: list[Query], evaluate: list[Query], n: int
    ) -> tuple[Sequence[list[Suggestion]], Sequence[ValueEstimate], int]:
        """Returns (suggestions, values, version of the weights). `n`: suggestions per query. Cancelling the call cancels it in the engine
        too. Raises RuntimeError before a model is loaded."""
        async with self._counted(len(suggest) + len(evaluate)):
            if getattr(self.policy, "concurrent", False):
                suggestions, values = await self.policy.answer(suggest, evaluate, n)
            else:
                client = self._clients.setdefault(n, InferenceClient(self._compute, n))
                suggestions, values = await asyncio.gather(client.suggest(suggest, n), client.evaluate(evaluate))
            return suggestions, values, self.policy.version

    async def write(self, values: dict[str, Any], n: int) -> tuple[list[Draft], int]:
        """Write whole proofs. `values`: for the template's fields. Returns (n drafts, version of the weights)."""
        async with self._counted(1):
            if getattr(self.policy, "concurrent", False):
                loop = asyncio.get_running_loop()
                (drafts,) = await loop.run_in_executor(self._writers, self._write, [(values, n)])
            else:
                (drafts,) = await self._written.ask([(values, n)])
            return drafts, self.policy.version

    @property
    def _broken(self) -> bool:
        """Whether the engine failed, so that every request fails."""
        return getattr(getattr(self.policy, "engine", None), "broken", False)

    @asynccontextmanager
    async def _counted(self, queries: int) -> AsyncIterator[None]:
        """Count a call while it is under way. `seconds` is the time with at least one call under way."""
        if self.policy is None:
            raise RuntimeError("no model is loaded yet")
        while not self._open.is_set():
            await self._open.wait()
        if not self._answering:
            self._began = time.monotonic()
            self._idle.clear()
        self._answering += 1
        try:
            yield
        except Exception:
            if self._broken:
                _log.exception("the engine failed; the fleet replaces this server")
                ray.actor.exit_actor()  # the caller sees a dead actor and tries again, as after a crash
            raise
        finally:
            self.queries += queries
            self._answering -= 1
            if not self._answering:
                self.seconds += time.monotonic() - self._began
                self._idle.set()

    async def _alone(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function while no answer is under way."""
        async with self._loading:
            self._open.clear()
            try:
                await self._idle.wait()
                return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
            finally:
                self._open.set()

    def _load(self, published: Published) -> int | None:
        adapter = published.adapter
        base = adapter.base if adapter is not None else ""
        same = {k: v for k, v in published.files.items() if k != "turnstile.json"}  # contains the version
        fits = self.policy is not None and same == self.files and base == self._base
        fits = fits and not self._broken
        if not fits and adapter is not None and not published.weights:
            return None
        if not fits:
            self._start(published)
            self.files, self._base = same, base
        policy: Any = self.policy
        if fits and self.serve.across:
            policy.load_folder(published.folder, published.version)
        elif fits and adapter is None:
            policy.load_weights(published.weights, published.version)
        if adapter is not None:
            policy.load_adapter(adapter.weights, adapter.settings, published.version)
        if hasattr(policy, "check_version"):
            policy.check_version(published.version)
        return policy.version

    def _start(self, published: Published) -> None:
        """Open a back end on the published weights, in place of an earlier one."""
        from prover.models.value_head import write_weights

        if hasattr(self.policy, "close"):  # its memory is needed
            self.policy.close()
        rank = published.adapter.settings["r"] if published.adapter is not None else 0
        with tempfile.TemporaryDirectory(prefix="turnstile-model-") as scratch:
            if not self.serve.across:
                write_weights(Path(scratch), published.weights)
                for name, data in published.files.items():
                    (Path(scratch) / name).write_bytes(data)
            folder = published.folder if self.serve.across else scratch
            self.policy = open_backend(folder, self.serve, self.threads, rank)
        self.engines += 1
        self.policy.version = published.version
        _log.info("started an engine for version %d", published.version)

    def _load_folder(self, folder: str) -> int:
        self.policy = open_backend(folder, self.serve, self.threads)
        self._base = ""
        self.engines += 1
        _log.info("serve version %d from %s", self.policy.version, folder)
        return self.policy.version

    async def _compute(self, suggest: list[Query], evaluate: list[Query], n: int) -> Answers:
        """Call a back end that answers one call at a time."""

        def compute() -> Answers:
            suggestions = self.policy.suggest(suggest, n) if suggest else []
            values = self.policy.evaluate(evaluate) if evaluate else []
            return suggestions, values, self.policy.version

        return await asyncio.get_running_loop().run_in_executor(self._thread, compute)

    async def _write_together(self, requests: list[tuple[dict[str, Any], int]]) -> list[list[Draft]]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._write, requests)

    def _write(self, requests: list[tuple[dict[str, Any], int]]) -> list[list[Draft]]:
        """The drafts of each request (values, number of samples)."""
        template = self.policy.format.template
        found: dict[int, list[Draft]] = {}
        for n in sorted({n for _, n in requests}):
            some = [i for i, (_, m) in enumerate(requests) if m == n]
            answers = self.policy.draw([template.render(requests[i][0]) for i in some], n)
            for i, row in zip(some, answers, strict=True):
                found[i] = [
                    Draft(template.answer(a.text) if a.finished else None, a.sampled, not a.finished) for a in row
                ]
        return [found[i] for i in range(len(requests))]

    async def counters(self) -> dict[str, float]:
        """Queries answered, seconds spent on them, version served (0: none), engines started."""
        return {
            "queries": self.queries,
            "seconds": self.seconds,
            "version": self.policy.version if self.policy is not None else 0,
            "engines": self.engines,
        }
