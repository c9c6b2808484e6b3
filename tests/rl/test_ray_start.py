"""The start of Ray on a machine that is too busy to start it in time, and of Lean in its actors."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from prover.errors import UserError
from prover.lean.theorem import Theorem
from prover.solve.job import Found, Job
from prover.solve.ray_executor import _Prover
from prover.solve.ray_start import STARTS, start_ray

SLOW = "The current node timed out during startup. This could happen because some of the raylet failed to startup"


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Exception | None]:
    """How the next starts of Ray end; None: well."""
    ends: list[Exception | None] = []

    def init(**settings: Any) -> None:
        if (error := ends.pop(0)) is not None:
            raise error

    monkeypatch.setenv("RAY_AUTH_TOKEN", "token")
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return ends


def test_a_start_that_takes_too_long_is_repeated(starts: list[Exception | None]) -> None:
    starts += [Exception(SLOW), None, Exception("not reached")]
    start_ray("local")
    assert len(starts) == 1


def test_a_machine_that_stays_too_busy_is_reported(starts: list[Exception | None]) -> None:
    starts += [Exception(SLOW)] * STARTS
    with pytest.raises(UserError, match="too busy"):
        start_ray("local")
    assert not starts


@pytest.mark.parametrize(("address", "message"), [("local", "no room"), ("10.0.0.1:6379", SLOW)])
def test_other_failures_are_not_repeated(starts: list[Exception | None], address: str, message: str) -> None:
    starts += [Exception(message), None]
    with pytest.raises(Exception, match=message[:20]) as raised:
        start_ray(address)
    assert len(starts) == 1 and not isinstance(raised.value, UserError)


def test_a_prover_whose_lean_did_not_start_tries_again() -> None:
    """The fault is not one that real Lean has on demand."""

    class Pool:
        starts = 0

        async def start(self) -> None:
            self.starts += 1
            if self.starts < 3:
                raise UserError("Lean did not start")

    async def attempt(job: Job) -> Found:
        return Found("found")

    prover = _Prover("portfolio", 0)
    prover.executor = SimpleNamespace(pool=Pool(), lean="Lean", attempt=attempt)  # type: ignore[assignment]

    async def go() -> None:
        with pytest.raises(UserError, match="did not start"):
            await prover.ready()
        job = Job(Theorem("t", ": True"), 1)
        found = [await prover.attempt(job) for _ in range(2)]
        assert [f.outcome for f in found] == ["error", "found"] and found[0].reason == "Lean did not start"

    asyncio.run(go())
