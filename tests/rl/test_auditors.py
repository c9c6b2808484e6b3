"""An auditor on a machine that is cut off for a while is asked again. A fake one, since it decides when it can be reached."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError

from prover.lean.theorem import Theorem
from rl.actors import auditors
from rl.actors.events import Events

THEOREM = Theorem("t", ": True")


def resolved(value: Any) -> Any:
    """A reference as Ray gives it."""
    future: Future[Any] = Future()
    if isinstance(value, BaseException):
        future.set_exception(value)
    else:
        future.set_result(value)
    return SimpleNamespace(future=lambda: future)


@pytest.mark.parametrize(("out", "answer"), [(2, "a verdict"), (1000, None)])
def test_it_is_asked_until_it_answers_or_is_given_up(out, answer, monkeypatch):
    monkeypatch.setattr(auditors, "RETRY_INTERVAL_S", 0.0)
    monkeypatch.setattr(auditors, "MAX_RETRIES", 5)
    asked: list[str] = []

    def remote(theorem, script):
        asked.append(script)
        return resolved(ActorUnavailableError("unreachable", None) if len(asked) <= out else "a verdict")

    events, found = Events(), []
    pool = auditors.Auditors(lambda k: SimpleNamespace(audit=SimpleNamespace(remote=remote)), events, 4)
    pool.grow(1)
    pool.audit(THEOREM, "trivial", found.append)
    while not found:
        events.take(5.0)
    assert len(asked) == min(out, 5) + 1 and pool.waiting == 0
    if answer is None:
        assert isinstance(found[0].exception(), ActorUnavailableError)
    else:
        assert found[0].result() == answer
