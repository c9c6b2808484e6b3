"""Calibration on predictions with known outcomes."""

from __future__ import annotations

import random

import pytest

from prover.lean.theorem import Theorem
from prover.solve.ledger import Attempt
from rl.metrics import calibration
from rl.reliability import auc, calibration_error

D = calibration.DISCOUNT


def test_a_value_that_is_right_has_no_error():
    found = [(D**k, k) for k in (1, 2, 3, 5)] + [(0.0, None), (D**15, 20)]
    assert calibration_error(calibration.reliability(found)) == pytest.approx(0, abs=1e-9)
    assert all(e.absolute == pytest.approx(0, abs=1e-9) for e in calibration.error_by_steps(found))
    assert calibration.metrics(found[:-1])["value/auc"] == 1.0


def test_an_optimist_and_a_pessimist_by_hand():
    (only,) = calibration.reliability([(0.95, None), (0.95, None), (0.95, 1), (0.95, 1)])
    assert (only.low, only.count) == (0.9, 4)
    assert only.predicted == pytest.approx(0.95) and only.observed == pytest.approx(D / 2)
    (e,) = calibration.error_by_steps([(D**5, 2), (D**3, 2)])
    assert (e.steps, e.count) == (2, 2) and e.bias == pytest.approx(2) and e.absolute == pytest.approx(2)
    (e,) = calibration.error_by_steps([(D**1, 4), (D**6, 4)])
    assert e.bias == pytest.approx(-0.5) and e.absolute == pytest.approx(2.5)


def test_far_goals_share_a_row_and_the_ends_have_bins():
    assert [e.steps for e in calibration.error_by_steps([(0.5, 9), (0.5, 6), (0.5, 1)])] == [1, 6]
    assert [b.low for b in calibration.reliability([(0.0, None), (1.0, 1)])] == [0.0, 0.9]


def test_a_value_of_no_worth_may_be_calibrated_but_tells_nothing_apart():
    rng = random.Random(1)
    found = [(D / 2, 1 if rng.random() < 0.5 else None) for _ in range(4000)]
    m = calibration.metrics(found)
    assert m["value/calibration_error"] < 0.03 and m["value/auc"] == 0.5


def test_auc_against_brute_force():
    rng = random.Random(2)
    up, down = [rng.randrange(6) / 5 for _ in range(30)], [rng.randrange(4) / 5 for _ in range(20)]
    brute = sum((a > b) + 0.5 * (a == b) for a in up for b in down) / 600
    assert auc(up, down) == pytest.approx(brute)


def test_refused_proofs_label_nothing():
    t = Theorem("t", ": True")
    kept = {"values": [[0.5, 2], [0.1, None]]}
    attempts = [Attempt("p", t, o, 1, None, 0.0, stats=kept) for o in ("proved", "rejected")]
    assert calibration.predictions(attempts) == [(0.5, 2), (0.1, None)]
    assert calibration.metrics([]) == {}
