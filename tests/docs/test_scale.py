"""The lines of docs/scale.md that start a cluster, typed on this machine: a head and a worker with homes of their own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from prover.solve.ledger import Ledger
from tests.rl.test_nodes import nodes_of, stop_cluster
from tests.rl.test_training import TINY

pytestmark = [pytest.mark.lean, pytest.mark.ray, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
TURNSTILE = f"""#!{sys.executable}
from prover.cli import main
from prover.solve import ray_start

ray_start.JOINS_WITHIN_S = 300.0  # a busy machine is no fault of the cluster
main()
"""


def lines(title: str) -> str:
    page = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf'^```bash title="{title}"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture
def typed(tmp_path):
    """Types lines on a machine, which is a home folder, and returns what they print. The port is one that is free here."""
    with socket.socket() as s:
        s.bind(("", 0))
        port = s.getsockname()[1]
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "turnstile").write_text(TURNSTILE)
    (binaries / "turnstile").chmod(0o755)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "WANDB"))}
    # The homes have tokens of their own; Lean and what is read of its library are this machine's.
    cache = {"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))}

    def run(machine: str, text: str, code: int = 0, token: str = "") -> subprocess.CompletedProcess[str]:
        home = tmp_path / machine
        home.mkdir(exist_ok=True)
        path = os.pathsep.join([str(binaries), str(Path(sys.executable).parent), clean["PATH"]])
        env = {
            **clean,
            **cache,
            "RAY_USAGE_STATS_ENABLED": "0",
            "HOME": str(home),
            "PATH": path,
            "PYTHONPATH": str(ROOT),
        }
        text = re.sub(r'"prover": \d+', '"prover": 1', text)  # this machine is small
        text = text.replace("HEAD", "127.0.0.1").replace("6379", str(port)).replace("TOKEN=TOKEN", f"TOKEN={token}")
        # Files, not pipes: Ray's processes keep them open.
        with (home / "out").open("w") as out, (home / "err").open("w") as err:
            done = subprocess.run(["bash", "-ec", text], cwd=home, env=env, stdout=out, stderr=err, timeout=1000)
        said = subprocess.CompletedProcess(
            text, done.returncode, (home / "out").read_text(), (home / "err").read_text()
        )
        assert done.returncode == code, said.stderr[-3000:]
        return said

    run.port = port
    yield run
    stop_cluster(port)


def test_the_lines_start_a_cluster_that_trains(typed, tmp_path):
    head = lines("head")
    assert "ray start --head" in head and shutil.which("ray", path=str(Path(sys.executable).parent))
    token = re.search(r"^[0-9a-f]{64}$", typed("head", head).stdout, re.MULTILINE)
    assert token, "the second line prints the token"
    assert len(nodes_of(typed.port)) == 1
    typed("worker", lines("worker"), token=token[0])
    assert len(nodes_of(typed.port)) == 2
    # Without the token the run says in one line what to do, within seconds.
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.toml").write_text(TINY)
    refused = typed("other", lines("train").split("\n", 1)[1], code=2)
    assert (
        "refuses this machine's token: set RAY_AUTH_MODE=token" in refused.stderr
        and len(refused.stderr.splitlines()) == 1
    )
    shorter = lines("train").rstrip() + " eval.baselines=false learn.rounds=1 prover.concurrent=2"
    done = typed("other", shorter, token=token[0])
    assert done.stderr.startswith("turnstile run "), "Ray's own lines are in the log"
    folder = tmp_path / "other/runs/tiny"
    assert Ledger.open(folder, readonly=True).learned() == 1 and len(list((folder / "logs").glob("prover-*.log"))) == 2
