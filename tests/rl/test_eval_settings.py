"""`turnstile eval --set`: the prover's settings on top of its run's."""

from __future__ import annotations

import pytest

from prover.errors import UserError
from rl import evaluate as e
from rl.candidate import candidate
from rl.evaluation import with_settings


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
