"""Over LeanDojo: its real Dojo class and pipe protocol, a real Lean behind a `lake` stand-in (see lake_stand_in.py)."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lean_dojo_example import SLOW

from prover.errors import UserError
from prover.lean.environment import open_environment
from prover.lean.leandojo.environment import lean_dojo_source, lean_dojo_theorem
from prover.lean.server import LeanError, Limits
from prover.lean.theorem import Theorem

HAS_LAKE = shutil.which("lake") is not None or (Path.home() / ".elan/bin/lake").exists()


def test_a_theorem_says_where_it_comes_from() -> None:
    url = "https://github.com/leanprover-community/mathlib4"
    theorem = lean_dojo_theorem(url, "29dcec07", "Mathlib/Logic/Basic.lean", "and_comm")
    assert lean_dojo_source(theorem) == (url, "29dcec07", "Mathlib/Logic/Basic.lean")
    ssh = lean_dojo_theorem("git@github.com:a/b", "c0", "X.lean", "t")
    assert lean_dojo_source(ssh) == ("git@github.com:a/b", "c0", "X.lean")
    assert lean_dojo_source(Theorem("t", ": True")) is None


def test_unknown_kind_and_missing_lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="turnstile, lean_dojo"):
        open_environment("pantograph")  # type: ignore[arg-type]
    git = shutil.which("git")
    assert git
    (tmp_path / "git").symlink_to(git)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))

    async def start() -> None:
        async with open_environment("lean_dojo"):
            pass

    with pytest.raises(UserError, match="install elan"):
        asyncio.run(start())


@pytest.mark.lean
def test_the_packages_own_dojo_over_the_pipe(lean_dojo: ModuleType, repository: Any, traced: Path, lake: Path) -> None:
    theorem = lean_dojo.Theorem(repository, "Example.lean", "Logic.swap")
    with lean_dojo.Dojo(theorem) as (dojo, state):
        assert type(dojo) is lean_dojo.Dojo
        assert [g.conclusion for g in state.goals] == ["q ∧ p"]
        split = dojo.run_tac(state, "constructor")
        assert split.num_goals == 2
        assert "unknown" in dojo.run_tac(split, "no_such_tactic").error
        assert dojo.run_tac(split, "sorry") == lean_dojo.ProofGivenUp()
        last = dojo.run_tac(split, "exact h.2")
        assert type(dojo.run_tac(last, "exact h.1")) is lean_dojo.ProofFinished
        assert dojo.is_successful


@pytest.mark.lean
def test_our_interface_over_lean_dojo(lean_dojo: ModuleType, repository: Any, traced: Path, lake: Path) -> None:
    theorem = lean_dojo_theorem(repository.url, repository.commit, "Example.lean", "Logic.swap")

    async def run() -> None:
        limits = Limits(seconds=3.0, open_seconds=120.0)
        async with open_environment("lean_dojo", size=2, limits=limits) as lean:
            with pytest.raises(LeanError, match="traced repository"):
                await lean.open(Theorem("t", ": True"))
            root = await lean.open(theorem)
            assert root.goals[0].target == "q ∧ p" and ("h", "p ∧ q") in root.goals[0].hypotheses
            ok, error, sorry = await lean.step(root, ["constructor", "exact h", "sorry"])
            assert ok.status == "ok" and len(ok.states) == 1 and ok.order == ((0, 0), (0, 1))
            assert len(ok.states[0].goals) == 2 and ok.lean_s > 0
            assert error.status == "error" and "mismatch" in error.message
            assert sorry.status == "error" and "sorry" in sorry.message
            # LeanDojo's process is lost to a timeout; the state comes back in a new one.
            [late] = await lean.step(ok.states[0], [SLOW])
            assert late.status == "timeout"
            [one] = await lean.step(ok.states[0], ["exact h.2"])
            assert one.status == "ok"
            [dead] = await lean.step(one.states[0], ["exact h.1"])
            assert dead.solved
            await lean.free([*ok.states, *one.states, root])
            [gone] = await lean.step(root, ["constructor"])
            assert gone.message == "the state was freed"

    asyncio.run(run())


@pytest.mark.lean
@pytest.mark.skipif(
    not HAS_LAKE, reason="no native Lean (`lake`) on this machine, so LeanDojo cannot trace a repository"
)
def test_a_repository_that_lean_dojo_traces_itself(lean_dojo: ModuleType, repository: Any) -> None:
    """Everything real: LeanDojo builds and traces the repository with native Lean, and answers over its own REPL."""
    theorem = lean_dojo_theorem(repository.url, repository.commit, "Example.lean", "Logic.swap")
    os.environ["PATH"] += f"{os.pathsep}{Path.home() / '.elan/bin'}"

    async def run() -> None:
        async with open_environment("lean_dojo", size=1) as lean:
            root = await lean.open(theorem)
            [ok] = await lean.step(root, ["exact ⟨h.2, h.1⟩"])
            assert ok.solved

    asyncio.run(run())
