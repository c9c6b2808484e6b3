"""Small instances against theorems that the search leaves open."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rl.bench import batch

pytestmark = pytest.mark.lean

FILE = """theorem monus (n : Nat) : n - 1 + 1 = n := by
  sorry
theorem hopeless (n : Nat) : ∃ a b c d : Nat, n = a * a + b * b + c * c + d * d := by
  sorry
theorem easy (n : Nat) : n + 0 = n := by sorry
theorem inside (n : Nat) (h : 0 < n) : n - 1 + 1 = n := by
  have wrong : n = 7 := by sorry
  omega
theorem rests (n : Nat) : n - 1 + 1 = n ∧ n = n := ⟨monus n, by sorry⟩
"""
LAKEFILE = 'name = "own"\n\n[[lean_lib]]\nname = "Own"\n'


def test_a_false_theorem_of_a_file_is_shown_its_counterexample(turnstile: Callable, tmp_path: Path) -> None:
    """Only whole theorems that the search leaves open are tried, and their calls are counted."""
    file, out = tmp_path / "F.lean", tmp_path / "Filled.lean"
    file.write_text(FILE)
    arguments = ["prove", file, "--workers", 1, "--budget", 4, "--out", out]
    done = turnstile(*arguments, "--json")
    tasks = {t["name"]: t for t in done.document["tasks"]}
    assert {n: t["outcome"] for n, t in tasks.items()} == {
        "monus": "disproved",
        "hopeless": "budget",
        "easy": "proved",
        "inside": "budget",
        "rests": "proved",
    }
    assert tasks["monus"]["reason"] == "its negation is proved: false for n = 0"
    assert [r["kind"] for r in tasks["monus"]["remarks"]] == ["false"]
    plain = {t["name"]: t["lean_calls"] for t in turnstile(*arguments, "--no-look", "--json").document["tasks"]}
    more = {n: t["lean_calls"] - plain[n] for n, t in tasks.items()}
    assert 4 < more["monus"] <= 10 and 0 < more["hopeless"] <= 4
    assert more["inside"] == 0, "an instance of its goal is none of the theorem"
    assert out.read_text().count("sorry") == 3
    assert "false for n = 0" in turnstile(*arguments, "--only", "monus").err


def test_in_a_file_that_imports_files_of_its_project(turnstile: Callable, tmp_path: Path) -> None:
    (tmp_path / "Own").mkdir()
    (tmp_path / "lakefile.toml").write_text(LAKEFILE)
    (tmp_path / "Own/Basic.lean").write_text("def twice (n : Nat) := n + n\ntheorem zero : twice 0 = 0 := by sorry\n")
    file = tmp_path / "Own.lean"
    file.write_text("import Own.Basic\ntheorem odd (n : Nat) : twice n ≠ 6 := by sorry\n")
    for options in ([], ["--disprove", "0.5"]):
        (task,) = turnstile("prove", file, "--workers", 1, "--json", *options).document["tasks"]
        assert task["outcome"] == "disproved" and task["reason"].endswith("false for n = 3"), task


def test_batches_resume_and_keep_their_total(turnstile: Callable, tmp_path: Path) -> None:
    statements = {"monus": "(n : Nat) : n - 1 + 1 = n", "odd": "(n : Nat) : n ≠ 6", "true": "(n : Nat) : n = n"}
    file, results = tmp_path / "x.jsonl", tmp_path / "results.jsonl"
    file.write_text("".join(json.dumps({"name": n, "statement": s}) + "\n" for n, s in statements.items()))
    arguments = ["prove", file, "--workers", 1, "--json"]
    done = turnstile(*arguments, "--results", results).document
    assert [t["outcome"] for t in done["tasks"]] == ["disproved", "disproved", "proved"]
    again = turnstile(*arguments, "--results", results, "--resume").document
    assert batch.differences(done, again) == [] and "lean_steps" not in again
    # A row that a kill left before the audit is audited, and nothing is tried again.
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    kept = [r for r in rows if r.get("unjudged") or r.get("try", 0) == 0]
    results.write_text("".join(json.dumps(r) + "\n" for r in kept))
    again = turnstile(*arguments, "--results", results, "--resume").document
    assert batch.differences(done, again) == [] and batch.repeated(tmp_path) == 0
    for total, found in ((24, 0), (30, 1), (40, 2)):  # the searches take 15 calls
        tasks = turnstile(*arguments, "--total-budget", total).document["tasks"]
        assert [t["outcome"] for t in tasks].count("disproved") == found, tasks
        assert tasks[2]["outcome"] == "proved"
        assert sum(t["lean_calls"] for t in tasks) <= total
    assert [t["outcome"] for t in again["tasks"]] == ["disproved", "disproved", "proved"]
    for options in (["--no-look"], ["--total-budget", 12]):
        retried = turnstile(*arguments, "--results", results, "--retry", *options).document
        assert [t["outcome"] for t in retried["tasks"]] == ["disproved", "disproved", "proved"]


def test_a_search_that_may_be_continued_is_kept(turnstile: Callable, tmp_path: Path) -> None:
    file, results = tmp_path / "x.jsonl", tmp_path / "results.jsonl"
    file.write_text(
        json.dumps({"name": "squares", "statement": "(n : Nat) : ∃ a b c d, n = a * a + b * b + c * c + d * d"})
    )
    arguments = ["prove", file, "--workers", 1, "--policy", "explorer", "--budget", 12, "--results", results, "--json"]
    (task,) = turnstile(*arguments).document["tasks"]
    assert task["outcome"] == "budget" and task["lean_calls"] > 12
    assert len(list(tmp_path.glob("results.jsonl.searches/*"))) == 1
