"""The actor that serves the current weights, and what it is handed: a version of the model, as one object in Ray's store."""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from prover.logs import ActorLog
from prover.models.backends.serve import ServeConfig, open_backend
from prover.models.base import Query, Suggestion, ValueEstimate


@dataclass(frozen=True)
class Published:
    """A version of the model. Broadcast through the object store, so that no machine needs another's disk."""

    version: int
    files: dict[str, bytes]
    """The checkpoint folder without its weights: architecture, tokenizer, prompt."""
    weights: dict[str, Any]
    """State dict, on the CPU."""
    folder: str = ""
    """The checkpoint, for copies across machines: each of vLLM's workers reads it there, so the file system must be shared."""


_log = logging.getLogger(__name__)


@ray.remote
class ModelServer:
    """Serves one version at a time; calls take turns, so no answer mixes two."""

    def __init__(self, threads: int, serve: ServeConfig, log: ActorLog | None = None) -> None:
        if log is not None:
            log.open()
        self.threads = threads
        self.serve = serve
        self.policy: Any = None
        self.files: dict[str, bytes] = {}
        self.queries = 0
        self.seconds = 0.0
        self.engines = 0

    def load(self, published: Published) -> int:
        """Serve this version. Only the weights move where the model is the same; the version served.

        Raises StaleWeights when one of vLLM's workers serves other weights after all.
        """
        same = {k: v for k, v in published.files.items() if k != "turnstile.json"}  # which holds the version
        if self.policy is not None and same == self.files:
            if self.serve.across:
                self.policy.load_folder(published.folder, published.version)
            else:
                self.policy.load_weights(published.weights, published.version)
            if hasattr(self.policy, "check_version"):
                self.policy.check_version(published.version)
            return self.policy.version
        with tempfile.TemporaryDirectory(prefix="turnstile-model-") as scratch:
            if not self.serve.across:
                _write(published, Path(scratch))
            self.policy = open_backend(published.folder if self.serve.across else scratch, self.serve, self.threads)
        self.engines += 1
        self.policy.version = published.version
        _log.info("started an engine for version %d", published.version)
        self.files = same
        return self.policy.version

    def open(self, folder: str) -> int:
        """Serve the checkpoint in a folder of this machine; its version."""
        self.policy = open_backend(folder, self.serve, self.threads)
        self.engines += 1
        _log.info("serve version %d from %s", self.policy.version, folder)
        return self.policy.version

    def answer(
        self, suggest: list[Query], evaluate: list[Query], n: int
    ) -> tuple[list[list[Suggestion]], list[ValueEstimate], int]:
        """Suggestions and values, with the version of the weights that gave them."""
        if self.policy is None:
            raise RuntimeError("no model is loaded yet")
        began = time.monotonic()
        suggestions = self.policy.suggest(suggest, n) if suggest else []
        values = self.policy.evaluate(evaluate) if evaluate else []
        self.queries += len(suggest) + len(evaluate)
        self.seconds += time.monotonic() - began
        return suggestions, values, self.policy.version

    def counters(self) -> dict[str, float]:
        """Queries answered, seconds spent on them, version served (0: none), models or engines started."""
        return {
            "queries": self.queries,
            "seconds": self.seconds,
            "version": self.policy.version if self.policy is not None else 0,
            "engines": self.engines,
        }


def _write(published: Published, folder: Path) -> None:
    """The model folder that was published."""
    from safetensors.torch import save_file

    for name, data in published.files.items():
        (folder / name).write_bytes(data)
    kept: dict[int, str] = {}
    for name, w in published.weights.items():  # tied weights are written once, as in any such folder
        kept.setdefault(w.data_ptr(), name)
    unique = {name: published.weights[name].contiguous() for name in kept.values()}
    save_file(unique, str(folder / "model.safetensors"), metadata={"format": "pt"})
