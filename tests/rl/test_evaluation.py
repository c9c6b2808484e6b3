"""`turnstile eval` on real Lean: several seeds, resuming after a kill, comparable results, bad input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from prover.errors import UserError
from prover.lean.runtime import find_runtime
from prover.lean.server import Limits
from prover.lean.theorem import Theorem
from prover.models.base import Suggestion
from prover.solve.ledger import Attempt, Ledger
from rl import candidate as c
from rl import evaluation_results as e
from rl.algorithms.tactic_ranking import train_ranker
from rl.config import ProverConfig
from rl.evaluation import Evaluation
from rl.metrics.intervals import wilson_over_seeds
from tests.cli.conftest import in_folder, turnstile, warm_lean

__all__ = ["turnstile", "warm_lean"]

THEOREMS = """
theorem swap (p q : Prop) (h : p ∧ q) : q ∧ p := by sorry
theorem add_zero' (n : Nat) : n + 0 = n := by sorry
theorem wrong (n : Nat) : n = n + 1 := by sorry
theorem ex : ∃ n : Nat, n = 2 := by sorry
theorem unknown (n : Nat) : Nope n := by sorry
"""
SET = """
name = "five"
title = "Three that are true, one that is false, one that does not elaborate"
kind = "lean"
files = ["Five.lean"]
lean = "4.28.0"
licence = "Apache-2.0"
"""


def make_checkpoint(folder: Path, seed: int = 0) -> Path:
    """A run with a checkpoint of a barely trained model, its configuration, ranker and ledger."""
    from prover.models.prompt import PromptConfig
    from prover.models.tokenizer import train_tokenizer
    from prover.models.transformer import new_model, save_folder
    from rl.examples import PolicyExample, ValueExample
    from rl.learner.small_model import SMALL, small_learner
    from rl.learner.supervised import train

    goals = {"n : Nat\n⊢ n + 0 = n": "simp", "p q : Prop\nh : p ∧ q\n⊢ q ∧ p": "simp_all", "⊢ ∃ n, n = 2": "simp"}
    tokenizer = train_tokenizer([*goals, *goals.values()] * 3, 512)
    model = new_model(len(tokenizer), 48, 2, 4, 96, positions=512, seed=seed)
    prompt = PromptConfig(max_prompt=88, max_premises=4, premise_tokens=6)
    learner = small_learner(model, tokenizer, prompt, replace(SMALL, threads=1, seed=seed))
    examples = [PolicyExample(g, t) for g, t in goals.items()] + [ValueExample(g, 0) for g in goals]
    train(learner, examples, steps=60)
    target = folder / "checkpoints/000001"
    save_folder(target, learner.model, tokenizer, {"version": 1, "prompt": asdict(prompt)})
    ledger = Ledger(folder / "ledger.sqlite")
    ledger.set("learned 1", {"version": 1})
    tried = [
        {"state": g, "constants": [], "premises": [], "worked": [t], "tried": ["rfl", "simp", "simp_all"]}
        for g, t in goals.items()
    ]
    ranker, _ = train_ranker(tried, {})
    assert ranker is not None
    (folder / "rankers").mkdir()
    ranker.save(folder / "rankers/000001.npz")
    ledger.record(Attempt("round 1", Theorem("swap", ": True"), "proved", 1, 1, 0.0, "trivial"))
    ledger.close()
    return target


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("eval")
    (folder / "Five.lean").write_text(THEOREMS, encoding="utf-8")
    (folder / "five.toml").write_text(SET, encoding="utf-8")
    make_checkpoint(folder / "runs/one")
    return folder


def env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


CHECKPOINT = ("runs/one", "five.toml", "--budget", "6", "--seeds", "2", "--processes", "1")


KILLED = """
import os, signal, sys
from prover.cli import main
from prover.solve.ledger import Ledger

record, left = Ledger.record, 3

def last(self, *args):
    global left
    record(self, *args)
    left -= 1
    if not left:
        os.killpg(0, signal.SIGKILL)

Ledger.record = last
main(sys.argv[1:])
"""
"""The command line, which kills its process group when it has recorded so much."""


@pytest.fixture(scope="module")
def figures(place) -> dict:
    """A checkpoint over two seeds, killed (-9) with its third record and started again."""
    killed = [sys.executable, "-c", KILLED, "eval", *CHECKPOINT]
    with (place / "log").open("w") as log:
        process = subprocess.run(killed, cwd=place, env=env(), stdout=log, stderr=log, start_new_session=True)
    assert process.returncode == -signal.SIGKILL, (place / "log").read_text()[-2000:]
    ledger = Ledger.open(place / "runs/one", readonly=True)
    before = evaluated(ledger)
    assert 1 <= len(before) < 10
    done = in_folder(place, "eval", *CHECKPOINT, "--json")
    assert done.code == 1, done.err[-2000:]
    assert evaluated(ledger)[: len(before)] == before, "a recorded attempt changed or was made again"
    assert len(evaluated(ledger)) == 10
    return done.document


@pytest.mark.lean
def test_a_set_may_ask_for_fresh_names(place, turnstile, monkeypatch):
    (place / "fresh.toml").write_text(SET + "fresh_names = true\nlimit = 2\n", encoding="utf-8")
    monkeypatch.chdir(place)
    options = ("--budget", 2, "--limit", 2, "--processes", 1, "--json", "--run", "runs/fresh")
    done = turnstile("eval", "runs/one", "fresh.toml", *options)
    assert done.code == 1, done.err[-2000:]
    assert done.document["test"]["wrapper"] == "fresh names"


@pytest.mark.lean
def test_a_run_is_evaluated_on_a_data_set_of_ones_own(place, turnstile, monkeypatch):
    rows = [{"name": "zero", "statement": "(n : Nat) : n + 0 = n"}, {"name": "one", "statement": ": 1 = 2"}]
    (place / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(place)
    done = turnstile("eval", "runs/one", "mine.jsonl", "--budget", 4, "--processes", 1, "--json", "--run", "runs/data")
    assert done.code == 1, done.err[-2000:]
    assert (done.document["test"]["set"], done.document["test"]["count"]) == ("mine", 2)
    assert done.document["all"]["rate"] == 0.5


def evaluated(ledger: Ledger) -> list[Attempt]:
    return [a for a in ledger.attempts() if a.phase.startswith("eval")]


@pytest.mark.lean
def test_a_checkpoint_is_measured_to_the_end_with_every_proof_audited(place, figures):
    attempts = evaluated(Ledger.open(place / "runs/one", readonly=True))
    outcomes = {a.theorem.name: a.outcome for a in attempts}
    assert outcomes["add_zero'"] == outcomes["swap"] == "proved"
    assert outcomes["wrong"] in ("budget", "exhausted") and outcomes["unknown"] == "error"
    assert all("open:" in a.reason for a in attempts if a.theorem.name == "unknown")
    for a in attempts:
        assert a.lean_calls <= 6 and a.lean
        assert (a.outcome == "proved") == (a.script is not None and a.calls_to_solve is not None)
    assert {a.model_version for a in attempts if a.outcome != "error"} == {1}
    assert any(a.stats.get("entropy") for a in attempts)


@pytest.mark.lean
def test_the_figures_are_those_of_the_ledger(place, figures):
    attempts = evaluated(Ledger.open(place / "runs/one", readonly=True))
    names = [t.split()[1] for t in THEOREMS.strip().splitlines()]
    solved = [sum(a.outcome == "proved" for a in attempts if a.theorem.name == n) for n in names]
    assert figures["all"]["rate"] == pytest.approx(sum(solved) / 10)
    assert (figures["all"]["low"], figures["all"]["high"]) == pytest.approx(wilson_over_seeds(solved, 2))
    assert sum(figures["all"]["outcomes"].values()) == 10 and figures["all"]["seeds"] == 2
    rates = [c["rate"] for c in figures["all"]["curve"].values()]
    assert rates == sorted(rates) and list(figures["all"]["curve"]) == ["1", "2", "4", "6"]
    assert figures["prover"]["ranker"].endswith("rankers/000001.npz"), "the run's ranker is part of the prover"


@pytest.mark.lean
def test_a_finished_evaluation_is_not_repeated_and_is_compared_with_others(place, figures, turnstile, monkeypatch):
    monkeypatch.chdir(place)
    ledger = Ledger.open(place / "runs/one", readonly=True)
    before = evaluated(ledger)
    explorer = ("eval", "explorer", "five.toml", "--run", "runs/other", "--processes", 1)
    other = turnstile(*explorer, "--budget", 6, "--json")
    assert other.code == 1, other.err[-2000:]
    done = turnstile("eval", *CHECKPOINT, "--beside", "runs/other")
    assert done.code == 1 and evaluated(ledger) == before
    rows = [r for r in done.out.splitlines() if "(of 5" in r]
    assert len(rows) == 2 and "one/checkpoints/000001 (of 5, 2 seeds)" in rows[0] and "explorer (of 5)" in rows[1]
    assert f"{100 * figures['all']['rate']:.1f} [" in rows[0]
    assert "the checkpoint's run used 1 of these theorems for training" in done.err
    # Another budget is another test: not in one table with these.
    less = turnstile(*explorer, "--budget", 2)
    assert [r.count("[") for r in less.out.splitlines() if "(of 5" in r] == [2]


class Scripted:
    """Counts the queries and answers for the model."""

    def __init__(self, policy) -> None:
        self.policy, self.version, self.asked = policy, policy.version, 0

    def suggest(self, queries, n):
        self.asked += len(queries)
        assert all(isinstance(row, list) for row in self.policy.suggest(queries, n))
        return [[Suggestion("exact ⟨h.2, h.1⟩", -0.1, "model")] for _ in queries]


@pytest.mark.lean
def test_a_policy_without_a_value(place, tmp_path):
    theorem = Theorem("swap", "(p q : Prop) (h : p ∧ q) : q ∧ p")
    prover = replace(c.candidate(str(place / "runs/one")), config=ProverConfig(eval_explorer_weight=0.0))
    limits = Limits(heartbeats=4000)
    plain = e.make_test("one", [theorem], 3, limits, find_runtime().name)
    test = e.make_test("one", [theorem], 3, limits, find_runtime().name, "scripted")
    assert e.key_of(test, prover) != e.key_of(plain, prover)
    ledger, policy = Ledger(tmp_path / "ledger.sqlite"), Scripted(c.load(prover))
    found = Evaluation(prover, test, [theorem], ledger, [0], 1, loaded=policy).run()
    (attempt,) = ledger.attempts()
    assert attempt.script == "exact ⟨h.2, h.1⟩" and found["all"]["rate"] == 1
    assert policy.asked >= 1
    assert "values" not in attempt.stats  # the policy has no `evaluate`


def test_result_keys_change_with_what_results_depend_on(place):
    theorems = [Theorem("a", ": True"), Theorem("b", ": 1 = 1")]
    prover = c.candidate("explorer")

    def key(theorems=theorems, calls=8, heartbeats=4000, prover=prover):
        return e.key_of(e.make_test("x", theorems, calls, Limits(heartbeats=heartbeats), "Lean"), prover)

    assert key() == key(theorems[::-1]) == key(prover=replace(prover, name="explorer"))
    changed = [
        key([theorems[0], Theorem("b", ": 2 = 2")]),
        key(calls=9),
        key(heartbeats=8000),
        key(prover=c.candidate("portfolio")),
        key(prover=c.candidate(str(place / "runs/one"))),
        key(prover=replace(prover, config=ProverConfig(suggestions=3))),
    ]
    assert len({key(), *changed}) == 7
    moved = replace(c.candidate(str(place / "runs/one")), checkpoint="elsewhere", name="elsewhere")
    assert key(prover=moved) == changed[4], "where a checkpoint lies does not matter"
    assert key(prover=replace(moved, template="names")) != changed[4]


def test_a_moved_run_keeps_its_results_and_another_ranker_does_not(place, tmp_path):
    test = e.make_test("x", [Theorem("a", ": True")], 8, Limits(), "Lean")
    key = e.key_of(test, c.candidate(str(place / "runs/one")))
    run = tmp_path / "elsewhere/two"
    shutil.copytree(place / "runs/one", run)
    moved = c.candidate(str(run))
    assert moved.ranker == str((run / "rankers/000001.npz").resolve()) and e.key_of(test, moved) == key
    retriever = run / "retrievers/000001.npz"
    retriever.parent.mkdir()
    keys = {key}
    for content in (b"one", b"other"):
        retriever.write_bytes(content)
        keys.add(e.key_of(test, c.candidate(str(run))))
    retriever.unlink()
    Path(moved.ranker).write_bytes(b"another one under the same name")
    assert len({*keys, e.key_of(test, moved)}) == 4


def test_seeds_that_are_not_complete_are_no_result(tmp_path):
    theorems = [Theorem("a", ": True"), Theorem("b", ": 1 = 1")]
    prover, test = c.candidate("explorer"), e.make_test("x", theorems, 4, Limits(), "Lean")
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.set(f"eval {e.key_of(test, prover)}", {"test": asdict(test), "prover": {"name": "explorer"}})
    for seed, rows in ((0, "ab"), (1, "a")):
        for name in rows:
            solved = name == "a"
            ledger.record(
                Attempt(
                    e.phase_of(test, prover, seed),
                    theorems["ab".index(name)],
                    "proved" if solved else "budget",
                    4,
                    3 if solved else None,
                    0.1,
                    "x" if solved else None,
                )
            )
    (result,) = e.results(ledger)
    assert result["all"]["seeds"] == 1 and result["all"]["rate"] == 0.5 and result["all"]["spread"] is None
    assert [result["all"]["curve"][b]["rate"] for b in ("1", "2", "4")] == [0, 0, 0.5]
    with pytest.raises(ValueError, match="1 of 2 theorems"):
        e.summary(ledger, test, prover, [0, 1])


def test_two_theorems_of_one_name_are_refused():
    with pytest.raises(UserError, match="the same name"):
        e.make_test("x", [Theorem("a", ": True"), Theorem("a", ": 1 = 1")], 4, Limits(), "Lean")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nowhere", "five.toml"), "nowhere: no checkpoint in it"),
        (("explorer", "no-such-set"), "no set 'no-such-set'"),
        (("explorer", "nowhere.toml"), "nowhere.toml"),
        (("explorer", "nowhere.jsonl"), "nowhere.jsonl: no such file"),
        (("explorer", "five.toml", "--budget", "0"), "--budget must be at least 1"),
        (("explorer", "five.toml", "--seeds", "0"), "--seeds must be at least 1"),
        (("explorer", "five.toml", "--limit", "-1"), "--limit must be at least 1"),
        (("explorer", "five.toml", "--run", "five.toml"), "name a run folder with --run"),
        (("explorer", "five.toml", "--beside", "nowhere"), "no ledger here"),
        (("broken", "five.toml", "--run", "runs/broken"), "model"),
        (("torn", "five.toml", "--run", "runs/torn"), "torn/turnstile.json: cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(place, turnstile, tmp_path, monkeypatch, args, message):
    for name in ("five.toml", "Five.lean"):
        (tmp_path / name).write_text((place / name).read_text(encoding="utf-8"), encoding="utf-8")
    for folder, settings in (("broken", "{}"), ("torn", '{"version": 1, ')):
        (tmp_path / folder).mkdir()
        for name in ("model.safetensors", "config.json", "tokenizer.json"):
            (tmp_path / folder / name).write_text("{}")
        (tmp_path / folder / "turnstile.json").write_text(settings)
    monkeypatch.chdir(tmp_path)
    done = turnstile("eval", *args)
    assert done.code == 2, done.err[-1000:]
    last = done.err.strip().splitlines()
    assert message in last[-1] and len(last) == 1 and done.out == ""
    assert not list(tmp_path.glob("runs/*/ledger.sqlite*"))
