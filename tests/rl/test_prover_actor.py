"""The prover's body, without Ray: what it is told while it starts."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from prover.premises.dense import DenseWeights
from rl.actors import prover as actor
from rl.actors.prover import ProverBody
from rl.config import ProverConfig
from tests.premises.test_dense import library


def test_what_is_used_is_what_was_said_last_also_while_lean_starts(monkeypatch):
    """A resumed run starts its provers and then tells them what it learned: Lean may be starting still."""
    starting, go = asyncio.Event(), asyncio.Event()

    class Slow:
        async def start(self) -> None:
            starting.set()
            await go.wait()

    class Body(ProverBody):
        def _make_pool(self) -> Any:
            return Slow()

    monkeypatch.setattr(actor, "library_index", library)
    ranker: Any = object()

    async def run() -> None:
        body = Body(ProverConfig(retriever="hybrid"), 0)
        start = asyncio.create_task(body._start())
        await starting.wait()
        await body.use("server", ranker, DenseWeights.initial())
        go.set()
        await start
        assert (
            body.bench.trained_explorer.ranker is ranker
            and body.bench.premises.name == "hybrid"
            and body.server == "server"
        )
        await body.use("server", None, DenseWeights.initial(1))
        assert body.bench.trained_explorer.ranker is None
        assert np.array_equal(body.bench.premises._weights.table, DenseWeights.initial(1).table)  # type: ignore[union-attr]

    asyncio.run(run())
