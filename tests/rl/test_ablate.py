"""Ablations on real Ray and real Lean, in small: variants that learn in quite different ways, side by side."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections import Counter

import pytest

from curricula.library import split_of
from prover.solve.ledger import Ledger
from rl.ablate import VARIANTS
from rl.config import RunConfig, check, override
from tests.rl.test_training import TINY, command, env


def test_every_variant_is_a_valid_configuration():
    for settings in VARIANTS.values():
        check(override(RunConfig(), settings))


@pytest.mark.lean
@pytest.mark.ray
def test_variants_are_trained_compared_and_written(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    args = ("tiny.toml", "--variants", "full", "GRPO from rollouts", "TD(λ) value", "--json")
    done = subprocess.run(
        command("ablate", *args), cwd=tmp_path, text=True, capture_output=True, timeout=900, env=env()
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert set(found["variants"]) == {"full", "GRPO from rollouts", "TD(λ) value"}
    for variant in found["variants"].values():
        curve = [variant["trained"][b] for b in ("1", "2", "4", "8")]
        assert all(0 <= c["low"] <= c["solved"] / c["of"] <= c["high"] <= 1 and c["of"] == 5 for c in curve)
        assert [c["solved"] for c in curve] == sorted(c["solved"] for c in curve)
        assert variant["training_proved"] > 0
    assert found == json.loads((tmp_path / "docs/results.json").read_text())
    page = (tmp_path / "docs/results.md").read_text()
    assert "GRPO from rollouts" in page and "turnstile ablate tiny.toml" in page
    # Rollouts left their groups, TD its targets, and nothing of it came from a held-out theorem.
    groups = Ledger.open(tmp_path / "runs/ablations/grpo-from-rollouts-0", readonly=True)
    rows = list(groups.examples("rollouts"))
    assert rows and all(0 < len(data["rollouts"]) <= 8 for _, data in rows)
    assert {split_of(t.name) for t, _ in rows} == {"train"}
    # Rollouts of a theorem are draws, not one of them repeated, and what they teach is a difference between them.
    drawn = [Counter(json.dumps(r["decisions"]) for r in data["rollouts"]) for _, data in rows]
    assert sum(len(c) > 1 for c in drawn) > len(drawn) / 2, drawn
    targets = list(Ledger.open(tmp_path / "runs/ablations/td-value-0", readonly=True).examples("td"))
    assert targets and all(1 <= data["td"] <= 16 for _, data in targets)
    # Finished runs are not run again.
    again = subprocess.run(
        command("ablate", *args), cwd=tmp_path, text=True, capture_output=True, timeout=60, env=env()
    )
    assert again.returncode == 0 and json.loads(again.stdout) == found
    # The command on the page is one that a shell takes back.
    assert shlex.split(page.split("`")[1])[-3:] == ["full", "GRPO from rollouts", "TD(λ) value"]
    # Figures of other settings never stand among these.
    (tmp_path / "other.toml").write_text(TINY.replace("calls = 8\nharvest", "calls = 9\nharvest"))
    other = subprocess.run(
        command("ablate", "other.toml", *args[1:]), cwd=tmp_path, text=True, capture_output=True, env=env()
    )
    assert other.returncode == 2 and "trained with other settings" in other.stderr, other.stderr
    assert json.loads((tmp_path / "docs/results.json").read_text()) == found


def test_a_page_that_cannot_be_written_is_said_before_anything_is_trained(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "file").touch()
    done = subprocess.run(
        command("ablate", "tiny.toml", "--out", "file/results"), cwd=tmp_path, text=True, capture_output=True, env=env()
    )
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and not (tmp_path / "runs").exists()


def test_an_unknown_variant_is_one_line(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    done = subprocess.run(
        command("ablate", "tiny.toml", "--variants", "nonsense"),
        cwd=tmp_path,
        text=True,
        capture_output=True,
        env=env(),
    )
    assert done.returncode == 2 and "unknown ablation 'nonsense'" in done.stderr and not (tmp_path / "runs").exists()
