"""The start of Ray on a machine that is too busy to start it in time."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from prover.errors import UserError
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
