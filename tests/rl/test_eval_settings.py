"""`turnstile eval --set`: the prover's settings on top of its run's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prover.errors import UserError
from prover.models.ranker import BUCKETS, WIDTH, TacticRanker
from rl import evaluation_results as e
from rl.candidate import Candidate, candidate
from rl.config import ProverConfig
from rl.evaluation import Evaluation, with_settings
from rl.learned import Learned

RUN = Candidate("run", ProverConfig(), "run/checkpoints/000001", "hash", ranker="ranker.npz")
"""A checkpoint with a ranker and without an assessor."""


def test_changed_settings_make_another_prover_of_the_same_kind() -> None:
    plain = candidate("explorer")
    changed = with_settings(plain, ("prover.actions=elementary", "prover.strict=true"))
    assert (changed.kind, changed.config.actions, changed.config.strict) == ("explorer", "elementary", True)
    test = e.Test("set", "hash", 1, 8, 1, 1.0, "Lean")
    assert e.key_of(test, changed) != e.key_of(test, plain) == e.key_of(test, with_settings(plain, ()))


@pytest.mark.parametrize("setting", ["learn.rounds=3", "prover.selection=nonsense", "prover.actions=some", "nonsense"])
def test_other_settings_are_refused(setting: str) -> None:
    with pytest.raises(UserError):
        with_settings(candidate("explorer"), (setting,))


def test_a_prover_without_its_ranker() -> None:
    """Before, `use_ranker=false` measured the prover with its ranker."""
    embedding = np.zeros((BUCKETS, WIDTH), np.float32)
    learned = Learned(TacticRanker(embedding, embedding, embedding[:, 0], embedding))
    without = with_settings(RUN, ("prover.use_ranker=false",))
    used = [learned.explorer(None, 0, p.config).ranker for p in (RUN, without)]  # pyright: ignore[reportArgumentType]
    assert used == [learned.ranker, None]
    test = e.Test("set", "hash", 1, 8, 1, 1.0, "Lean")
    assert e.key_of(test, without) != e.key_of(test, RUN)


@pytest.mark.parametrize(
    ("prover", "setting", "advice"),
    [
        (RUN, "prover.step_seconds=99.0", "belong to the test"),
        (RUN, "prover.heartbeats=9", "belong to the test"),
        (RUN, "prover.explorer_weight=0.0", "set prover.eval_explorer_weight"),
        (RUN, "prover.provers=3", "use --processes"),
        (RUN, 'prover.assess=["premises"]', "has no assessor"),
        (Candidate("run", ProverConfig(), "run", assessor="a.npz"), 'prover.assess=["goals"]', "use_value=false"),
        (Candidate("run", ProverConfig(), "run"), "prover.use_ranker=false", "has no ranker"),
        (candidate("explorer"), "prover.use_value=false", "has no model"),
    ],
)
def test_settings_without_effect_are_refused(prover: Candidate, setting: str, advice: str) -> None:
    with pytest.raises(UserError, match=advice):
        with_settings(prover, (setting,))


def test_fresh_names_and_an_assessor_of_true_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = Candidate("run", ProverConfig(assess=("premises",)), "run", assessor="a.npz")
    monkeypatch.setattr("rl.candidate.candidate", lambda name: own)
    (tmp_path / "one.lean").write_text("theorem t : True := by sorry\n")
    with pytest.raises(UserError, match=r"does not work with prover.assess=\['premises'\]; add --set"):
        Evaluation.prepare(e.EvalOptions("run", str(tmp_path / "one.lean"), fresh_names=True))
