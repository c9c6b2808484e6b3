"""Real Lean: one server and one auditor for each test file, on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from prover.lean.audit import Auditor
from prover.lean.server import LeanServer, Limits
from tests.warm_lean import WarmLean

T = TypeVar("T")


class Loop:
    """An event loop for all tests of a file, so that they can share processes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, what: Coroutine[Any, Any, T], seconds: float = 300.0) -> T:
        """The result of `what`. Fails after `seconds`."""
        return self._loop.run_until_complete(asyncio.wait_for(what, seconds))


@pytest.fixture(scope="module")
def loop(warm: WarmLean) -> Loop:
    return Loop(warm.loop)


@pytest.fixture(scope="module")
def server(loop: Loop) -> Iterator[LeanServer]:
    """A Lean process. Free every state that you open."""
    server = LeanServer(limits=Limits(seconds=20.0))
    loop.run(server.start())
    yield server
    loop.run(server.close())


@pytest.fixture(scope="module")
def auditor(loop: Loop, warm: WarmLean) -> Iterator[Auditor]:
    """Its processes have served other files, as those of a long run have."""
    auditor = warm.auditor()
    yield auditor
    loop.run(auditor.close())
