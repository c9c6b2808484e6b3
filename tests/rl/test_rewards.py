"""Rewards are pure, in [0, 1], and cannot outweigh the audited proof."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prover.errors import UserError
from prover.solve.job import Found, Trace
from rl import config
from rl.actors.dispatch import Finished
from rl.actors.recorder import RecorderBody
from rl.attempt import Task
from rl.config import RunConfig
from rl.rewards import REWARDS, AttemptResult, check, score, weights
from tests.rl.test_unjudged import THEOREM, rollout, verdict

ends = st.builds(
    AttemptResult,
    st.booleans(),
    st.integers(1, 40),
    st.none() | st.integers(1, 40),
    st.integers(0, 600),
    st.integers(1, 512),
    st.floats(0, 1),
)
FULL = {"shorter": (0.0, 0.3), "new": (0.2,), "frugal": (0.1,), "progress": (0.0, 0.0, 0.3)}


@given(ends)
def test_every_reward_is_between_0_and_1(e):
    assert all(0.0 <= f(e) <= 1.0 for f in REWARDS.values())


@given(ends, ends, st.integers(1, 9))
def test_no_attempt_without_an_audited_proof_beats_one_with(a, b, round):
    check(FULL, 9)
    w = weights(FULL, round)
    if a.proved and not b.proved:
        assert sum(score(a, w).values()) > sum(score(b, w).values())


def test_a_schedule_switches_a_reward_on_and_stays():
    assert [weights(FULL, r)["progress"] for r in (1, 2, 3, 4, 99)] == [0.0, 0.0, 0.3, 0.3, 0.3]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"progress": (0.0, 1.0)}, "round 2"),
        ({"proved": ()}, "rewards.proved"),
        ({"new": (-1.0,)}, "rewards.new"),
        ({"shorter": (0.5,), "frugal": (0.5,)}, "only the audited proof may dominate"),
        ({"lovely": (0.5,)}, "unknown reward 'lovely'; choose one of proved, shorter"),
    ],
)
def test_weights_that_let_something_else_dominate_are_refused(config, message):
    with pytest.raises(UserError, match=message):
        check(config, 3)


def test_values():
    e = AttemptResult(True, size=2, best_size=4, calls=4, budget=16, closed=0.5)
    assert {n: f(e) for n, f in REWARDS.items()} == {
        "proved": 1,
        "shorter": 0.5,
        "new": 0,
        "frugal": 0.75,
        "progress": 0.5,
    }


def test_a_reward_out_of_bounds_cannot_outweigh_the_audited_proof(monkeypatch):
    monkeypatch.setitem(REWARDS, "huge", lambda e: 1e9)
    monkeypatch.setitem(REWARDS, "below", lambda e: -1e9)
    found = score(AttemptResult(proved=False), {"proved": 1.0, "huge": 0.3, "below": 0.3})
    assert found == {"proved": 0.0, "huge": 0.3, "below": 0.0}


def test_weights_of_a_configuration_round_trip_and_zeros_mean_nothing(tmp_path):
    c = config.override(config.RunConfig(), ("rewards.new=[0, 0.2]", "rewards.shorter=[0.0]", "rewards.proved=[1.0]"))
    assert c.rewards == {"new": (0.0, 0.2)}
    (tmp_path / "c.toml").write_text(config.dump(c))
    assert config.load(tmp_path / "c.toml") == c
    with pytest.raises(UserError, match="rewards"):
        config.override(c, ('rewards.new="much"',))


@pytest.mark.parametrize(("turns", "size", "frugal"), [(0, {}, 0.75), (2, {"size": 6}, 0.5)])
def test_a_rollout_is_frugal_by_its_own_lean_calls(
    tmp_path: Path, turns: int, size: dict[str, int], frugal: float
) -> None:
    """A tactic is one call, and so is a whole proof of any length. Before, tactics were compared with the calls of a search."""
    sampled = {**rollout("trivial"), "calls": [((1,), (2,), (-0.5,))], **size}
    task = Task(THEOREM, "model", 64, learn=True, rollouts=1, max_tactics=4, turns=turns)
    found = Found("found", "trivial", 1, trace=Trace(1, rollouts=[sampled]))
    recorder = RecorderBody(RunConfig(rewards={"frugal": (0.2,)}), str(tmp_path / "ledger.sqlite"), "Lean")
    recorder.record("round 1", 1, Finished(task, found, {"trivial": verdict("proved")}))
    (attempt,) = recorder.ledger.attempts()
    assert attempt.stats["rewards"] == {"proved": 1.0, "frugal": frugal}
