"""What a run needs of its machine is known before it starts, and a full disk is named while it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rl import config as config_module
from rl import needs
from tests.cli.conftest import turnstile
from tests.rl.test_training import TINY, env

__all__ = ["turnstile"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path


def test_a_dry_run_counts_theorems_minutes_and_disk(here, turnstile):
    done = turnstile("train", "tiny.toml", "--dry-run", "--json", "--set", "eval.validation=3")
    assert done.code == 0, done.err
    found = done.document
    assert found["theorems"] == {"train": 6, "held_out": 3, "validation": 3}
    assert 0 <= found["minutes"] <= 5 and found["missing"] == []
    (disk,) = [d for d in found["disks"] if any("2 checkpoints in runs/tiny" in what for what in d["for"])]
    assert disk["free_gb"] == pytest.approx(shutil.disk_usage(here).free / 1e9, rel=0.1)
    more = turnstile(
        "train", "tiny.toml", "--dry-run", "--json", "--set", "learn.rounds=12", "learn.seconds=60"
    ).document
    assert more["minutes"] > found["minutes"] + 10
    text = turnstile("train", "tiny.toml", "--dry-run").out
    assert "6 to train on, 3 held out" in text and "GB free on" in text
    assert not (here / "runs").exists()


@pytest.mark.parametrize("dry", [("--dry-run",), ()], ids=["dry", "start"])
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ('theorems.files=["none.jsonl"]', "none.jsonl"),
        ("ray.server_gpus=64", "the run needs 64 GPUs and this machine has"),
        ("ray.learner_gpus=1", "this machine has 0" if not shutil.which("nvidia-smi") else ""),
        ("model.intermediate=100000000", "no space: the disk"),
        ("ray.address=127.0.0.1:9", "ray.address 127.0.0.1:9: no cluster answers"),
    ],
)
def test_what_is_missing_is_one_line_and_leaves_nothing(here, turnstile, setting, message, dry):
    done = turnstile("train", "tiny.toml", *dry, "--set", setting)
    if message:
        assert done.code == 2 and message in done.err and len(done.err.strip().splitlines()) == 1, done.err
    assert not (here / "runs").exists() or not message


def test_needs_on_one_disk_are_added(tmp_path):
    a, b = needs.Space(tmp_path / "not/there", 10**9, "one thing"), needs.Space(tmp_path, 2 * 10**9, "another")
    (row,) = needs.disks([a, b])
    assert row["needed_gb"] == 3.0 and Path(row["disk"]).is_mount() and len(row["for"]) == 2
    line = needs.short_of_disk([needs.Space(tmp_path, 10**18, "too much")])
    assert row["disk"] in line and "1e+09 GB are needed" in line and "too much" in line


def test_checkpoints_that_are_there_need_no_more_room(tmp_path):
    c = config_module.override(config_module.RunConfig(), (f"runs={tmp_path}", "name=x", "learn.rounds=5"))
    (first, *_) = needs.spaces(c, 10**6, 0, 0)
    for version in (1, 2):
        (c.folder / f"checkpoints/{version:06d}").mkdir(parents=True)
        (c.folder / f"checkpoints/{version:06d}/learner.pt").touch()
    (rest, *_) = needs.spaces(c, 10**6, 0, 0)
    (kept, *_) = needs.spaces(config_module.override(c, ("learn.rounds=50", "learn.keep=2")), 10**6, 0, 0)
    assert (first.bytes, rest.bytes, kept.bytes) == (5 * 16 * 10**6, 3 * 16 * 10**6, 3 * 16 * 10**6)


@pytest.mark.lean
@pytest.mark.ray
def test_a_disk_that_fills_up_during_a_run_is_named(here):
    """A small file system of its own, which the test fills as soon as the first round is under way."""
    own = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*own, "mount -t tmpfs none /mnt"], capture_output=True).returncode:
        pytest.skip("this machine allows no mounts in user namespaces")
    (here / "runs").mkdir()
    script = """mount -t tmpfs -o size=300m none runs || exit 9
"$0" -m prover.cli train tiny.toml --set eval.baselines=false learn.rounds=1 & run=$!
while kill -0 $run 2>/dev/null && ! grep -q '"round 1\\|round 1 of' runs/tiny/logs/*.log 2>/dev/null; do
  [ -s runs/tiny/logs/learner-0.log ] && break; sleep 0.2; done
dd if=/dev/zero of=runs/full bs=64k 2>/dev/null
wait $run; code=$?; rm runs/full
"$0" -m prover.cli train --resume runs/tiny --json >/dev/null || exit 8
exit $code"""
    done = subprocess.run([*own, script, sys.executable], text=True, capture_output=True, timeout=400, env=env())
    assert done.returncode == 2, (done.returncode, done.stderr[-2000:])
    said = [line for line in done.stderr.splitlines() if line.startswith("turnstile: ")]
    assert "no space" in said[0] or "No space left" in said[0], said
    assert os.fspath(here / "runs") in said[0] or "ledger" in said[0], said


@pytest.mark.lean
def test_too_little_memory_is_one_line(here, turnstile, monkeypatch):
    """Ray's error stands in for a machine that is really full."""
    from ray.exceptions import OutOfMemoryError

    from rl.loop import Trainer

    def start(trainer):
        raise OutOfMemoryError("2 worker(s) were killed due to the node running low on memory.\nMemory on the node …")

    monkeypatch.setattr(Trainer, "_start", start)
    done = turnstile("train", "tiny.toml")
    assert done.code == 2 and "because memory ran out (2 worker(s) were killed" in done.err, done.err
    assert "turnstile train --resume runs/tiny" in done.err
