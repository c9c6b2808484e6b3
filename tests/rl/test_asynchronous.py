"""A run with `learn.max_staleness = 1` on real Ray and real Lean, also after a kill: no round is older than that. Whether a round is
learned while the next one is collected depends on which takes longer; test_pipeline.py decides that itself."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from prover.errors import UserError
from prover.solve.ledger import Ledger
from tests.cli.conftest import turnstile
from tests.rl.test_training import TINY, command, env, recorded

__all__ = ["turnstile"]

pytestmark = [pytest.mark.lean, pytest.mark.ray, pytest.mark.timeout(1800)]

SETTINGS = ("learn.rounds=4", "learn.max_staleness=1", "eval.baselines=false")


def started(folder: Path, *args: str) -> subprocess.Popen[str]:
    log = (folder / "log").open("w")
    return subprocess.Popen(
        command("train", *args), cwd=folder, env=env(), stdout=log, stderr=log, start_new_session=True, text=True
    )


def test_an_asynchronous_run(turnstile, local_ray, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    process = started(tmp_path, "tiny.toml", "--set", *SETTINGS)
    ledger = tmp_path / "runs/tiny/ledger.sqlite"
    while process.poll() is None:
        try:
            if ledger.exists() and Ledger.open(ledger, readonly=True).done("round 3"):
                break
        except UserError:
            pass  # being made just now
        time.sleep(0.2)
    assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = recorded(tmp_path)
    learned = Ledger.open(ledger, readonly=True).learned()
    assert learned >= 1, "round 3 began before version 1 was there"
    done = turnstile("train", "--resume", "runs/tiny")
    assert done.code == 0, done.err[-3000:]
    after = recorded(tmp_path)
    assert {k: after[k] for k in before} == before, "a recorded attempt changed or was made again"
    run = Ledger.open(ledger, readonly=True)
    assert run.learned() == 4 and [int(row["round"]) for row in run.rounds()] == [1, 2, 3, 4]
    versions = {r: {a.model_version for a in run.attempts(f"round {r}") if a.outcome != "error"} for r in range(2, 5)}
    assert all(r - 2 <= v <= r - 1 for r, found in versions.items() for v in found), versions
    for row in run.rounds():
        assert row.get("staleness/max", 0.0) <= 1.0 and 0.0 <= row["idle/learner"] <= 1.0
        assert 0.0 <= row["idle/engines"] <= 1.0
    assert {a.model_version for a in run.attempts("held-out model")} == {4}
