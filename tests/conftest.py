"""How `make test` shares the tests between processes."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Before torch is loaded: its threads wait for each other whenever another process has a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_TEST = re.compile(r"^((?:@.*\n(?:[ )\]].*\n)*)*)(?:async )?def (test_\w+)", re.MULTILINE)
"""A test function with its decorators."""


@cache
def text(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


@cache
def ray_tests(file: str) -> frozenset[str]:
    """Names of the tests in the file that start Ray."""
    every = _TEST.findall(text(file))
    whole = re.search(r"^pytestmark = .*pytest\.mark\.ray\b", text(file), re.MULTILINE)
    return frozenset(name for decorators, name in every if whole or "pytest.mark.ray" in decorators)


def starts_ray(nodeid: str) -> bool:
    file, _, test = nodeid.partition("::")
    return test.partition("[")[0] in ray_tests(file)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start Ray come first: they take longest, and one process runs all of them. Files without Lean come last: they are
    short, so that the processes end together."""
    items.sort(
        key=lambda item: (not starts_ray(item.nodeid), "pytest.mark.lean" not in text(item.nodeid.partition("::")[0]))
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests run in one process, since they share Lean processes. So do all tests that start Ray: two Ray clusters
    at once would need the memory of a dozen Lean processes."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduler(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "Ray" if starts_ray(nodeid) else super()._split_scope(nodeid)

    return Scheduler(config, log) if config.getoption("dist") == "loadfile" else None
