"""A run that is killed at random points, its driver alone or with all its processes, goes on and loses no attempt."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from prover.errors import UserError
from prover.solve.ledger import Attempt, Ledger
from tests.rl.test_training import LARGER, command, env

pytestmark = [pytest.mark.lean, pytest.mark.ray, pytest.mark.slow]


def attempts(folder: Path) -> dict[tuple[str, str], Attempt]:
    try:
        return {(a.phase, a.theorem.name): a for a in Ledger.open(folder, readonly=True).attempts()}
    except UserError:
        return {}  # not made yet, or being made


@pytest.mark.timeout(1500)
def test_a_run_survives_kills_at_random_points(tmp_path):
    config = LARGER.replace("held_out_per_module = 3", "held_out_per_module = 5")
    (tmp_path / "tiny.toml").write_text(config + "validation = 3\nvalidation_calls = 4\nrollouts = 4\n")
    folder = tmp_path / "runs/tiny"
    seed = random.SystemRandom().randrange(10**6)
    rng = random.Random(seed)
    before: dict[tuple[str, str], Attempt] = {}
    # At 30 attempts the second round is still to be learned from and evaluated: the run cannot end before it is killed.
    for alone, enough in zip((False, True, False), sorted(rng.sample(range(1, 31), 3)), strict=True):
        with (tmp_path / "log").open("a") as log:
            # Without --resume: the same command goes on with the run it finds.
            process = subprocess.Popen(
                command("train", "tiny.toml"), cwd=tmp_path, env=env(), stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 300
        while len(attempts(folder)) < enough and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(rng.uniform(0.0, 1.0))
        assert process.poll() is None, f"seed {seed}: the run ended before it was killed"
        (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
        process.wait()
        now = attempts(folder)
        assert {k: now[k] for k in before} == before, f"seed {seed}: a recorded attempt changed or went"
        before = now
    assert not (folder / "summary.json").exists(), "the run was never interrupted"
    again = command("train", "tiny.toml", "--json")
    done = subprocess.run(again, cwd=tmp_path, env=env(), text=True, capture_output=True, timeout=600)
    assert done.returncode == 0, (seed, done.stderr[-3000:])
    assert json.loads(done.stdout)["trained"]["total"] == 5
    after = attempts(folder)
    assert {k: after[k] for k in before} == before, f"seed {seed}: a recorded attempt changed or was made again"
    ledger = Ledger.open(folder, readonly=True)
    phases = Counter(a.phase for a in ledger.attempts())
    assert phases["round 1"] == 10 and phases["validation round 1"] == phases["validation round 2"] == 3, (seed, phases)
    assert phases["held-out model"] == phases["held-out explorer"] == phases["rollouts held-out"] == 5, (seed, phases)
    assert ledger.get("learned 2") == {"version": 2} and (folder / "checkpoints/000002/learner.pt").exists()
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary["pass_at_k"]) == {"1", "2", "4"}
