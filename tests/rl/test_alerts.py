"""Alerts are raised in faulty runs and not in healthy ones, over many simulated runs."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from rl.metrics.alerts import Alert, RoundFigures, alerts, kendall


def kinds(history: list[RoundFigures]) -> set[str]:
    return {a.kind for a in alerts(history)}


def run(rounds: int, seed: int, rate: Callable[[int], float], reward: Callable[[int], float], of: int = 240):
    """Rounds with binomial solves and noisy rewards and entropies around what the functions say."""
    rng = random.Random(seed)
    return [
        RoundFigures(
            r,
            sum(rng.random() < rate(r) for _ in range(of)),
            of,
            rejected=int(rng.random() < 0.1),
            judged=100,
            entropy=1.5 * 0.97**r + rng.gauss(0, 0.05),
            rewards={"progress": reward(r) + rng.gauss(0, 0.005)},
        )
        for r in range(1, rounds + 1)
    ]


def said(history: list[RoundFigures]) -> list[Alert]:
    return [a for n in range(1, len(history) + 1) for a in alerts(history[:n])]


def test_healthy_runs_raise_no_alert():
    """Solving more and more, or flat at its best, with a reward that follows or stays."""
    for seed in range(20):
        improving = run(20, seed, lambda r: 0.2 + 0.015 * r, lambda r: 0.3 + 0.01 * r)
        flat = run(20, 100 + seed, lambda r: 0.4, lambda r: 0.3)
        assert [a.kind for a in said(improving) if a.kind != "reward_hacking"] == []
        assert said(flat) == []
    hacking = sum(
        any(a.kind == "reward_hacking" for a in said(run(20, s, lambda r: 0.2 + 0.015 * r, lambda r: 0.3 + 0.01 * r)))
        for s in range(20)
    )
    assert hacking <= 1


def test_a_gamed_reward_is_found_in_nearly_every_run():
    found = sum(
        any(
            a.kind == "reward_hacking" and "progress" in a.title
            for a in said(run(20, s, lambda r: 0.3, lambda r: 0.2 + 0.02 * r))
        )
        for s in range(20)
    )
    assert found >= 18


def test_a_reward_that_rises_while_solves_fall_is_named_with_its_figures():
    history = [RoundFigures(r, 60 - r, 200, rewards={"progress": 0.1 * r, "frugal": 0.5}) for r in range(1, 7)]
    (alert,) = alerts(history)
    assert alert.kind == "reward_hacking" and "'progress'" in alert.title and len(alert.title) < 64
    assert "0.2 to 0.5" in alert.text and "29.0 % to 27.5 %" in alert.text


def test_a_reward_that_was_just_switched_on_is_not_blamed():
    history = [RoundFigures(r, 50, 200, rewards={"new": 0.1 * r} if r > 3 else {}) for r in range(1, 7)]
    assert alerts(history) == []


def test_nothing_solved_at_all_and_a_rising_reward():
    history = [RoundFigures(r, 0, 200, rewards={"progress": 0.1 * r}) for r in range(1, 7)]
    assert kinds(history) == {"reward_hacking"}
    history = [RoundFigures(r, int(r == 6), 200, rewards={"progress": 0.1 * r}) for r in range(1, 7)]
    assert kinds(history) == set()  # the first solve is a rise


@pytest.mark.parametrize(
    ("entropies", "speaks"),
    [
        ([1.5, 1.4, 1.4, 1.3], False),
        ([1.5, 1.4, 1.4, 0.4], True),
        ([0.01], True),
        ([1.5], False),
        ([2.0, 0.5], False),
        ([None, None, 1.0], False),
        ([1.5, 1.4, None], False),
    ],
)
def test_entropy(entropies, speaks):
    history = [RoundFigures(r, 50, 100, entropy=e) for r, e in enumerate(entropies, 1)]
    assert ("entropy" in kinds(history)) is speaks


@pytest.mark.parametrize(
    ("rounds", "speaks"),
    [
        ([(90, 200), (40, 200)], True),
        ([(90, 200), (80, 200)], False),
        ([(9, 10), (60, 200)], True),
        ([(5, 10), (60, 200)], False),
        ([(0, 0), (60, 200)], False),
        ([(90, 200), (40, 200), (85, 200)], False),
    ],
)
def test_a_fall_of_the_solve_rate_is_more_than_chance(rounds, speaks):
    assert ("solve_rate" in kinds([RoundFigures(r, *x) for r, x in enumerate(rounds, 1)])) is speaks


@pytest.mark.parametrize(
    ("rounds", "speaks"),
    [
        ([(0, 100), (0, 100), (12, 100)], True),
        ([(0, 100), (1, 100)], False),
        ([(10, 100), (12, 100)], False),
        ([(30, 100)], True),
        ([(1, 3)], True),
        ([(1, 20)], False),
        ([(0, 0)], False),
    ],
)
def test_rejections(rounds, speaks):
    history = [RoundFigures(r, 50, 100, rejected=a, judged=b) for r, (a, b) in enumerate(rounds, 1)]
    assert ("rejections" in kinds(history)) is speaks


def test_kendall():
    assert kendall([1, 2, 3]) == 1 and kendall([3, 2, 1]) == -1 and kendall([1, 1, 1]) == 0 and kendall([]) == 0
    assert kendall([1, 3, 2]) == pytest.approx(1 / 3)


def drift(*rounds: tuple[float, int], of: int = 100) -> bool:
    history = [RoundFigures(r, 50, 100, expected=p, proved=n, assessed=of) for r, (p, n) in enumerate(rounds, 1)]
    return "drift" in kinds(history)


def test_estimates_and_verdicts_drift_apart():
    assert drift((0.6, 30)) and not drift((0.6, 50)), "less was proved than expected"
    assert not drift((0.6, 3), of=9), "chance"
    assert not drift((0.2, 60)) and not drift((0.2, 60), (0.2, 60)), "a prover may have learned much since"
    assert drift((0.5, 50), (0.5, 50), (0.2, 60)) and not drift((0.2, 50), (0.2, 50), (0.2, 60)), "the usual gap"
    assert drift((0.4, 40), (0.5, 50), (0.9, 60)) and not drift((0.7, 50), (0.7, 50), (0.8, 55))
    assert alerts([RoundFigures(1, 50, 100)]) == []
    (alert,) = alerts([RoundFigures(1, 30, 100, expected=0.6, proved=30, assessed=100)])
    assert "expected 60 % of 100 attempts" in alert.text and "30 %" in alert.text and len(alert.title) < 64
