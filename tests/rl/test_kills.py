"""A run killed (-9) at random points, its driver alone or with all that it started, goes on each time and loses nothing."""

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
from tests.rl.test_training import TINY, command, env, train

pytestmark = [pytest.mark.lean, pytest.mark.ray]


def attempts(folder: Path) -> dict[tuple[str, str], Attempt]:
    try:
        return {(a.phase, a.theorem.name): a for a in Ledger.open(folder, readonly=True).attempts()}
    except UserError:
        return {}  # not made yet, or being made


@pytest.mark.timeout(1500)
def test_a_run_survives_kills_at_random_points(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY + "validation = 3\nvalidation_calls = 4\nrollouts = 4\n")
    folder = tmp_path / "runs/tiny"
    seed = random.SystemRandom().randrange(10**6)
    rng = random.Random(seed)
    before: dict[tuple[str, str], Attempt] = {}
    for alone in (False, True, False):
        with (tmp_path / "log").open("a") as log:
            # Without --resume: the same command goes on with the run it finds.
            process = subprocess.Popen(
                command("train", "tiny.toml"), cwd=tmp_path, env=env(), stdout=log, stderr=log, start_new_session=True
            )
        # The first attempts take a while; then some seconds more, which may be in a search, an audit or in learning.
        deadline = time.monotonic() + 300
        while len(attempts(folder)) <= len(before) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(rng.uniform(0.0, 12.0))
        if process.poll() is not None:
            break  # done before it could be killed once more
        (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
        process.wait()
        now = attempts(folder)
        assert {k: now[k] for k in before} == before, f"seed {seed}: a recorded attempt changed or went"
        before = now
    if not (folder / "summary.json").exists():
        done = train(tmp_path, "tiny.toml", "--json", timeout=600)
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
