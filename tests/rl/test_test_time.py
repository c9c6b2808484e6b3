"""Learning at test time: the settings of its run, what it starts from, its targets, and the way of a proof into the answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from curricula.library import split_of
from prover import plugins
from prover.errors import UserError
from prover.lean.theorem import Theorem
from prover.models.backends.serve import ServeConfig
from prover.solve import learning
from prover.solve.batch import Target, row_of, task_of
from prover.solve.job import Found
from prover.solve.learning import Learned, LearnOptions, with_learning
from prover.solve.ledger import Attempt, Ledger
from prover.solve.results import Results
from rl import config as config_module
from rl.actors.learner import LearnerActor
from rl.config import LearnConfig, ModelConfig, ReplayConfig, RunConfig, TheoremsConfig, check
from rl.curriculum import Curriculum
from rl.examples import PolicyExample
from rl.learning import Learning
from rl.plan import plan
from rl.start import start_of
from rl.test_time import THEOREMS, TargetLearner, run_config, start_from
from rl.theorem_splits import theorems_of

Actor: Any = LearnerActor.__ray_metadata__.modified_class  # type: ignore[attr-defined]
"""The learner without Ray."""
SMALL = ModelConfig(hidden=48, layers=2, heads=4, intermediate=96, vocabulary=300, max_prompt=64)
LEARN = LearnConfig(max_epochs=1.0, seconds=1e9, threads=1, fresh_names=0.0)
NAMES = [n for i in range(40) if split_of(n := f"t{i}") == "train"][:6]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned one version, with two examples."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    folder.mkdir()
    config = check(RunConfig("mine", str(folder.parent), learn=LEARN, model=SMALL))
    (folder / "config.toml").write_text(config_module.dump(config))
    actor = Actor(config, str(folder / "checkpoints"))
    actor.learn([PolicyExample(f"n : Nat\n⊢ n = {k}", "omega") for k in range(8)], [], 1e9, 1)
    ledger = Ledger(folder / "ledger.sqlite")
    for i, name in enumerate(NAMES[:2]):
        attempt = Attempt("round 1", Theorem(name, ": True"), "proved", 1, 1, 0.1, "trivial")
        ledger.record(attempt, [("policy", example(f"⊢ earlier {i}", 1))])
    ledger.set("learned 1", {"version": 1})
    ledger.close()
    return folder


def example(state: str, r: int) -> dict[str, Any]:
    return {"state": state, "premises": [], "tactics": [["trivial", 1.0]], "depth": 0, "round": r}


def starting(run: Path, **model: Any) -> RunConfig:
    return RunConfig(learn=LEARN, model=replace(SMALL, start=str(run), **model), replay=ReplayConfig(start_share=0.5))


def test_a_run_may_begin_with_the_weights_of_another(run: Path, tmp_path: Path) -> None:
    config = check(starting(run))
    assert config.has_model and not RunConfig().has_model
    plan(config)
    actor = Actor(config, str(tmp_path))
    assert actor.resume() == 0
    ours, theirs = (load_file(p / "model.safetensors") for p in (tmp_path / "000000", run / "checkpoints/000001"))
    assert ours.keys() == theirs.keys() and all(torch.equal(w, theirs[k]) for k, w in ours.items())
    actor.learn([PolicyExample("⊢ True", "trivial")], [], 1e9, 1)
    again = Actor(config, str(tmp_path))
    assert again.resume() == 1 and again.learner.step > 0
    learned = load_file(tmp_path / "000001/model.safetensors")
    assert any(not torch.equal(w, theirs[k]) for k, w in learned.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"hidden": 64}, "model.hidden=64: .* has 48"), ({"max_prompt": 32}, "model.max_prompt=32")],
)
def test_a_start_of_other_sizes_is_refused(run: Path, changes: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        start_of(starting(run, **changes))


def test_a_start_that_is_none_is_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(UserError, match="model.start .*: no checkpoint"):
        start_of(starting(tmp_path))
    both = replace(starting(run), serve=ServeConfig(start="model"))
    with pytest.raises(UserError, match="set one of them"):
        check(both)
    with pytest.raises(UserError, match="replay.start_share"):
        check(RunConfig(replay=ReplayConfig(start_share=0.5)))


def test_replay_draws_a_share_from_the_run_that_it_starts_from(run: Path, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    learner = Learning(starting(run), tmp_path, ledger, None, print)  # type: ignore[arg-type]
    assert len(learner._draw("policy", 1)) == 2, "a round without examples of its own still has those"
    for i, name in enumerate(NAMES[2:4]):
        attempt = Attempt("round 1", Theorem(name, ": True"), "proved", 1, 1, 0.1, "trivial")
        ledger.record(attempt, [("policy", example(f"⊢ own {i}", 1))])
    assert sorted(d["state"] for d in learner._draw("policy", 1)) == [
        "⊢ earlier 0",
        "⊢ earlier 1",
        "⊢ own 0",
        "⊢ own 1",
    ]


def test_targets_are_tried_in_every_round_until_they_are_proved(tmp_path: Path) -> None:
    theorems = [Theorem(n, ": True") for n in NAMES]
    target, other = NAMES[0], NAMES[1]
    config = RunConfig(learn=LearnConfig(calls=100), theorems=TheoremsConfig(targets=(target, other), target_calls=30))
    ledger = Ledger(tmp_path / "ledger.sqlite")
    curriculum = Curriculum(config, theorems, ledger)
    calls = []
    for r in (1, 2, 3, 4):
        tasks = {t.theorem.name: t for t in curriculum.tasks(r, "model", {other: 1} if r > 2 else {}, True)}
        calls.append(tasks[target].lean_calls)
        assert tasks[target].negated is None and len(tasks) <= len(NAMES)
        assert r > 2 or other in tasks
        stats = {"calls_allowed": tasks[target].lean_calls}
        ledger.record(Attempt(f"round {r}", theorems[0], "budget", 1, None, 0.1, stats=stats))
    assert calls == [30, 60, 120, 240]


def test_many_targets_take_as_many_lean_calls_of_a_round_as_the_rest(tmp_path: Path) -> None:
    theorems = [Theorem(n, ": True") for n in NAMES]
    config = RunConfig(learn=LearnConfig(calls=20), theorems=TheoremsConfig(targets=tuple(NAMES[:3]), target_calls=500))
    ledger = Ledger(tmp_path / "ledger.sqlite")
    curriculum = Curriculum(config, theorems, ledger)
    tried = []
    for r in (1, 2, 3):
        calls = {t.theorem.name: t.lean_calls for t in curriculum.tasks(r, "model", {}, True)}
        tried.append({n: calls[n] for n in NAMES[:3] if n in calls})
        for t in theorems[:3]:
            if (n := calls.get(t.name)) is not None:
                stats = {"calls_allowed": n}
                ledger.record(Attempt(f"round {r}", t, "budget", n, None, 0.1, stats=stats))
    assert tried[0] == dict.fromkeys(NAMES[:3], 40), "a third of 6 × 20"
    assert tried[1] == {NAMES[0]: 80}, "twice those that failed; a second one would take 160 of 120"
    assert tried[2] == {NAMES[1]: 80}, "the next in turn"


def test_a_target_must_be_a_training_theorem(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"name": NAMES[0], "statement": ": True"}))
    with pytest.raises(UserError, match="theorems.targets: nothing is not one"):
        theorems_of(TheoremsConfig(files=(str(path),), targets=("nothing",)), None, 0)  # type: ignore[arg-type]


# -- what learning starts from -------------------------------------------------------------------------------------------


def test_a_policy_without_a_model_learns_from_nothing() -> None:
    start = start_from("portfolio,explorer?actions=elementary", None)
    assert not start.has_model and start.prover.strict and start.prover.actions == "elementary"
    mine = RunConfig(model=SMALL)
    assert start_from("explorer", mine) is mine


def test_the_policy_of_a_run_learns_from_its_model_with_its_settings(run: Path) -> None:
    for policy in (str(run), str(run / "checkpoints/000001")):
        found = start_from(policy, None)
        assert found.model == replace(SMALL, start=str(run / "checkpoints/000001")) and found.learn.fresh_names == 0.0
        assert found.replay.start_share > 0
        check(found)
        start_of(found)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("vllm:model", "cannot learn"),
        ("portfolio,openai:http://localhost:1", "cannot learn"),
        ("{run},{run}/checkpoints/000001", "several models"),
        ("{run}", "--learn-settings"),
    ],
)
def test_a_policy_that_cannot_learn_is_refused(run: Path, policy: str, message: str) -> None:
    settings = RunConfig() if message.startswith("--") else None
    with pytest.raises(UserError, match=message):
        start_from(policy.format(run=run), settings)


def test_the_run_is_limited_by_time_and_targets_and_evaluates_nothing(tmp_path: Path) -> None:
    base = config_module.load(Path("worlds"))
    found = run_config(base, tmp_path / "out", [NAMES[0]], 6.0, LearnOptions(6.0, budget=100, workers=3))
    check(found)
    assert found.folder == tmp_path / "out" and found.max_minutes == 6.0 and found.prover.provers == 3
    file = str(tmp_path / "out" / THEOREMS)
    assert found.theorems == TheoremsConfig(files=(file,), targets=(NAMES[0],), target_calls=200)
    assert not found.eval.baselines and not found.eval.validation
    assert found.learn.seconds <= 30 and found.learn.first_calls == 100 and found.matchmaker.max_calls == 1600
    assert found.prover.temperature == base.prover.temperature and found.model == base.model


def test_folders_that_are_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/ledger.sqlite").touch()
    for name, resume, message in (
        ("file", False, "is a file"),
        ("full", False, "not empty"),
        ("other", True, "another run"),
    ):
        with pytest.raises(UserError, match=message):
            TargetLearner(LearnOptions(1.0, out=tmp_path / name, resume=resume))
    TargetLearner(LearnOptions(1.0, out=tmp_path / "new", resume=True))


def test_the_learner_is_found_without_a_new_installation() -> None:
    assert "run" in plugins.added(learning.LEARNERS)


# -- the way of a proof into the answer ----------------------------------------------------------------------------------


class Fake:
    """Finds `trivial` for some targets."""

    def __init__(self, proofs: Callable[[Target], bool], interrupted: bool = False) -> None:
        self.proofs, self.interrupted = proofs, interrupted
        self.seen: list[str] = []

    def learn(self, targets: Sequence[Target]) -> Learned:
        self.seen = [t.task.key for t in targets]
        about = {"folder": "f", "round": 2, "variants": 9, "variants_proved": 4, "lean_calls": 100}
        found = {t.task.key: ("trivial", about) for t in targets if self.proofs(t)}
        return Learned(found, {"folder": "f", "targets": []}, self.interrupted)


TASKS = [task_of(i, Theorem(f"t{i}", ": True")) for i in range(3)]


def searching(log: Results, interrupted: bool = False) -> Callable[[], Any]:
    """A search that proves t0 only, and afterwards what the log has as found, as a batch would."""

    def search() -> Any:
        for i, task in enumerate(TASKS):
            known = log.rows.get((task.key, 0))
            if known is None:
                log.add(row_of(task, Found("proved" if i == 0 else "budget", "rfl" if i == 0 else "", 5)))
            elif known.get("unjudged"):
                assert known["outcome"] == "found"
                found = Found("proved", known["proof"], known["lean_calls"], learned=known["learned"])
                log.add(row_of(task, found))
        rows = [log.rows[task.key, 0] for task in TASKS]
        left = [Target(t, 0) for t, row in zip(TASKS, rows, strict=True) if row["outcome"] == "budget"]
        return {"tasks": rows, "open": left, "interrupted": interrupted, "seconds": 1.0}, b""

    return search


def test_what_is_learned_is_audited_by_another_search(tmp_path: Path) -> None:
    log = Results(tmp_path / "r.jsonl", {"input": "x"}, False)
    learner = Fake(lambda t: t.task.key == TASKS[1].key)
    document, _ = with_learning(learner, searching(log), log)
    log.close()
    assert learner.seen == [TASKS[1].key, TASKS[2].key]
    assert [row["outcome"] for row in document["tasks"]] == ["proved", "proved", "budget"]
    assert [row.get("learned", {}).get("round") for row in document["tasks"]] == [None, 2, None]
    assert document["seconds"] == 2.0 and document["learned"]["folder"] == "f"
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert rows[-1]["name"] == "t1" and rows[-1]["learned"]["lean_calls"] == 100 and rows[-1]["lean_calls"] == 5


def test_nothing_is_learned_after_an_interruption_or_without_open_targets(tmp_path: Path) -> None:
    log = Results(None, {}, False)
    learner = Fake(lambda t: True)
    document, _ = with_learning(learner, searching(log, interrupted=True), log)
    assert "learned" not in document and not learner.seen
    document, _ = with_learning(learner, searching(log), log)
    assert [row["outcome"] for row in document["tasks"]] == ["proved"] * 3
    learner.seen = []
    with_learning(learner, searching(log), log)
    assert not learner.seen


def test_a_fault_of_the_learner_keeps_the_answer_of_the_search() -> None:
    class Broken:
        def learn(self, targets: Sequence[Target]) -> Learned:
            raise RuntimeError("Ray did not start")

    log = Results(None, {}, False)
    document, _ = with_learning(Broken(), searching(log), log)
    assert str(document["failure"]) == "Ray did not start" and document["tasks"][0]["outcome"] == "proved"


def test_an_interruption_keeps_what_was_found(tmp_path: Path) -> None:
    log = Results(None, {}, False)
    document, _ = with_learning(Fake(lambda t: True, interrupted=True), searching(log), log)
    assert document["interrupted"] and [row["outcome"] for row in document["tasks"]] == ["proved"] * 3
