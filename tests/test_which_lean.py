"""A run of the tests says on which Lean it was; what needs native Lean runs where `TURNSTILE_LEAN=native make test` finds one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prover.lean.audit import Auditor
from prover.lean.runtime import find_runtime
from prover.lean.server import LeanServer
from prover.lean.theorem import Theorem

SAMPLE = """
import pytest

pytestmark = pytest.mark.lean


@pytest.fixture
def breaks():
    yield
    raise OSError


def test_passes(): ...
def test_fails(): assert False
def test_breaks_in_the_end(breaks): ...
def test_is_skipped(): pytest.skip("no")
@pytest.mark.native
def test_needs_native_lean(): ...
"""


def summary(folder: Path, *options: str, **env: str) -> str:
    """The line about Lean of a run of a sample of tests."""
    (folder / "test_sample.py").write_text(SAMPLE)
    (folder / "test_other.py").write_text("def test_without_lean(): ...\n")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  lean\n  native\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", *options, str(folder)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], env=os.environ | env, capture_output=True, text=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("Lean tests on ")] or [done.stdout]
    return line


@pytest.mark.parametrize("options", [(), ("--numprocesses", "2", "--dist", "loadfile")])
def test_a_run_says_on_which_lean_it_was(tmp_path: Path, options: tuple[str, ...]) -> None:
    passed, skipped = (2, 1) if find_runtime().kind == "native" else (1, 2)
    name = find_runtime().name
    assert summary(tmp_path, *options) == f"Lean tests on {name}: {passed} passed, 2 failed, {skipped} skipped"


def test_a_run_without_the_lean_that_was_asked_for_says_so(tmp_path: Path) -> None:
    line = summary(tmp_path, TURNSTILE_LEAN="native", PATH="/nowhere", HOME=str(tmp_path), ELAN_HOME=str(tmp_path))
    assert line.startswith("Lean tests on no Lean (no native Lean"), line
    assert line.endswith(": 1 passed, 3 failed, 1 skipped")


@pytest.mark.native
def test_the_server_is_an_executable_of_native_lean() -> None:
    """What the stand-in of tests/native cannot show: this Lean compiles the server, which searches and audits."""

    async def work() -> None:
        theorem = Theorem("t", "(p q : Prop) (h : p ∧ q) : q ∧ p")
        async with LeanServer() as server, Auditor() as auditor:
            (result,) = await server.step(await server.open(theorem), ["exact ⟨h.2, h.1⟩"])
            assert result.solved, result
            assert (await auditor.audit(theorem, "exact ⟨h.2, h.1⟩")).verdict == "proved"
            assert (await auditor.audit(theorem, "exact sorry")).verdict == "rejected"

    asyncio.run(work())
    assert "--run" not in find_runtime().command
