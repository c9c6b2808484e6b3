"""Learning at test time on real Ray and real Lean: a `sorry` that the search leaves open, and runs for targets from another run's model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from curricula.library import split_of
from prover.lean.theorem import Theorem
from prover.solve.ledger import Ledger
from rl.test_time import learn_to_prove
from tests.cli.conftest import Done, turnstile

__all__ = ["turnstile"]

pytestmark = [pytest.mark.lean, pytest.mark.ray, pytest.mark.timeout(1800)]

FILE = """inductive N where
  | zero
  | succ (n : N)

namespace N

def add : N → N → N
  | m, zero => m
  | m, succ n => succ (add m n)

theorem add_zero (m : N) : add m zero = m := by
  sorry

theorem zero_add (n : N) : add zero n = n := by
  sorry
"""
TINY = """
[prover]
provers = 1
concurrent = 2
[model]
hidden = 48
layers = 2
heads = 4
intermediate = 96
vocabulary = 300
[learn]
first_calls = 8
calls = 8
harvest = 2
seconds = 20.0
max_epochs = 2.0
ranker_seconds = 2.0
threads = 1
[matchmaker]
base_calls = 8
[eval]
baselines = false
"""


Turnstile = Callable[..., Done]


def test_a_sorry_that_the_search_leaves_open(
    turnstile: Turnstile, local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The portfolio has no induction. The run proves the target in its first round, before it learns, so the test depends on no time."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Numbers.lean").write_text(FILE)
    (tmp_path / "tiny.toml").write_text(TINY)
    options = ("--budget", "40", "--learn", "600", "--learn-variants", "4", "--learn-settings", "tiny.toml")
    line = (
        "prove",
        "Numbers.lean",
        *options,
        "--results",
        "r.jsonl",
        "--workers",
        "1",
        "--out",
        "Filled.lean",
        "--json",
    )
    done = turnstile(*line)
    assert done.code == 0, done.err[-3000:]
    document: dict[str, Any] = done.document
    easy, hard = document["tasks"]
    assert "learned" not in easy and easy["outcome"] == hard["outcome"] == "proved" and "induction" in hard["proof"]
    folder = tmp_path / "r.jsonl.learned"
    learned = hard["learned"]
    assert (
        learned["folder"] == str(folder)
        and learned["round"] == 1
        and learned["variants"] == 4
        and learned["lean_calls"]
    )
    assert [t["name"] for t in document["learned"]["targets"]] == ["N.zero_add"]
    filled = (tmp_path / "Filled.lean").read_text()
    assert "sorry" not in filled and filled.startswith(FILE[:40])
    assert "proved in round 1 of learning" in done.err
    rows = [json.loads(x) for x in (folder / "theorems.jsonl").read_text().splitlines()]
    assert len(rows) == 5 and all("zero_add" not in row["context"] and split_of(row["name"]) == "train" for row in rows)
    (recorded,) = (
        json.loads(x) for x in (tmp_path / "r.jsonl").read_text().splitlines() if '"learned"' in x and '"proved"' in x
    )
    assert recorded["learned"] == learned
    # The run is one like others, and a resumed command has nothing left to learn.
    assert turnstile("report", folder).code == 0 and (folder / "report.html").exists()
    again = turnstile(*line, "--resume")
    assert again.code == 0 and again.document["tasks"][1]["proof"] == hard["proof"], again.err[-2000:]
    assert "learning on" not in again.err


def test_runs_for_targets(
    turnstile: Turnstile, local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target that has no proof is tried in every round with more calls. A second run starts with the model of the first one."""
    monkeypatch.chdir(tmp_path)
    statements = ["n + 0 = n", "0 + n = n", "n * 1 = n", "n - n = 0", "n ≤ n + 1", "n < n + 1", "n = n + n"]
    names = [name for i in range(60) if split_of(name := f"t{i}") == "train"]
    theorems = [{"name": n, "statement": f"(n : Nat) : {s}"} for n, s in zip(names, statements, strict=False)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, theorems)))
    (tmp_path / "one.toml").write_text(TINY)
    target = names[6]
    files = 'theorems.files=["t.jsonl"]'
    settings = (files, f'theorems.targets=["{target}"]', "learn.rounds=2", "max_minutes=600")
    done = turnstile("train", "one.toml", "--name", "one", "--set", *settings)
    assert done.code == 0, done.err[-3000:]
    first = Ledger.open(tmp_path / "runs/one", readonly=True)
    tries = {r: {a.theorem.name: a for a in first.attempts(f"round {r}")} for r in (1, 2)}
    assert [tries[r][target].stats["calls_allowed"] for r in (1, 2)] == [8, 16]
    assert first.learned() == 2 and len(tries[1]) == len(statements)
    found = learn_to_prove(
        [Theorem("swap", "(p q : Prop) (h : p ∧ q) : q ∧ p")],
        600,
        policy=str(tmp_path / "runs/one"),
        out=tmp_path / "two",
        variants=2,
    )
    assert found["targets"][0]["proved"] and found["targets"][0]["round"] == 1 and not found["interrupted"]
    second = Ledger.open(tmp_path / "two", readonly=True)
    attempts = list(second.attempts("round 1"))
    assert attempts and all("entropy" in a.stats and a.model_version == 0 for a in attempts), (
        "the model was asked at once"
    )
    start, served = (
        load_file(p / "model.safetensors")
        for p in (tmp_path / "runs/one/checkpoints/000002", tmp_path / "two/checkpoints/000000")
    )
    assert start.keys() == served.keys() and all(torch.equal(w, served[k]) for k, w in start.items())
    again = learn_to_prove(
        [Theorem("swap", "(p q : Prop) (h : p ∧ q) : q ∧ p")],
        600,
        policy=str(tmp_path / "runs/one"),
        out=tmp_path / "two",
        resume=True,
    )
    assert again["targets"] == found["targets"] and again["lean_calls"] == found["lean_calls"]
