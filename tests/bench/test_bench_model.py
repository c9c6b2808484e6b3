"""Comparing figures of model back ends. Measuring them needs vLLM: `make bench-vllm`."""

from __future__ import annotations

from rl.bench.model import ASKED, expectations


def figures(rate: float, update: float, difference: float, compared: int, together: float = 40.0) -> dict:
    near = {"prior_difference": 1e-5, "compared": 40}
    vllm = {
        "batch": {"32": {"tactics_per_s": rate}},
        "provers": {kind: {"1": 10.0, "16": together} for kind in ASKED},
        "update_s": update,
        "prior_difference": difference,
        "compared": compared,
        "prior_difference_after_update": 1e-5,
        "compared_after_update": 40,
        "value_difference": 1e-6,
    }
    return {"generate": {"batch": {"32": {"tactics_per_s": 100.0}}, **near}, "vllm": vllm}


def test_expectations_are_met_or_not() -> None:
    assert [row["met"] for row in expectations(figures(150.0, 0.2, 1e-4, 40))] == [True] * 5
    assert [row["met"] for row in expectations(figures(90.0, 2.5, 2e-2, 40, 39.0))] == [False] * 5
    # Nothing compared agrees with nothing.
    assert [row["met"] for row in expectations(figures(150.0, 0.2, 0.0, 0))] == [True, True, True, True, False]
