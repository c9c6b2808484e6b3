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
    def missed(*measured: float) -> list[str]:
        return [name for name, verdict in expectations(figures(*measured)).items() if verdict.endswith("NOT MET")]

    assert missed(150.0, 0.2, 1e-4, 40) == []
    assert missed(90.0, 2.5, 2e-2, 40, 39.0) == [
        "vllm_over_generate",
        "update_s",
        "difference",
        "search_gain",
        "rollouts_gain",
    ]
    # Nothing compared agrees with nothing.
    assert missed(150.0, 0.2, 0.0, 0) == ["difference"]
