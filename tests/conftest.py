"""How `make test` shares the tests between processes, the Lean processes that its files share, and on which Lean the tests ran."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.warm_lean import WarmLean

LEAN, NATIVE = "lean", "native"
"""Markers of tests that need Lean, and of those that need native Lean."""

# Before torch is loaded: its threads wait for each other whenever another process has a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def starts_ray(item: pytest.Item) -> bool:
    return item.get_closest_marker("ray") is not None


def ends_ray(item: pytest.Item) -> bool:
    """Whether the test's file ends the Ray that tests share."""
    return any("last" in marker.kwargs for marker in item.iter_markers("ray"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start Ray come first: they take longest, and one process runs all of them, last those that end the shared Ray. Files
    without Lean come last of all: they are short, so that the processes end together."""
    for item in items:
        if any(map(item.get_closest_marker, (LEAN, NATIVE))):
            item.user_properties.append((LEAN, True))  # an xdist worker sends these with its reports, unlike markers
    lean = {item.path for item in items if item.get_closest_marker(LEAN)}
    items.sort(key=lambda item: (not starts_ray(item), ends_ray(item), item.path not in lean))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips tests that are marked `native` on another Lean."""
    if item.get_closest_marker(NATIVE):
        from prover.lean.runtime import find_runtime

        if find_runtime().kind != "native":
            pytest.skip("needs native Lean: TURNSTILE_LEAN=native")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line that says on which Lean the tests marked `lean` or `native` ran, and how they ended."""
    ended = {
        outcome: {r.nodeid for kind in kinds for r in terminalreporter.stats.get(kind, ()) if _on_lean(r)}
        for outcome, kinds in (("passed", ["passed"]), ("failed", ["failed", "error"]), ("skipped", ["skipped"]))
    }
    ended["passed"] -= ended["failed"]  # whose teardown failed
    if not any(ended.values()):
        return
    from prover.errors import UserError
    from prover.lean.runtime import find_runtime

    try:
        name = find_runtime().name
    except UserError as e:
        name = f"no Lean ({e})"
    counts = ", ".join(f"{len(tests)} {outcome}" for outcome, tests in ended.items())
    terminalreporter.write_line(f"Lean tests on {name}: {counts}")


def _on_lean(report: Any) -> bool:
    return any(name == LEAN for name, _ in getattr(report, "user_properties", ()))


def ray_tests() -> Path:
    """The file in which xdist's workers name the tests that start Ray. The scheduler runs in this process and does not see markers."""
    return Path(tempfile.gettempdir()) / f"turnstile-ray-tests-{os.getpid()}.json"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["ray tests"] = str(ray_tests())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    if workerinput := getattr(session.config, "workerinput", None):
        names = [item.nodeid for item in session.items if starts_ray(item)]
        Path(workerinput["ray tests"]).write_text(json.dumps(names))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests run in one process, since they share Lean processes. So do all tests that start Ray: two Ray clusters
    at once would need the memory of a dozen Lean processes."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduler(LoadFileScheduling):
        ray: frozenset[str] = frozenset()

        def schedule(self) -> None:
            if self.collection is None:  # all workers have collected
                self.ray = frozenset(json.loads(ray_tests().read_text()))
                ray_tests().unlink()
            super().schedule()

        def _split_scope(self, nodeid: str) -> str:
            return "Ray" if nodeid in self.ray else super()._split_scope(nodeid)

    return Scheduler(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def _lean_processes() -> Iterator[WarmLean]:
    from tests.warm_lean import WarmLean

    processes = WarmLean()
    yield processes
    processes.close()


@pytest.fixture(scope="module")
def warm(_lean_processes: WarmLean) -> Iterator[WarmLean]:
    """Lean processes that files share."""
    yield _lean_processes
    _lean_processes.thin()
