"""Metrics and alerts of a run, read back from real offline wandb files."""

from __future__ import annotations

import pytest

from rl.metrics.alerts import Alert
from rl.metrics.tracking import Tracker, print_table
from tests.rl import wandb_files


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")


def test_metrics_and_alerts_are_in_the_wandb_file(tmp_path, offline, capsys):
    tracker = Tracker(tmp_path, "named", {"seed": 7})
    tracker.log({"round": 1, "solve/held-out/all/rate": 0.25})
    tracker.log({"round": 2, "solve/held-out/all/rate": 0.5})
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
    assert run["display_name"] == "named" and run["config"]["update"]["seed"] == 7
    shown = capsys.readouterr().err
    assert "collapses" in shown and "[it]" in shown  # text in brackets is not markup


def test_a_resumed_run_goes_on_in_the_same_wandb_run(tmp_path, offline):
    for value in (1, 2):
        tracker = Tracker(tmp_path, "x", {}, quiet=True)
        tracker.log({"round": value})
        tracker.close()
    assert {r["run_id"] for r in wandb_files.records(tmp_path, "run")} == {(tmp_path / "wandb-id").read_text()}
    assert sorted(r["round"] for r in wandb_files.history(tmp_path)) == [1, 2]


def test_an_undocumented_metric_is_said_once_and_kept(tmp_path, offline, capsys):
    tracker = Tracker(tmp_path, "x", {})
    tracker.log({"round": 1, "no such/metric": 1.0})
    tracker.log({"round": 2, "no such/metric": 2.0})
    tracker.close()
    assert capsys.readouterr().err.count("no such/metric") == 1
    assert [r["no such/metric"] for r in wandb_files.history(tmp_path)] == [1.0, 2.0]


def test_a_table_folds_nothing_away_in_a_pipe(capsys):
    print_table([["name", "[bold]head"], ["x" * 80, "[red]not markup[/red]"]])
    shown = capsys.readouterr().out
    assert "x" * 80 in shown and "[red]not markup[/red]" in shown
