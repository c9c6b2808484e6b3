"""A run folder of an early version still works: report, verify, eval, prove, resume. tests/rl/earlier/ was written by that version.

Its configuration lacks later settings, its theorems lack later fields, and its checkpoint does not say how to search.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from prover.models.manifest import read_manifest
from prover.solve.ledger import Ledger
from rl import config
from rl.candidate import candidate
from rl.loop import Trainer
from tests.cli.conftest import turnstile, warm_lean
from tests.rl.test_evaluation import make_checkpoint

__all__ = ["turnstile", "warm_lean"]

EARLIER = Path(__file__).parent / "earlier"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    make_checkpoint(folder)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs/earlier"
    shutil.copytree(trained, folder)
    for file in folder.glob("ledger.sqlite*"):
        file.unlink()
    with sqlite3.connect(folder / "ledger.sqlite") as db:
        db.executescript((EARLIER / "ledger.sql").read_text())
    db.close()
    (folder / "config.toml").write_text((EARLIER / "config.toml").read_text())
    return folder


def test_its_settings_apply(run: Path) -> None:
    assert config.load(run / "config.toml").prover.premises == 4
    manifest = read_manifest(run / "checkpoints/000001")
    assert (manifest.premises, manifest.value, manifest.retriever) == (4, True, "")
    assert candidate(str(run)).config.eval_explorer_weight == 0.3


def test_its_ledger_is_read_and_continued(run: Path) -> None:
    with_new = Ledger(run / "ledger.sqlite")
    attempts = list(with_new.attempts("round 1"))
    assert [(a.theorem.name, a.outcome) for a in attempts] == [
        ("swap", "proved"),
        ("add_zero'", "proved"),
        ("wrong", "exhausted"),
    ]
    with_new.record(attempts[0].__class__("round 2", attempts[0].theorem, "budget", 1, None, 0.0))
    assert with_new.done("round 2") == {"swap"}
    with_new.close()


def test_a_report(run: Path, turnstile: Callable) -> None:
    done = turnstile("report", run, "--json")
    assert done.code == 0, done.err
    assert "held_swap" in Path(json.loads(done.out)["page"]).read_text()


def test_a_run_of_a_later_version_is_refused_unchanged(run: Path, turnstile: Callable) -> None:
    with sqlite3.connect(run / "ledger.sqlite") as db:
        db.execute("update meta set value = '99' where key = 'format'")
    db.close()
    before = (run / "ledger.sqlite").read_bytes()
    for command in (("report", run), ("verify", run), ("train", "--resume", run)):
        done = turnstile(*command)
        assert done.code == 2 and "format 99" in done.err and done.err.count("\n") == 1
    assert (run / "ledger.sqlite").read_bytes() == before


@pytest.mark.lean
def test_its_proofs_are_verified_and_its_prover_proves(run: Path, turnstile: Callable) -> None:
    verdicts = turnstile("verify", run, "--json").lines
    assert {v["name"]: v["verdict"] for v in verdicts} == dict.fromkeys(
        ("swap", "add_zero'", "held_swap", "held_add_zero'"), "proved"
    )
    statement = ("--statement", "(p q : Prop) (h : p ∧ q) : q ∧ p", "--workers", 1, "--json")
    assert turnstile("prove", *statement, "--policy", run).document["proved"] == 1
    Path("set.jsonl").write_text('{"name": "t", "statement": "(n : Nat) : n + 0 = n"}\n')
    figures = turnstile("eval", run, "set.jsonl", "--budget", 4, "--processes", 1, "--json").document
    assert figures["all"]["seeds"] == 1 and figures["prover"]["config"]["premises"] == 4


@pytest.mark.lean
def test_it_is_opened_to_be_resumed(run: Path) -> None:
    text = (run / "config.toml").read_text().replace("modules = []", 'modules = ["Init.Data.Option.Lemmas"]')
    (run / "config.toml").write_text(text)
    trainer = Trainer.resume(run, quiet=True)
    try:
        assert trainer.folder == run and trainer.config.learn.rounds == 3
        assert trainer.elapsed >= 12.5  # as the earlier version recorded it
        assert {a.theorem.name for a in trainer.ledger.attempts("round 1")} == {"swap", "add_zero'", "wrong"}
    finally:
        trainer.tracker.close()
        trainer.ledger.close()
