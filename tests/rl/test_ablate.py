"""Ablations on real Ray and real Lean: small runs of variants that learn in different ways."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace

import psutil
import pytest

from curricula.library import split_of
from prover.models.backends.serve import ServeConfig
from prover.solve.ledger import Ledger
from rl.ablate import VARIANTS, variant_settings
from rl.algorithms.gradient_settings import PRESETS
from rl.changes import differences
from rl.config import STAGES, LearnConfig, RunConfig, check, load, override
from rl.plan import plan
from tests.cli.conftest import turnstile
from tests.rl.test_training import LARGER, TINY, command, env

__all__ = ["turnstile"]
SMALL = LARGER.replace("[learn]", '[learn]\nvalue = "td_lambda"')


def test_every_variant_is_a_valid_configuration():
    for name, settings in VARIANTS.items():
        start = ServeConfig(start="model" if name in PRESETS else "")
        check(override(RunConfig(serve=start), settings))
        if name not in PRESETS:
            plan(override(load(STAGES / "worlds.toml"), settings))


def test_best_first_differs_from_the_run_without_a_value_by_the_rule_alone() -> None:
    best_first, puct = (override(RunConfig(), VARIANTS[v]) for v in ("best-first", "no value"))
    assert (puct.prover.rule, best_first.prover.rule) == ("puct", "best_first")
    assert differences(puct, best_first) == [("prover.rule", "puct", "best_first")] and not best_first.learns_value


def test_round_1_alone_has_the_calls_and_the_time_of_all_rounds() -> None:
    base = RunConfig(learn=LearnConfig(rounds=4, first_calls=50, calls=10, seconds=20.0, ranker_seconds=5.0))
    one = override(base, variant_settings("round 1 alone", base)).learn
    assert (one.rounds, one.first_calls, one.seconds, one.ranker_seconds) == (1, 80, 80.0, 20.0)
    assert variant_settings("full", base) == ()


@pytest.fixture
def runs_in_this_process(turnstile, local_ray, monkeypatch):
    """The command's training runs use the Ray that tests share. The next test starts one as the command does."""

    class Run:
        def __init__(self, command, **_):
            assert command[:4] == [sys.executable, "-m", "prover.cli", "train"]
            self.done = turnstile(*command[3:])
            self.returncode = self.done.code

        def communicate(self):
            return self.done.out, self.done.err

    monkeypatch.setattr("rl.ablate.subprocess", SimpleNamespace(Popen=Run, PIPE=subprocess.PIPE))


@pytest.mark.lean
@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_variants_are_trained_compared_and_written(turnstile, runs_in_this_process, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(SMALL)
    args = ("tiny.toml", "--variants", "full", "GRPO from rollouts", "--json")
    done = turnstile("ablate", *args)
    assert done.code == 0, done.err[-3000:]
    found = done.document
    assert set(found["variants"]) == {"full", "GRPO from rollouts"}
    for variant in found["variants"].values():
        curve = [variant["trained"][b] for b in ("1", "2", "4", "8")]
        assert all(0 <= c["low"] <= c["solved"] / c["of"] <= c["high"] <= 1 and c["of"] == 3 for c in curve)
        assert [c["solved"] for c in curve] == sorted(c["solved"] for c in curve)
        assert variant["training_proved"] > 0
    assert found == json.loads((tmp_path / "docs/results.json").read_text())
    page = (tmp_path / "docs/results.md").read_text()
    assert "GRPO from rollouts" in page and "turnstile ablate tiny.toml" in page
    # Rollouts left their groups, TD its targets, and nothing of it came from a held-out theorem.
    groups = Ledger.open(tmp_path / "runs/ablations/grpo-from-rollouts-0", readonly=True)
    rows = list(groups.example_rows("rollouts"))
    assert rows and all(0 < len(row.data["rollouts"]) <= 8 for row in rows)
    assert {split_of(row.theorem) for row in rows} == {"train"}
    # Rollouts of a theorem are draws, not one of them repeated, and what they teach is a difference between them.
    drawn = [Counter(json.dumps(r["decisions"]) for r in row.data["rollouts"]) for row in rows]
    assert sum(len(c) > 1 for c in drawn) > len(drawn) / 2, drawn
    targets = list(Ledger.open(tmp_path / "runs/ablations/full-0", readonly=True).example_rows("td"))
    assert targets and all(0 <= row.data["td"] <= 1 for row in targets)
    # Finished runs are not run again.
    trained = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("learner.pt")}
    again = turnstile("ablate", *args)
    assert again.code == 0 and again.document == found
    assert len(trained) >= 3 and {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("learner.pt")} == trained
    # The command on the page is one that a shell takes back.
    assert shlex.split(page.split("`")[1])[-2:] == ["full", "GRPO from rollouts"]
    # Figures of other settings never stand among these.
    (tmp_path / "other.toml").write_text(SMALL.replace("calls = 8\nharvest", "calls = 9\nharvest"))
    other = turnstile("ablate", "other.toml", *args[1:])
    assert other.code == 2 and "trained with other settings" in other.err, other.err
    assert json.loads((tmp_path / "docs/results.json").read_text()) == found


@pytest.mark.lean
@pytest.mark.ray
def test_the_training_run_ends_with_the_command(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    process = subprocess.Popen(
        command("ablate", "tiny.toml", "--variants", "full"), cwd=tmp_path, env=env(), stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "runs/ablations/full-0/logs/driver.log"
    while "baseline" not in (log.read_text() if log.exists() else ""):
        assert process.poll() is None, "the command ended before its run began"
        time.sleep(0.2)
    children = psutil.Process(process.pid).children(recursive=True)
    assert any("train" in p.cmdline() for p in children)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == 130 and "interrupted" in said and len(said.splitlines()) == 2, said
    _, alive = psutil.wait_procs(children, timeout=300)
    assert not alive, [p.cmdline()[:4] for p in alive if p.is_running()]
    ledger = Ledger.open(tmp_path / "runs/ablations/full-0", readonly=True)
    assert ledger.done("held-out portfolio"), "the run can go on"


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--out", "file/results"), "file"), (("--variants", "nonsense"), "unknown ablation 'nonsense'")],
)
def test_bad_options_are_refused_before_anything_is_trained(turnstile, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "file").touch()
    done = turnstile("ablate", "tiny.toml", *options)
    assert done.code == 2 and len(done.err.strip().splitlines()) == 1 and message in done.err
    assert not (tmp_path / "runs").exists()
