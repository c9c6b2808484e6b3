"""Configurations are read, overridden and written back unchanged; errors name the setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from prover.errors import UserError
from prover.models.backends.serve import ServeConfig
from prover.models.prompt import PromptConfig
from prover.models.tokenizer import MIN_VOCAB, N_SLOTS
from rl import config
from rl.actors.fleet import Fleet
from rl.changes import changed
from rl.start import with_absolute_paths

STAGES = sorted(Path("curricula/stages").glob("*.toml"))


@pytest.mark.parametrize("path", STAGES, ids=lambda p: p.stem)
def test_every_stage_reads_and_round_trips(path, tmp_path):
    c = config.load(path)
    (tmp_path / "again.toml").write_text(config.dump(c))
    assert config.load(tmp_path / "again.toml") == c


def test_overrides():
    c = config.override(
        config.RunConfig(), ("learn.rounds=7", "name=x", 'theorems.modules=["A", "B"]', "max_minutes=3")
    )
    assert (c.learn.rounds, c.name, c.theorems.modules, c.max_minutes) == (7, "x", ("A", "B"), 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense = 1", "unknown setting 'nonsense'"),
        ("[learn]\nrouns = 1", "unknown setting 'rouns'"),
        ("learn = 1", "learn must be a table, not 1"),
        ('[learn]\nrounds = "many"', "learn.rounds must be an integer, not 'many'"),
        ("[theorems]\nmodules = 1", "theorems.modules must be a list, not 1"),
        ("= 1", "not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as e:
        config.load(path)
    assert str(path) in str(e.value)


def test_texts_come_back_as_they_were(tmp_path):
    c = config.override(config.RunConfig(), ("name=a #2", 'serve.start="x\\ty\\"z\\\\"'))
    (tmp_path / "again.toml").write_text(config.dump(c))
    assert config.load(tmp_path / "again.toml") == c and c.serve.start == 'x\ty"z\\'


@pytest.mark.parametrize(
    "setting",
    [
        'name=""',
        'name="a\\nb"',
        "theorems.limit=-5",
        'theorems.limit="abc"',
        "theorems.per_module=0",
        "replay.half_life=0.0",
        "learn.seconds=nan",
        "max_minutes=inf",
        "prover.in_flight=0",
        "learn.seconds=-1",
        "learn.seconds=0",
        "model.max_prompt=8",
        "prover.premises=17",
        "prover.premises=-1",
        "model.vocabulary=200",
        "model.hidden=100",
        "model.heads=0",
    ],
)
def test_late_failures_are_refused_at_once(setting):
    with pytest.raises(UserError, match=setting.partition("=")[0]):
        config.check(config.override(config.RunConfig(), (setting,)))


def test_limits_are_those_of_the_model():
    assert (config.LEAST_VOCABULARY, config.MOST_PREMISES) == (MIN_VOCAB, N_SLOTS)
    PromptConfig(max_prompt=config.LEAST_PROMPT)
    with pytest.raises(ValueError, match="max_prompt"):
        PromptConfig(max_prompt=config.LEAST_PROMPT - 1)


def test_an_override_without_a_value_is_refused():
    with pytest.raises(UserError, match="table.key=value"):
        config.override(config.RunConfig(), ("learn.rounds",))


@pytest.mark.parametrize(
    "setting", ["replay.on_disk=0", "eval.validation=-1", "eval.rollouts=-1", "eval.validation_calls=0"]
)
def test_numbers_that_make_no_sense_are_named(setting):
    with pytest.raises(UserError, match=setting.split("=")[0]):
        config.check(config.override(config.RunConfig(), (setting,)))


def test_an_unfinished_run_of_other_settings_is_not_gone_on_with(tmp_path):
    from rl.commands.train import train as start_training

    folder = tmp_path / "runs" / "x"
    folder.mkdir(parents=True)
    own = config.override(config.RunConfig(), ("name=x", f"runs={tmp_path / 'runs'}", "learn.rounds=3"))
    (folder / "config.toml").write_text(config.dump(own))
    (folder / "ledger.sqlite").touch()
    with pytest.raises(UserError, match=r"learn\.rounds=3, not 10"):
        start_training(set=("name=x", f"runs={tmp_path / 'runs'}", "learn.rounds=10"))
    for more in ({"name": "y"}, {"dry_run": True}):
        with pytest.raises(UserError, match="omit all other options"):
            start_training(resume=folder, **more)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("seed=7", "attempts were made with it"),
        ("theorems.per_module=3", "attempts are at these theorems"),
        ("model.layers=2", "checkpoints are of this model"),
        ('serve.start="x/y-1B"', "checkpoints are of this model"),
        ("eval.calls=8", "`turnstile eval` evaluates"),
        ("learn.calls=9", "would not be comparable"),
        ("prover.suggestions=4", "would not be comparable"),
        ('name="y"', "move or rename"),
        ("learn.rounds=1", "already trained 2 rounds"),
    ],
)
def test_what_may_not_change_says_why(setting, reason):
    saved = config.RunConfig()
    with pytest.raises(UserError, match=reason):
        changed(saved, config.override(saved, ("learn.rounds=4", setting)), learned=2)


def test_what_may_change_is_listed():
    saved = config.RunConfig()
    wanted = config.override(saved, ("learn.rounds=5", "prover.provers=4", "ray.address=h:1", "max_minutes=9"))
    assert changed(saved, wanted, learned=3) == [
        "max_minutes: 60.0 → 9.0",
        "prover.provers: 2 → 4",
        "learn.rounds: 3 → 5",
        "ray.address:  → h:1",
    ]
    assert changed(saved, saved, learned=3) == []


@pytest.mark.parametrize(
    "setting", ["learn.ranks=4", "learn.shard=true", "learn.learning_rate=1e-5", "serve.gradient_checkpointing=true"]
)
def test_a_run_goes_on_with_other_learners_and_smaller_steps(setting: str) -> None:
    """Else a lost GPU, or a gradient that is not finite, would end it for good."""
    saved = config.RunConfig()
    assert len(changed(saved, config.override(saved, (setting,)), learned=3)) == 1


def test_actors_get_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a cluster that was started elsewhere have another working directory."""
    monkeypatch.chdir(tmp_path)
    for folder in ("warm", "bfs-prover"):
        (tmp_path / folder).mkdir()
    (tmp_path / "own.toml").touch()
    given = config.RunConfig(serve=ServeConfig(start="warm", template="own.toml"))
    serve = Fleet(given, tmp_path, print).config.serve
    assert (serve.start, serve.template) == (str(tmp_path / "warm"), str(tmp_path / "own.toml"))
    named = config.RunConfig(serve=ServeConfig(start="someone/model", template="bfs-prover"))
    assert with_absolute_paths(named) == named, "names stay names, whatever folders there are"
