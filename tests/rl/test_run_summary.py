"""The end of a run: comparisons with both baselines, and how busy Lean was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prover.lean.theorem import Theorem
from prover.solve.ledger import Attempt, Ledger
from rl.config import EvalConfig, RunConfig
from rl.metrics.tracking import Tracker
from rl.run_summary import finish

SOLVED = {"portfolio": 1, "explorer": 4, "model": 9}
"""Of ten held-out theorems, the first of which are easiest."""


def test_the_end_of_a_run_compares_with_both_baselines_and_says_how_busy_lean_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = RunConfig(name="run", runs=str(tmp_path), eval=EvalConfig(calls=4))
    config.folder.mkdir()
    ledger = Ledger(config.folder / "ledger.sqlite")
    for policy, solved in SOLVED.items():
        for i in range(10):
            outcome, script = ("proved", "simp") if i < solved else ("budget", None)
            theorem = Theorem(f"t{i}", f": {i} = {i}")
            ledger.record(Attempt(f"held-out {policy}", theorem, outcome, 4, 3 if script else None, 0.1, script))
    for r, share in ((1, 0.5), (2, 0.9), (3, 0.85)):
        ledger.measure(f"round {r}", {"lean/utilisation": share})
    tracker = Tracker(config.folder, config, {"lean": "Lean 4"}, ())
    summary = finish(config, ledger, tracker, 10, 60.0, "Lean 4")
    tracker.close()
    assert summary["paired"]["4"] == {"only_trained": 5, "only_explorer": 0, "p": 0.0625}
    assert summary["paired_portfolio"]["4"] == {"only_trained": 8, "only_portfolio": 0, "p": 0.00781}
    assert summary["paired_portfolio"]["2"] == {"only_trained": 0, "only_portfolio": 0, "p": 1.0}
    assert summary["lean_at_work"] == {"mean": 0.75, "low": 0.5, "high": 0.9}
    assert summary == json.loads((config.folder / "summary.json").read_text())
    said = " ".join(capsys.readouterr().err.split())
    assert "only by the portfolio" in said and "8 and 0 at 4 Lean calls (p = 0.0078)" in said, said
    assert "Lean ran tactics for 75 % of the time spent collecting (mean of 3 rounds, 50 to 90 %)." in said
