"""Paths and commands that the documentation names: every path exists, and every command line parses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PATH = re.compile(r"`((?:prover|rl|curricula|tests|docs|lean_project)/[\w./*-]+)`")
COMMAND = re.compile(r"^\$ (?:lake env )?(?:\.venv/bin/)?turnstile (.*)$", re.MULTILINE)
PLACES = {"docs/experiments/DATE-topic.md", "tests/exploits/cases/CLASS/NAME/"}
"""Paths that stand for others."""
COMMANDS = [(page, line) for page in PAGES for line in COMMAND.findall(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_exist(page: Path) -> None:
    named = set(PATH.findall(page.read_text())) - PLACES
    assert [path for path in sorted(named) if not any(ROOT.glob(path.rstrip("/")))] == []


def test_commands_are_found() -> None:
    """The parametrised test below would pass without any."""
    assert {"README.md", "prove.md", "train.md", "verify.md"} <= {page.name for page, _ in COMMANDS}


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page.name}: {line}" for page, line in COMMANDS])
def test_commands_parse(page: Path, line: str, parses: Callable[[str], None]) -> None:
    parses(line)
