"""Metrics and alerts of a run, read back from real offline wandb files."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from prover.solve.ledger import Ledger
from rl import config
from rl.metrics.alerts import Alert
from rl.metrics.tracking import Tracker, group, print_table, tags
from tests.rl import wandb_files
from tests.rl.test_training import env

VERSIONS = {"lean": "Lean 4", "turnstile": "1"}


@pytest.fixture
def track(tmp_path, monkeypatch) -> Callable[..., Tracker]:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_TAGS", "WANDB_RUN_GROUP"):
        monkeypatch.delenv(name, raising=False)

    def start(*settings: str, logged=(), quiet: bool = False) -> Tracker:
        return Tracker(tmp_path, config.override(config.RunConfig(), settings), VERSIONS, logged, quiet)

    return start


def test_metrics_and_alerts_are_in_the_wandb_file(tmp_path, track, capsys):
    tracker = track("name=named", "seed=7")
    tracker.log({"round": 1, "solve/held-out/all/rate": 0.25}, 0)
    tracker.log({"round": 2, "solve/held-out/all/rate": 0.5}, 1)
    tracker.alert(Alert("entropy", "The policy's entropy collapses", "Round 2: [it] is 0.01 nats."))
    tracker.close()
    assert wandb_files.history(tmp_path) == [
        {"round": 1, "solve/held-out/all/rate": 0.25},
        {"round": 2, "solve/held-out/all/rate": 0.5},
    ]
    (alert,) = wandb_files.records(tmp_path, "alert")
    assert (alert["title"], alert["level"]) == ("The policy's entropy collapses", "WARN")
    assert alert["text"] == "Round 2: [it] is 0.01 nats."
    (run,) = wandb_files.records(tmp_path, "run")
    saved = run["config"]["update"]
    assert run["display_name"] == "named" and saved["seed"] == 7 and saved["versions"] == VERSIONS
    assert run["tags"] == ["expert_iteration", "search", "from scratch", "Lean 4"]
    assert run["run_group"].startswith("expert_iteration-")
    shown = capsys.readouterr().err
    assert "collapses" in shown and "[it]" in shown  # text in brackets is not markup


def test_the_x_axes_are_defined(tmp_path, track):
    track().close()
    axes = {m.get("glob_name") or m["name"]: m.get("step_metric") for m in wandb_files.records(tmp_path, "metric")}
    assert axes["*"] == "round" and axes["held_out_by_calls/*"] == "held_out_by_calls/lean_calls"


def test_seeds_of_one_configuration_are_a_group():
    def of(*settings: str) -> str:
        return group(config.override(config.RunConfig(), settings))

    assert of("seed=1", "name=a", "ray.address=h:1", "max_minutes=3") == of()
    assert of("learn.calls=17") != of() and of('learn.algorithm="grpo"').startswith("grpo-")
    assert tags(config.override(config.RunConfig(), ('serve.start="/x/y-7B/"',)), VERSIONS)[2] == "y-7B"


def test_a_resumed_run_goes_on_in_the_same_wandb_run_and_its_steps_continue(tmp_path, track):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for value in (1, 2, 3):
        tracker = track(logged=ledger.logged(), quiet=True)
        for key in ("baseline", f"round {value}"):
            if (step := ledger.log(key, {"round": value})) is not None:
                tracker.log({"round": value}, step)
        tracker.close()
    assert {r["run_id"] for r in wandb_files.records(tmp_path, "run")} == {(tmp_path / "wandb-id").read_text()}
    items = [r["item"] for r in wandb_files.records(tmp_path, "history")]
    assert [(i["_step"], i["round"]) for i in items] == [(0, 1), (1, 1), (2, 2), (3, 3)]


def test_a_kill_loses_no_row(tmp_path, track):
    """The process is killed before wandb has written what it was given last. How much that is varies, so the test shortens the last
    file too."""
    code = f"""
import os, signal, sys
from pathlib import Path
from prover.solve.ledger import Ledger
from rl.config import RunConfig
from rl.metrics.tracking import Tracker
ledger = Ledger(Path({str(tmp_path)!r}) / "ledger.sqlite")
tracker = Tracker(Path({str(tmp_path)!r}), RunConfig(), {VERSIONS!r}, ledger.logged(), True)
for n in range(len(ledger.logged()), len(ledger.logged()) + 40):
    row = {{"round": n}}
    tracker.log(row, ledger.log(str(n), row))
os.killpg(0, signal.SIGKILL)
"""
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**env(), "WANDB_MODE": "offline"},
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )
        assert process.wait(500) == -signal.SIGKILL
    last = max(tmp_path.glob("wandb/offline-run-*/*.wandb"), key=lambda p: p.stat().st_mtime_ns)
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    assert len(wandb_files.history(tmp_path)) < 80
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert len(ledger.logged()) == 80
    track(logged=ledger.logged(), quiet=True).close()
    items = [r["item"] for r in wandb_files.records(tmp_path, "history")]
    assert sorted((i["_step"], i["round"]) for i in items) == [(n, n) for n in range(80)]


def test_an_undocumented_metric_is_said_once_and_kept(tmp_path, track, capsys):
    tracker = track()
    tracker.log({"round": 1, "no such/metric": 1.0}, 0)
    tracker.log({"round": 2, "no such/metric": 2.0}, 1)
    tracker.close()
    assert capsys.readouterr().err.count("no such/metric") == 1
    assert [r["no such/metric"] for r in wandb_files.history(tmp_path)] == [1.0, 2.0]


def test_a_table_folds_nothing_away_in_a_pipe(capsys):
    print_table([["name", "[bold]head"], ["x" * 80, "[red]not markup[/red]"]])
    shown = capsys.readouterr().out
    assert "x" * 80 in shown and "[red]not markup[/red]" in shown
