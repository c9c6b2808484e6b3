"""Runs `turnstile` in the process of the test."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prover import cli
from tests.warm_lean import WarmLean


@dataclass
class Done:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(x) for x in self.out.splitlines()]


@pytest.fixture
def turnstile(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run `turnstile ARGS`. Heartbeats alone limit a step of a search, so that a busy machine finds the same."""
    monkeypatch.setattr("prover.solve.executor.SEARCH_SECONDS", 60.0)

    def run(*args: object) -> Done:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main([str(a) for a in args])
        out, err = capfd.readouterr()
        return Done(int(end.value.code or 0), out, err)

    return run


def in_folder(folder: Path, *args: object) -> Done:
    """`turnstile ARGS` in a folder, in this process, for fixtures that outlive a test."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        with pytest.raises(SystemExit) as end:
            cli.main([str(a) for a in args])
    return Done(int(end.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture(autouse=True)
def warm_lean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Commands share the Lean processes that serve more than one text."""
    if request.node.get_closest_marker("lean") is None:
        yield
        return
    warm: WarmLean = request.getfixturevalue("warm")
    with warm.patches():
        yield


def fingerprint_of(folder: Path) -> dict[str, str]:
    """Every file of a folder with its hash."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture
def fingerprint() -> Callable[[Path], dict[str, str]]:
    return fingerprint_of
