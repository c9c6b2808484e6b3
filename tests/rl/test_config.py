"""Configurations: read, overridden, written back the same; mistakes named."""

from __future__ import annotations

from pathlib import Path

import pytest

from prover.errors import UserError
from rl import config

STAGES = sorted(Path("curricula/stages").glob("*.toml"))


@pytest.mark.parametrize("path", STAGES, ids=lambda p: p.stem)
def test_every_stage_reads_and_round_trips(path, tmp_path):
    c = config.load(path)
    (tmp_path / "again.toml").write_text(config.dump(c))
    assert config.load(tmp_path / "again.toml") == c


def test_overrides():
    c = config.override(config.RunConfig(), ("learn.rounds=7", "name=x", 'theorems.modules=["A", "B"]', "max_minutes=3"))
    assert (c.learn.rounds, c.name, c.theorems.modules, c.max_minutes) == (7, "x", ("A", "B"), 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense = 1", "unknown setting 'nonsense'"),
        ("[learn]\nrouns = 1", "unknown setting 'rouns'"),
        ("learn = 1", r"\[learn\] must be a table"),
        ('[learn]\nrounds = "many"', "rounds must be a int"),
        ("[theorems]\nmodules = 1", "modules must be a list"),
        ("= 1", "not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as e:
        config.load(path)
    assert str(path) in str(e.value)


def test_an_override_without_a_value_is_refused():
    with pytest.raises(UserError, match="table.key=value"):
        config.override(config.RunConfig(), ("learn.rounds",))


@pytest.mark.parametrize("setting", ["replay.on_disk=0", "eval.validation=-1", "eval.rollouts=-1", "eval.validation_calls=0"])
def test_numbers_that_make_no_sense_are_named(setting):
    with pytest.raises(UserError, match=setting.split("=")[0]):
        config.check(config.override(config.RunConfig(), (setting,)))
