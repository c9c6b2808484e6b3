"""Small values as witnesses and as counterexamples, also after declarations with errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prover.lean.declarations import Declarations, without_lines

SOURCE = """def a : Nat := 1
/-- doc -/
@[simp]
theorem bad : b := by
  sorry
open Nat
theorem c : 1 = 1 := rfl
"""


@pytest.mark.parametrize(
    ("line", "blank"), [(1, {1}), (2, {2, 3, 4, 5}), (4, {2, 3, 4, 5}), (5, {2, 3, 4, 5}), (6, set()), (7, {7})]
)
def test_the_declaration_on_a_line_is_blanked(line, blank):
    found = without_lines(Declarations(SOURCE), [line])
    pairs = list(zip(SOURCE.split("\n"), found.split("\n"), strict=True))
    assert {n for n, (_, now) in enumerate(pairs, 1) if not now.strip()} - {len(pairs)} == blank
    assert all(now == before or len(now) == len(before) for before, now in pairs)


@pytest.mark.lean
def test_witnesses_and_counterexamples(turnstile: Callable, tmp_path: Path) -> None:
    file = tmp_path / "Small.lean"
    file.write_text(
        "def twice (n : Nat) := n + n\n"
        "theorem broken : twice := by sorry\n"
        "theorem square : ∃ n : Nat, n * n = 49 := by sorry\n"
        "theorem own : ∃ n, twice n = 10 := by sorry\n"
        "theorem monus (n : Nat) : n - 1 + 1 = n := by sorry\n"
    )
    done = turnstile("prove", file, "--disprove", "0.5", "--policy", "explorer", "--budget", "64", "--json")
    found = {t["name"]: (t["outcome"], t["proof"]) for t in done.document["tasks"]}
    assert {n: o for n, (o, _) in found.items()} == {"square": "proved", "own": "proved", "monus": "disproved"}, found
    assert [e["line"] for e in done.document["errors"]] == [2]


@pytest.mark.lean
def test_a_witness_without_declarations_of_ones_own(turnstile: Callable) -> None:
    done = turnstile("prove", "--statement", ": ∃ n : Nat, n * n = 49", "--policy", "explorer", "--json")
    (task,) = done.document["tasks"]
    assert task["outcome"] == "proved" and "7" in task["proof"], task
