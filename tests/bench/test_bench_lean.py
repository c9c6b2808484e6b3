"""`turnstile bench lean` reports the documented keys; the values depend on the machine."""

from __future__ import annotations

import pytest

from rl.bench.lean import bench_lean, expected


@pytest.mark.lean
@pytest.mark.slow
def test_quick_figures() -> None:
    figures = bench_lean(quick=True)
    assert {
        "lean",
        "steps_per_s",
        "overhead_ratio",
        "ready_s",
        "rss_mb",
        "rss_mb_after_first_environment",
        "rss_growth",
        "kill_cost_s",
        "answers_lost",
    } <= figures.keys()
    assert set(figures["steps_per_s"]) == {"1", "2"} and all(rate > 0 for rate in figures["steps_per_s"].values())
    for parts in figures["cpu_ms_a_step"].values():
        assert set(parts) == {"client", "lean", "lean_threads"} and 0 < parts["client"] < parts["lean"]
    assert figures["overhead_ratio"] >= 1.0  # Lean's seconds are a part of the client's
    assert figures["answers_lost"] == 0
    assert 0 < figures["rss_mb"] <= figures["rss_mb_after_first_environment"] * 1.1
    assert not figures["answers"].get("crash")
    assert "scaling_2" not in figures  # its processes still compile
    assert figures["expected"].keys() == {
        "overhead_ratio",
        "ready_s",
        "rss_mb_after_steps",
        "rss_growth",
        "kill_cost_s",
        "answers_lost",
    }


def test_expectations_are_compared_with_what_was_measured() -> None:
    good = {
        "scaling_2": 1.8,
        "overhead_ratio": 1.1,
        "ready_s": 3.0,
        "rss_mb_after_steps": 1600.0,
        "rss_growth": 0.0999,
        "kill_cost_s": 3.0,
        "answers_lost": 0,
    }
    bad = {
        "scaling_2": 1.79,
        "overhead_ratio": 1.101,
        "ready_s": 12.1,
        "rss_mb_after_steps": 1601.0,
        "rss_growth": 0.1,
        "kill_cost_s": 12.2,
        "answers_lost": 1,
    }
    assert all(verdict.endswith(": met") for verdict in expected(good).values())
    assert all(verdict.endswith(": NOT MET") for verdict in expected(bad).values())
    assert len(expected(good)) == len(good)
