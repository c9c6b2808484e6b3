"""`turnstile conjecture`, and `turnstile prove --lemmas`, on real Lean."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from curricula.commands.conjecture import conjecture
from prover.cli import typed
from prover.errors import UserError
from prover.lean.text import read
from prover.solve.lemmas import Lemma, block, read_lemmas
from tests.cli.conftest import Done, turnstile, warm_lean

__all__ = ["turnstile", "warm_lean"]

DEFINITIONS = """inductive M where
  | none : M
  | more (m : M) : M

namespace M

def sum : M → M → M
  | m, none => m
  | m, more n => more (sum m n)

theorem sum_none (m : M) : sum m none = m := rfl
theorem sum_more (m n : M) : sum m (more n) = more (sum m n) := rfl
"""
GOALS = """
theorem goal (m n : M) : sum (sum none m) (more n) = more (sum m n) := by
  sorry

end M
"""
NONE_SUM = Lemma(
    "none_sum",
    "(m : M) : sum none m = m",
    "induction m with\n| none => rfl\n| more m ih => rw [sum_more, ih]",
    "Conjectured.",
)
IDLE = Lemma("idle", "(m : M) : sum m none.more = m.more", "rfl")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.lean", "--out", "x.lean"], "missing.lean"),
        (["logic", "--out", "x.lean"], "name a .lean file, a Lake project, or a world"),
        (["world:logic", "--out", "x.lean"], "choose one of peano, sequences"),
        (["peano", "--out", "x.lean", "--budget", "0"], "--budget 0: must be at least 1"),
        (["peano", "--out", "x.lean", "--searches", "nowhere"], "no such folder"),
        ([".", "--out", "x.lean"], "without a lakefile"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        typed(conjecture, "conjecture", arguments)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.lean
def test_lemmas_are_found_audited_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "M.lean", tmp_path / "Lemmas.lean"
    file.write_text(DEFINITIONS + GOALS)
    arguments = ["--out", str(out), "--budget", "150", "--each", "12", "--goals", "0", "--json"]
    code = typed(conjecture, "conjecture", [str(file), *arguments])
    document = json.loads(capsys.readouterr().out)["files"][0]
    assert document["calls"]["finding"] <= 150 + 12  # what is under way when the budget ends
    assert document["conjectures"]["proved"] >= len(document["lemmas"]) > 0, "those that the audit refuses are left out"
    assert file.read_text() == DEFINITIONS + GOALS
    assert code == 0
    assert [x.name for x in read_lemmas(read(out))] == [x["name"] for x in document["lemmas"]]


@pytest.mark.lean
def test_an_interrupt_keeps_the_lemmas_found(tmp_path: Path) -> None:
    file, out = tmp_path / "M.lean", tmp_path / "Lemmas.lean"
    file.write_text(DEFINITIONS + GOALS)
    command = [sys.executable, "-m", "prover.cli", "conjecture", str(file), "--out", str(out), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None and process.stdout is not None
        line = next((line for line in process.stderr if " calls: " in line), "")
        process.send_signal(signal.SIGINT)
        document = json.loads(process.stdout.read())["files"][0]
    assert process.returncode == 130 and document["interrupted"] and document["goals"] == {"total": 0}
    names = [x["name"] for x in document["lemmas"]]
    assert [x.name for x in read_lemmas(read(out))] == names and names[0] in line


@pytest.mark.lean
def test_prove_uses_lemmas_and_keeps_only_those(tmp_path: Path, turnstile: Callable[..., Done]) -> None:
    file, library, out = tmp_path / "M.lean", tmp_path / "Lemmas.lean", tmp_path / "Filled.lean"
    file.write_text(DEFINITIONS + GOALS)
    library.write_text(block([NONE_SUM, IDLE]))
    done = turnstile("prove", file, "--lemmas", library, "--policy", "explorer", "--out", out, "--json")
    assert done.code == 0, done.err
    task = done.document["tasks"][0]
    assert task["outcome"] == "proved" and task["line"] == len(DEFINITIONS.splitlines()) + 3
    names = [x["name"] for x in done.document["lemmas"]]
    assert [x.name for x in (NONE_SUM, IDLE) if f"theorem {x.name}" in out.read_text()] == names
    assert turnstile("verify", out, "--against", file).code == 0


@pytest.mark.lean
@pytest.mark.parametrize(
    "lemma",
    [
        Lemma("none_sum", "(m : M) : sum none m = m", "sorry"),
        Lemma("bad", "(m : M) : m = m", 'rfl\n\nlocal notation "sum" => fun (_ _ : M) => M.none'),
        Lemma("assumed", "(m : M) : m = m", "rfl\n\naxiom any (p : Prop) : p"),
        Lemma("goal", "(m : M) : m = m", "rfl"),
    ],
    ids=["open", "other meaning", "axiom", "taken name"],
)
def test_a_library_that_does_not_fit_is_refused(lemma: Lemma, tmp_path: Path, turnstile: Callable[..., Done]) -> None:
    file, library, out = tmp_path / "M.lean", tmp_path / "Lemmas.lean", tmp_path / "Filled.lean"
    file.write_text(DEFINITIONS + GOALS)
    library.write_text(block([lemma]))
    done = turnstile("prove", file, "--lemmas", library, "--out", out)
    assert done.code == 2 and "M.lean" in done.err and not out.exists()
