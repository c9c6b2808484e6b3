"""`turnstile bench conjectures` on real Lean, and its totals."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from prover.errors import UserError
from rl.bench.conjectures import ConjectureResult, bench_conjectures, figures

RESULT = ConjectureResult(
    ("peano", 0, 4, 64, 16, "Lean"),
    [True, False, False, False],
    [True, True, True, False],
    ["zero_add (m : N) : add N.zero m = m"],
    {"without": 60, "finding": 32, "with_lemmas": 20},
    {"without": 2.0, "with_lemmas": 3.0},
    {"found": 1, "follows": 0, "missing": 3},
)


def test_totals_pair_the_goals() -> None:
    other = msgspec.structs.replace(
        RESULT, key=("peano", 1, 4, 64, 16, "Lean"), without=[False] * 4, with_lemmas=[False, True, True, True]
    )
    found = figures([RESULT, other])
    assert found.keys() == {"peano"}
    totals = found["peano"]
    assert (totals["goals"], totals["without"], totals["with"]) == (8, 1, 6)
    assert (totals["only_with"], totals["only_without"], totals["p"]) == (5, 0, 0.062)
    assert (totals["calls_without"], totals["calls_with"], totals["textbook"]) == (120, 104, 0.25)
    worlds = figures(
        [RESULT, msgspec.structs.replace(RESULT, key=("sequences", 0, 4, 64, 16, "Lean"), with_lemmas=[False] * 4)]
    )
    assert worlds.keys() == {"peano", "sequences", "all"}
    assert (worlds["all"]["only_with"], worlds["all"]["only_without"], worlds["all"]["p"]) == (2, 1, 1.0)


@pytest.mark.lean
def test_another_file_is_no_record(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    record.write_bytes(b"mine\n")
    with pytest.raises(UserError, match=r"record\.jsonl: not a record of this benchmark"):
        bench_conjectures(worlds=("peano",), record=record)
    assert record.read_bytes() == b"mine\n"


def test_rules_are_compared_with_compression() -> None:
    kept = {"compression": [True, True, True, False], "novelty": [True, False, False, False], "random": [True] * 4}
    spent = {**RESULT.spent, "measuring": 500}
    found = figures([msgspec.structs.replace(RESULT, keep=2, kept=kept, spent=spent)])["peano"]["kept"]
    assert found["measuring"] == 500
    assert found["novelty"] == {"proved": 1, "only_compression": 2, "only_this": 0, "p": 0.5}
    assert (found["random"]["only_compression"], found["random"]["only_this"]) == (0, 1)
    assert "kept" not in figures([RESULT])["peano"]


@pytest.mark.lean
@pytest.mark.slow
def test_both_sides_stay_within_the_calls_and_a_run_resumes(tmp_path: Path) -> None:
    record = tmp_path / "rows.jsonl"
    settings = {"worlds": ("peano",), "seeds": 1, "goals": 2, "calls": 40, "each": 8, "record": record}
    totals = bench_conjectures(**settings)["peano"]
    (line,) = record.read_bytes().splitlines()
    row = msgspec.json.decode(line, type=ConjectureResult)
    assert row.lemmas  # the definitions give some within 20 calls
    assert totals["goals"] == 2 and totals["calls_without"] <= 40
    assert totals["calls_with"] <= 40 + 8  # a text states up to eight conjectures at once
    record.write_bytes(line + b'\n{"key":')  # a killed process of an earlier version leaves a partial last line
    assert bench_conjectures(**settings)["peano"] == totals


@pytest.mark.lean
@pytest.mark.slow
def test_rules_keep_as_many_lemmas(tmp_path: Path) -> None:
    settings = {"worlds": ("peano",), "seeds": 1, "goals": 2, "calls": 80, "each": 8, "keep": 2}
    settings["record"] = tmp_path / "rows.jsonl"
    totals = bench_conjectures(**settings)["peano"]
    assert totals["kept"].keys() == {"measuring", "compression", "novelty", "random", "mutations"}
    assert totals["kept"]["measuring"] > 0
    assert bench_conjectures(**settings)["peano"] == totals, "the record has the comparison"
