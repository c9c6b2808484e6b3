"""Metrics against hand counts and brute force; names against docs/metrics.md."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.lean.theorem import Theorem
from prover.solve.ledger import Attempt
from rl.metrics import calibration, compute
from rl.metrics.intervals import wilson, wilson_over_seeds

DOCS = Path(__file__).parents[2] / "docs/metrics.md"


def theorem(name: str, module: str = "Init.Data.Bool") -> Theorem:
    return Theorem(name, library=name, source=f"library:{module}")


def attempt(name: str, outcome: str, *, calls: int = 10, module: str = "Init.Data.Bool", **more) -> Attempt:
    script = "simp" if outcome in ("proved", "rejected") else None
    stats = {"model_tokens": 100, "own_s": 0.1, "neither_s": 0.2, **more.pop("stats", {})}
    return Attempt(
        "round 2",
        theorem(name, module),
        outcome,
        calls,
        calls if outcome == "proved" else None,
        1.0,
        script,
        stats=stats,
        **more,
    )


ROUND = [
    attempt(
        "a",
        "proved",
        model_version=3,
        stats={"steps": 1, "entropy": 1.0, "values": [(0.9, 1), (0.2, None)], "expected": 0.8},
    ),
    attempt("b", "proved", model_version=1, stats={"steps": 4, "entropy": 2.0, "values": [(0.8, 2)]}),
    attempt("c", "budget", module="Init.Core", stats={"entropy": None}),
    attempt("d", "rejected", module="Init.Core", stats={"values": [(0.9, 1)]}),
    attempt("e", "error", module="Init.Core"),
]


def everything() -> dict[str, float]:
    """All metrics of a round in which everything happened."""
    after = {0: {"steps": 300.0, "lean_s": 8.0, "restarts": 1.0, "rss_mb": 500.0}}
    return {
        **compute.solve_rates(ROUND, "train"),
        **compute.pass_rates([(4, 1), (4, 4)], "held-out"),
        **compute.of_attempts(ROUND, {"a"}),
        **compute.tokens_per_second(ROUND, 10.0),
        **compute.staleness(ROUND, 3),
        **compute.of_lean({0: {"steps": 100.0, "lean_s": 3.0, "restarts": 0.0, "rss_mb": 400.0}}, after, 10.0),
        **compute.of_model({0: {"queries": 5.0, "seconds": 1.0}}, {0: {"queries": 55.0, "seconds": 3.0}}, 10.0),
        **compute.system(90.0, 0.05, 10.0, 8.0),
        **compute.idle({0: {"seconds": 1.0}}, {0: {"seconds": 3.0}}, 10.0, 4.0),
        "queue/audits": 3.0,
        **compute.rewards([attempt("a", "proved", stats={"rewards": {"progress": 0.5}})]),
        **calibration.metrics(calibration.predictions(ROUND)),
    }


def test_the_page_says_what_the_code_says():
    assert compute.documentation() in DOCS.read_text(encoding="utf-8"), (
        "write compute.documentation() into docs/metrics.md"
    )


def test_what_is_measured_is_documented_and_what_is_documented_is_measured():
    names = everything()
    assert compute.undocumented(names) == []
    # These the trainer and the learner name themselves; tests/rl/test_training.py reads them back from a wandb file. Those of the
    # assessor's training are in tests/rl/test_assessing.py.
    elsewhere = {
        "round",
        "seconds",
        "lean_calls",
        "learner/{metric}",
        *(p for p in compute.METRICS if p.startswith("held_out")),
        *(
            f"assessor/{name}"
            for name in ("goals", "tactics", "premises", "loss", "{head}_auc", "{head}_ece", "{head}_of")
        ),
    }
    unused = [p for p in compute.METRICS if p not in elsewhere and not any(_fits(p, n) for n in names)]
    assert unused == []


def _fits(pattern: str, name: str) -> bool:
    parts, found = pattern.split("/"), name.split("/")
    return len(parts) == len(found) and all(p.startswith("{") or p == f for p, f in zip(parts, found, strict=True))


@pytest.mark.parametrize("name", ["solve/train/rate", "solve/a/b/c/rate", "learner", "Round", "queue/"])
def test_a_name_of_another_shape_is_not_documented(name):
    assert compute.undocumented([name]) == [name]


def test_the_systems_share_is_idle_searches_and_learning_that_is_not_training():
    assert compute.system(90.0, 0.05, 10.0, 8.0)["system/share"] == pytest.approx((4.5 + 2) / 100)
    assert compute.system(0.0, 0.0, 0.0, 0.0) == {}


def test_solve_rates_count_errors_and_refused_proofs_as_unsolved():
    found = compute.solve_rates(ROUND, "train")
    assert found["solve/train/Init.Data.Bool/rate"] == 1.0 and found["solve/train/Init.Core/rate"] == 0.0
    assert (found["solve/train/all/rate"], found["solve/train/all/of"]) == (0.4, 5.0)
    assert (found["solve/train/all/low"], found["solve/train/all/high"]) == wilson(2, 5)


def test_a_round_by_hand():
    found = everything()
    assert (found["proofs/new"], found["proofs/known"]) == (1, 1)
    assert found["cost/lean_calls_per_proof"] == 25 and found["cost/lean_calls_per_new_proof"] == 50
    assert found["proofs/length/1"] == 1 and found["proofs/length/3-4"] == 1 and found["proofs/mean_length"] == 2.5
    assert found["model/entropy"] == 1.5 and found["model/tokens_per_second"] == 20
    assert found["search/own_share"] == pytest.approx(0.1) and found["search/idle_share"] == pytest.approx(0.2)
    assert (found["staleness/mean"], found["staleness/max"]) == (1, 2)
    assert (found["lean/steps_per_second"], found["lean/utilisation"], found["lean/restarts"]) == (20, 0.5, 1)
    assert (found["model/queries_per_second"], found["model/utilisation"]) == (5, 0.2)
    assert (found["audit/rejected"], found["audit/rejection_rate"]) == (1, pytest.approx(1 / 3))


def test_attempts_of_a_pretrained_model_count_as_version_0():
    searched, sampled = (
        attempt("x", "proved", stats=stats) for stats in ({"entropy": 1.0}, {"rollouts": 8, "correct": 1})
    )
    assert compute.staleness([searched, sampled, attempt("y", "budget", model_version=1)], 1)["staleness/mean"] == 2 / 3


def test_a_replaced_prover_counts_from_nothing():
    def counted(steps, lean_s):
        return {"steps": steps, "lean_s": lean_s, "restarts": 0.0, "rss_mb": 1.0}

    # The first died, and another came: neither's steps are charged to the one that stayed.
    before = {0: counted(100.0, 1.0), 1: counted(5000.0, 9.0)}
    found = compute.of_lean(before, {1: counted(6000.0, 12.0), 2: counted(50.0, 1.0)}, 10.0)
    assert found["lean/steps_per_second"] == 105 and found["lean/utilisation"] == 0.2
    servers = {0: {"queries": 1000.0, "seconds": 90.0}}
    found = compute.of_model(servers, {0: {"queries": 50.0, "seconds": 1.0}}, 10.0)  # in its place
    assert found == {"model/queries_per_second": 5.0, "model/utilisation": 0.1}


def test_figures_without_data_are_left_out():
    assert compute.of_attempts([], set()) == {} and compute.staleness([], 3) == {}
    assert compute.staleness([attempt("x", "proved")], 3) == {}
    failed = [attempt("x", "budget")]
    assert not any(n.startswith(("cost/lean_calls_per", "proofs/mean")) for n in compute.of_attempts(failed, set()))
    assert compute.tokens_per_second(failed, 1.0) == {}, "no model took part"
    rollouts = [Attempt("round 2", theorem("x"), "budget", 9, None, 1.0, stats={"rollouts": 8}, model_version=1)]
    assert not any(n.startswith(("search/", "model/")) for n in compute.of_attempts(rollouts, set()))


def test_the_time_of_several_model_servers_is_shared():
    found = compute.of_model({}, {0: {"queries": 4.0, "seconds": 9.0}, 1: {"queries": 6.0, "seconds": 3.0}}, 10.0)
    assert found == {"model/queries_per_second": 1.0, "model/utilisation": 0.6}
    assert compute.of_model({}, {}, 10.0) == {}, "none answered"


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_k_subsets_with_a_right_one(case):
    n, c, k = case
    subsets = list(combinations([True] * c + [False] * (n - c), k))
    assert compute.pass_at_k(n, c, k) == pytest.approx(sum(any(s) for s in subsets) / len(subsets))


def test_pass_rates_are_means_over_theorems_for_ks_that_all_have_samples_for():
    found = compute.pass_rates([(4, 0), (8, 8)], "held-out")
    assert found == {f"pass_at_k/held-out/{k}": 0.5 for k in (1, 2, 4)}
    with pytest.raises(ValueError, match="pass@5"):
        compute.pass_at_k(4, 1, 5)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("library:Init.Core", "Init.Core"),
        ("some/where/File.lean:12", "File.lean"),
        ("x.jsonl:3", "x.jsonl"),
        ("", "other"),
    ],
)
def test_sets_have_no_slashes(source, name):
    assert compute.set_of(Theorem("t", ": True", source=source)) == name


def test_intervals_over_seeds_lie_between_one_seed_and_independent_attempts():
    def width(interval):
        return interval[1] - interval[0]

    alike = wilson_over_seeds([3] * 10 + [0] * 10, 3)
    assert alike == pytest.approx(wilson(10, 20))  # three seeds that agree on everything say no more than one
    mixed = wilson_over_seeds([2, 1] * 10, 3)
    assert width(wilson(30, 60)) == pytest.approx(width(mixed)) and width(mixed) < width(alike)
    assert wilson_over_seeds([1, 0, 1], 1) == pytest.approx(wilson(2, 3))
    assert wilson_over_seeds([0] * 20, 3) == wilson(0, 20)
    assert wilson_over_seeds([], 3) == (0.0, 1.0)


def test_intervals_over_seeds_cover_the_truth():
    """Theorems with solve probabilities of their own: the 95 % interval of their mean covers it about so often."""
    import random

    rng = random.Random(0)
    covered = {"over seeds": 0, "as if independent": 0}
    for _ in range(400):
        hard = [rng.choice((0.02, 0.95)) for _ in range(60)]  # mean 0.485 over the population
        solved = [sum(rng.random() < p for _ in range(5)) for p in hard]
        low, high = wilson_over_seeds(solved, 5)
        covered["over seeds"] += low <= 0.485 <= high
        low, high = wilson(sum(solved), 300)
        covered["as if independent"] += low <= 0.485 <= high
    assert covered["over seeds"] >= 0.92 * 400 > covered["as if independent"]
