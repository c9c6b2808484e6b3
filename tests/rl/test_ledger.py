"""The ledger keeps each record once, and refuses the folder of another version."""

from __future__ import annotations

import sqlite3

import pytest

from prover.errors import UserError
from prover.lean.theorem import Theorem
from prover.solve.ledger import Attempt, Ledger

THEOREM = Theorem("T", ": True", source="here:1")


def attempt(outcome: str = "proved", script: str | None = "trivial", phase: str = "round 1") -> Attempt:
    return Attempt(phase, THEOREM, outcome, 3, 2 if outcome == "proved" else None, 0.1, script, stats={"nodes": 1})


def test_an_attempt_is_recorded_once_with_its_examples(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.record(attempt(), [("policy", {"state": "⊢ True", "tactics": [["trivial", 1.0]]})])
    ledger.record(attempt("budget", None), [("policy", {"state": "again"})])
    assert [a.outcome for a in ledger.attempts("round 1")] == ["proved"]
    assert [row.data["state"] for row in ledger.example_rows("policy")] == ["⊢ True"]
    assert ledger.done("round 1") == {"T"}
    assert ledger.done("round 2") == set()


def test_records_survive_reopening(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.record(attempt())
    ledger.set("learned 1", {"version": 1})
    ledger.measure("round 1", {"loss": 0.5})
    ledger.close()
    again = Ledger.open(tmp_path, readonly=True)
    assert [a for a in again.attempts()] == [attempt()]
    assert again.get("learned 1") == {"version": 1}
    assert [(p, n, v) for p, n, v, _ in again.measurements()] == [("round 1", "loss", 0.5)]


def test_proofs_are_the_shortest_audited_one_a_theorem(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.record(attempt(script="simp; trivial", phase="round 1"))
    ledger.record(attempt(script="trivial", phase="round 2"))
    ledger.record(attempt("rejected", "x", phase="round 3"))
    assert [a.script for a in ledger.proofs()] == ["trivial"]


def test_another_version_is_refused(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.set("format", 999)
    ledger.close()
    with pytest.raises(UserError, match="format 999 is not supported"):
        Ledger.open(tmp_path)


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    (tmp_path / "ledger.sqlite").write_text("not a database, certainly not one of ours" * 10)
    with pytest.raises(UserError, match="not a ledger"):
        Ledger.open(tmp_path)
    with pytest.raises(UserError, match="no ledger here"):
        Ledger.open(tmp_path / "nowhere", readonly=True)


def test_readonly_cannot_write(tmp_path):
    Ledger(tmp_path / "ledger.sqlite").close()
    ledger = Ledger.open(tmp_path, readonly=True)
    with pytest.raises(sqlite3.OperationalError):
        ledger.set("x", 1)


def test_every_accepted_proof_is_a_claim_and_theorems_of_one_name_are_two(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    other = Theorem("T", ": 1 = 1", source="there:1")
    for phase, theorem, script in (
        ("round 1", THEOREM, "trivial"),
        ("held-out x", THEOREM, "exact True.intro"),
        ("round 2", THEOREM, "trivial"),
        ("eval y", other, "rfl"),
    ):
        ledger.record(Attempt(phase, theorem, "proved", 1, 1, 0.1, script))
    assert list(ledger.claims()) == [(THEOREM, "trivial"), (THEOREM, "exact True.intro"), (other, "rfl")]
    assert [(a.theorem, a.script) for a in ledger.proofs()] == [(THEOREM, "trivial"), (other, "rfl")]


@pytest.mark.parametrize("name", ["lr#2", "what?", "50%41"])
def test_a_folder_may_have_any_name(tmp_path, name):
    (tmp_path / name).mkdir()
    path = tmp_path / name / "ledger.sqlite"
    Ledger(path).record(attempt())
    assert [a.outcome for a in Ledger(path, readonly=True).attempts()] == ["proved"]
    assert Ledger.begun(path) and list(tmp_path.iterdir()) == [tmp_path / name]


def test_a_ledger_that_a_kill_left_empty_is_of_a_run_still_to_begin(tmp_path):
    path = tmp_path / "ledger.sqlite"
    sqlite3.connect(path).close()
    assert not Ledger.begun(path)
    path.write_bytes(b"no ledger at all, but long enough to be looked at by whoever reads it" * 20)
    assert Ledger.begun(path)
    path.unlink()
    Ledger(path).close()
    assert Ledger.begun(path)
