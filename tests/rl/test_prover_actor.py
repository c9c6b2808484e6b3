"""The prover actor's body without Ray: updates that arrive while it starts."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np

from prover.premises.dense import DenseWeights
from rl.actors import prover as actor
from rl.actors.prover import ProverBody
from rl.config import ProverConfig
from rl.learned import Learned
from tests.premises.test_dense import library


def test_updates_received_while_lean_starts_are_used(monkeypatch):
    """A resumed run starts its provers and then sends them what it learned; Lean may still be starting."""
    starting, go = asyncio.Event(), asyncio.Event()

    class Slow:
        runtime = SimpleNamespace(name="a fake Lean")
        servers = [SimpleNamespace(ready_s=0.0)]

        async def start(self) -> None:
            starting.set()
            await go.wait()

    monkeypatch.setattr(actor, "LeanPool", lambda *args, **options: Slow())
    monkeypatch.setattr(actor, "library_index", library)
    ranker: Any = object()

    async def run() -> None:
        body = ProverBody(ProverConfig(retriever="hybrid"), 0)
        start = asyncio.create_task(body.ready())
        await starting.wait()
        await body.use("server", Learned(ranker, DenseWeights.initial()))
        go.set()
        await start
        assert (
            body.bench.trained_explorer.ranker is ranker
            and body.bench.premises.name == "hybrid"
            and body.server == "server"
        )
        await body.use("server", Learned(None, DenseWeights.initial(1)))
        assert body.bench.trained_explorer.ranker is None
        assert np.array_equal(body.bench.premises.weights.table, DenseWeights.initial(1).table)  # type: ignore[union-attr]

    asyncio.run(run())
