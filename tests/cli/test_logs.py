"""Logs and internal faults: one line for people, the traceback in a file, exit code 3."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from prover import cli, plugins


def broken() -> int:
    """A command with a fault."""
    raise ZeroDivisionError("by design")


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda group, name: broken if name == "broken" else load(group, name))


@pytest.mark.parametrize("as_json", [False, True])
def test_an_internal_fault_is_one_line_that_names_the_log(
    faulty: None, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["broken", *["--log-json"] * as_json])
    assert end.value.code == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "internal error: ZeroDivisionError: by design" in line
    log = Path(re.findall(r"the traceback is in (.+)\)", line)[0])
    text = log.read_text()
    assert "in broken" in text and "ZeroDivisionError: by design" in text
    if as_json:
        entry = json.loads(text.splitlines()[-1])
        assert entry["level"] == "error" and "in broken" in entry["traceback"]
    log.unlink()


def test_an_unknown_level_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["sets", "--log-level", "loud"])
    assert end.value.code == 2
    assert "--log-level loud: choose one of debug, info, warning, error" in capsys.readouterr().err
