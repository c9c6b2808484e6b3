"""Command lines of pages, workflows and images are parsed, not run."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest

from prover import cli


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Parses the text after `turnstile` as the command does. Raises UserError for an unknown command or option."""
    parse = cli.parsed

    def only_parse(*args: Any) -> Callable[[], int]:
        assert parse(*args) is not None
        return lambda: 0

    def check(line: str) -> None:
        args: list[Any] = shlex.split(line, comments=True)
        assert cli.run(args) == 0

    monkeypatch.setattr(cli, "parsed", only_parse)
    return check
