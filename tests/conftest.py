"""How `make test` shares the tests between processes."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Before torch is loaded: its threads wait for each other whenever another process has a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@cache
def starts_ray(file: str) -> bool:
    return "pytest.mark.ray" in (ROOT / file).read_text(encoding="utf-8")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start Ray come first: they take longest, and one process runs all of them."""
    items.sort(key=lambda item: not starts_ray(item.nodeid.split("::")[0]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests run in one process, since they share Lean processes. So do all tests that start Ray: two Ray clusters
    at once would need the memory of a dozen Lean processes."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduler(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "Ray" if starts_ray(file) else file

    return Scheduler(config, log) if config.getoption("dist") == "loadfile" else None
