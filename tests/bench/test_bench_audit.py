"""`turnstile bench audit` reports the documented keys on its built-in inputs."""

from __future__ import annotations

import pytest

from rl.bench.audit import ATTACKS, HONEST, bench_audit, expected, file, rows, scripts

RATES = (
    "scripts_per_s",
    "library_per_s",
    "rows_own_context_per_s",
    "rows_one_context_per_s",
    "files_per_s",
    "file_verdicts_per_s",
)


@pytest.mark.lean
@pytest.mark.slow
def test_quick_figures() -> None:
    figures = bench_audit(quick=True)
    assert all(figures[key] > 0 for key in RATES)
    assert 0 < figures["fresh_judge_s_min"] <= figures["fresh_judge_s_median"] <= figures["fresh_judge_s_max"]
    assert figures["attacks_accepted"] == 0 and figures["attacks"] == len(ATTACKS)
    assert figures["honest_refused"] == 0 and figures["honest"] == len(HONEST), figures["refused"]
    assert figures["files"] == 5 and figures["file_verdicts_per_s"] >= figures["files_per_s"]
    assert figures["checker_mb_first"] > 0 and figures["checker_mb_last"] > 0
    assert figures["expected"].keys() == {
        "fresh_judge_s_median",
        "attacks_accepted",
        "honest_refused",
        "checker_growth",
    }


def test_scripts_differ_and_follow_their_statements() -> None:
    claims = scripts(200)
    assert len(claims) == len(set(claims)) == 200
    names = [theorem.name for theorem, _ in claims]
    assert len(set(names)) == sum(a != b for a, b in zip(names, names[1:])) + 1
    assert len({theorem.statement for theorem, _ in claims}) == len(set(names))


def test_rows_have_as_many_contexts_as_asked_for() -> None:
    assert len({theorem.context for theorem, _ in rows(20, 20)}) == 20
    assert len({theorem.context for theorem, _ in rows(20, 1)}) == 1


def test_files_differ() -> None:
    (one, asked), (other, _) = file(1), file(2)
    assert one.text != other.text and "sorry" in asked.text and "sorry" not in one.text


def test_expectations_are_compared_with_what_was_measured() -> None:
    good = {"fresh_judge_s_median": 1.5, "attacks_accepted": 0, "honest_refused": 0, "checker_growth": 0.0999}
    bad = {"fresh_judge_s_median": 1.51, "attacks_accepted": 1, "honest_refused": 1, "checker_growth": 0.1}
    assert all(verdict.endswith(": met") for verdict in expected(good).values())
    assert all(verdict.endswith(": NOT MET") for verdict in expected(bad).values())
