"""A small run on real Ray and real Lean: it learns, goes on after it was killed, and refuses bad input."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curricula.library import split_of
from prover.errors import UserError
from prover.solve.ledger import Ledger
from rl.metrics import compute
from tests.cli.conftest import turnstile
from tests.rl import wandb_files

__all__ = ["turnstile"]

pytestmark = [pytest.mark.lean, pytest.mark.ray, pytest.mark.timeout(1800)]

# Passes bound the learning, so that every machine learns the same.
TINY = """
name = "tiny"
[theorems]
modules = ["Init.Data.Option.Lemmas"]
per_module = 6
held_out_per_module = 3
[prover]
provers = 1
concurrent = 3
[model]
hidden = 48
layers = 2
heads = 4
intermediate = 96
vocabulary = 512
[learn]
rounds = 2
first_calls = 16
calls = 8
harvest = 4
seconds = 20.0
max_epochs = 6.0
ranker_seconds = 1.0
threads = 1
[eval]
calls = 8
"""
LARGER = (
    TINY.replace("\nper_module = 6", "\nper_module = 10")
    .replace("first_calls = 16", "first_calls = 24")
    .replace("max_epochs = 6.0", "max_epochs = 16.0")
)
"""A run of a model that learns enough to give several tactics."""


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "prover.cli", *args]


def train(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command("train", *args), cwd=folder, text=True, capture_output=True, env=env())


def env() -> dict[str, str]:
    # Without what a wandb of this process left: a run of its own has a wandb service of its own, that dies with it.
    clean = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    return {**clean, "PYTHONPATH": str(Path(__file__).parents[2]), "RAY_USAGE_STATS_ENABLED": "0"}


def until(folder: Path, attempts: int, *args: str, before: int = 0) -> subprocess.Popen[str]:
    """A started run that has recorded so many attempts of its first round, and one of its own: a resumed run finds earlier ones,
    and Ray handles signals while it starts."""
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        command("train", *args), cwd=folder, env=env(), stdout=log, stderr=log, start_new_session=True, text=True
    )
    ledger = folder / "runs/tiny/ledger.sqlite"
    while process.poll() is None:
        try:
            first = len(Ledger.open(ledger, readonly=True).done("round 1")) if ledger.exists() else 0
            if first >= attempts and len(recorded(folder)) > before:
                break
        except UserError:
            pass  # being made just now
        time.sleep(0.3)
    assert process.poll() is None, (folder / "log").read_text()[-2000:]
    return process


def recorded(folder: Path) -> dict[tuple[str, str], object]:
    return {(a.phase, a.theorem.name): a for a in Ledger.open(folder / "runs/tiny", readonly=True).attempts()}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run whose driver was killed, which then ended by SIGTERM, and was resumed each time. test_kills.py kills all its
    processes."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "tiny.toml").write_text(TINY)
    process = until(folder, 2, "tiny.toml")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    seen = [recorded(folder)]
    assert len(seen[0]) >= 2
    process = until(folder, 4, "--resume", "runs/tiny", before=len(seen[0]))
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 130
    said = (folder / "log").read_text()
    assert "continue with: turnstile train --resume" in said and "***" not in said, said[-2000:]
    seen.append(recorded(folder))
    # In a process of its own, because wandb's service in this one may belong to an earlier run.
    done = train(folder, "--resume", "runs/tiny", "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["trained"]["total"] == 3
    after = recorded(folder)
    for earlier in seen:
        assert {k: after[k] for k in earlier} == earlier, "a recorded attempt changed or was made again"
    return folder / "runs/tiny"


def test_the_run_folder_is_complete(run):
    for name in ("config.toml", "summary.json", "proofs.lean", "ledger.sqlite"):
        assert (run / name).stat().st_size > 0, name
    assert list((run / "wandb").glob("offline-run-*/*.wandb")), "no wandb file"
    assert (run / "checkpoints/000002/model.safetensors").exists()


def test_a_theorem_is_harvested_once(run):
    """Examples are collected after the first proof of a theorem only; later ones would repeat them."""
    ledger = Ledger.open(run, readonly=True)
    proved = {r: {a.theorem.name: a for a in ledger.attempts(f"round {r}") if a.outcome == "proved"} for r in (1, 2)}
    tried: dict[tuple[int, str], int] = {}
    for row in ledger.example_rows("tried"):
        at = row.data["round"], row.theorem
        tried[at] = tried.get(at, 0) + len(row.data["tried"])
    again = set(proved[1]) & set(proved[2])
    assert again, "nothing was proved twice"
    assert any(a.stats.get("harvested") for a in proved[1].values())
    assert not any("harvested" in proved[2][n].stats for n in again)
    for r in (1, 2):  # and every tactic that was tried is counted as a Lean call
        assert all(tried.get((r, n), 0) <= a.lean_calls for n, a in proved[r].items())


def test_every_documented_metric_is_logged(run):
    """Except those of rollouts and of the assessor, which this run has not, and of the value, for which it may be too small."""
    logged = {name for moment in wandb_files.history(run) for name in moment}
    assert compute.undocumented(logged) == []
    shapes = {p: re.compile(re.sub(r"\\{.*?\\}", "[^/]+", re.escape(p))) for p in compute.METRICS}
    missing = {p for p, shape in shapes.items() if not any(map(shape.fullmatch, logged))}
    assert {p for p in missing if not p.startswith(("pass_at_k/", "value/", "assessor/"))} == set()
    assert "solve/held-out/all/rate" in logged and "learner/pairs" in logged
    page = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    explained = re.findall(r"`(\w+)`", page[page.index("## The learner's metrics") : page.index("## How to read")])
    learner = {name.removeprefix("learner/") for name in logged if name.startswith("learner/")}
    assert {n for n in learner if not n.startswith(("ranker_", "retriever_"))} <= set(explained)


def test_every_attempt_of_every_phase_is_there_once(run):
    ledger = Ledger.open(run, readonly=True)
    assert len(ledger.done("round 1")) == 6
    for policy in ("portfolio", "shuffled", "explorer", "model"):
        assert len(ledger.done(f"held-out {policy}")) == 3
    attempts = list(ledger.attempts())
    assert len({(a.phase, a.theorem.name) for a in attempts}) == len(attempts)
    assert all(a.lean for a in attempts)
    assert {a.outcome for a in attempts} <= {"proved", "exhausted", "budget", "rejected", "error"}


def test_nothing_held_out_was_learned_from(run):
    ledger = Ledger.open(run, readonly=True)
    sources = {row.theorem for kind in ("policy", "value") for row in ledger.example_rows(kind)}
    assert sources and {split_of(n) for n in sources} == {"train"}


def test_every_actor_has_a_log(run):
    logs = {p.name: p.read_text() for p in (run / "logs").glob("*.log")}
    assert {
        "driver.log",
        "auditor-0.log",
        "recorder.log",
        "learner-0.log",
        "model-server-0.log",
        "prover-0.log",
    } <= set(logs)
    assert "train on" in logs["driver.log"] and "is ready" in logs["prover-0.log"]
    assert "policy_loss" in logs["learner-0.log"]


def test_the_summary_agrees_with_the_ledger(run):
    summary = json.loads((run / "summary.json").read_text())
    ledger = Ledger.open(run, readonly=True)
    for label, policy in (
        ("portfolio", "portfolio"),
        ("shuffled", "shuffled"),
        ("explorer", "explorer"),
        ("trained", "model"),
    ):
        solved = [a for a in ledger.attempts(f"held-out {policy}") if a.outcome == "proved"]
        assert summary[label]["solved"] == len(solved)
        curve = list(summary[label]["curve"].values())
        assert curve == sorted(curve) and curve[-1] == len(solved)
        assert summary[label]["low"] <= len(solved) / 3 <= summary[label]["high"]
    assert summary["seconds"] > 0


def test_the_checkpoint_is_an_ordinary_hugging_face_folder(run):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = run / "checkpoints/000002"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("⊢ True", return_tensors="pt").input_ids
    assert model(ids).logits.shape[:2] == ids.shape


def test_a_round_is_announced_once(run):
    moments = wandb_files.history(run)
    assert [m["round"] for m in moments if "cost/lean_calls" in m] == [1, 2], "however often the run was ended"
    # One curve for each searcher: the baselines from round 0 to the end, and the trained prover at the end.
    for searcher in ("portfolio", "shuffled", "explorer"):
        assert [m["round"] for m in moments if f"held_out/{searcher}" in m] == [0, 2]
        by_calls = [m[compute.BY_CALLS] for m in moments if f"held_out_by_calls/{searcher}" in m]
        assert by_calls == [1, 2, 4, 8]
    assert [m["round"] for m in moments if "held_out/trained" in m] == [2]
    steps = [r["item"]["_step"] for r in wandb_files.records(run, "history")]
    assert steps == list(range(len(steps))), "the steps of a resumed run continue"
    axes = [(m["round"], m["seconds"], m["lean_calls"]) for m in moments]
    assert [a[1] for a in axes] == sorted(a[1] for a in axes) and axes[0][2] == 0 < axes[-1][2]


def test_a_run_without_its_checkpoints_does_not_start_over(run, turnstile, local_ray, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "runs/tiny")
    shutil.rmtree(tmp_path / "runs/tiny/checkpoints/000002")
    monkeypatch.chdir(tmp_path)
    done = turnstile("train", "--resume", "runs/tiny")
    assert done.code == 2 and "has trained 2 rounds" in done.err and "is of round 1" in done.err, done.err[-2000:]
    assert recorded(tmp_path) == recorded(run.parent.parent)


def test_rounds_are_added_to_a_finished_run(run, turnstile, local_ray, tmp_path, monkeypatch):
    """First resumed with other settings and without its cluster, which is refused."""
    shutil.copytree(run, tmp_path / "runs/tiny")
    monkeypatch.chdir(tmp_path)
    refused = turnstile("train", "--resume", "runs/tiny", "--set", "learn.rounds=3", "learn.calls=9")
    assert refused.code == 2 and "learn.calls=9: cannot change" in refused.err, refused.err
    saved = tmp_path / "runs/tiny/config.toml"
    with socket.socket() as s:  # a port on which nothing answers, and one on which something else does
        s.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{s.getsockname()[1]}"
        saved.write_text(re.sub(r'^address = ".*"', f'address = "{address}"', saved.read_text(), flags=re.MULTILINE))
        for listening, said in ((False, "no cluster answers ("), (True, "no cluster answers within 2 s")):
            if listening:
                s.listen()
                monkeypatch.setattr("prover.solve.ray_start.JOINS_WITHIN_S", 2.0)
            refused = turnstile("train", "--resume", "runs/tiny")
            assert refused.code == 2 and len(refused.err.splitlines()) == 1, refused.err
            assert f"ray.address {address}: {said}" in refused.err
    assert recorded(tmp_path) == recorded(run.parent.parent)
    # The time limit holds from the second round on.
    more = ("train", "--resume", "runs/tiny", "--json", "--set", "learn.rounds=3", 'ray.address=""')
    assert turnstile(*more, "max_minutes=0.01").code == 0
    assert "round 3 skipped: the time limit max_minutes" in (tmp_path / "runs/tiny/logs/driver.log").read_text()
    assert recorded(tmp_path) == recorded(run.parent.parent)
    done = turnstile(*more, "max_minutes=60.0", "prover.concurrent=2")
    assert done.code == 0, done.err[-3000:]
    ledger = Ledger.open(tmp_path / "runs/tiny", readonly=True)
    assert ledger.learned() == 3 and (tmp_path / "runs/tiny/checkpoints/000003").exists()
    assert ledger.get("changes") == [
        "max_minutes: 60.0 → 0.01",
        "learn.rounds: 2 → 3",
        f"ray.address: {address} → ",
        "max_minutes: 0.01 → 60.0",
        "prover.concurrent: 3 → 2",
    ]
    assert "rounds = 3\n" in saved.read_text()
    # The new model is measured, and what was measured of the earlier one is kept.
    assert {a.model_version for a in ledger.attempts("held-out model")} == {3}
    earlier = {a.theorem.name: a.outcome for a in ledger.attempts("held-out model of round 2")}
    assert earlier == {a.theorem.name: a.outcome for a in Ledger.open(run, readonly=True).attempts("held-out model")}
    assert len(ledger.done("held-out explorer")) == 3


def test_every_claimed_proof_passes_verify(run, turnstile):
    done = turnstile("verify", run, "--json")
    assert done.code == 0, done.err[-2000:] + done.out[-2000:]
    verdicts = done.lines
    ledger = Ledger.open(run, readonly=True)
    assert len(verdicts) == len(list(ledger.claims())) >= len(list(ledger.proofs())) > 0
    assert {v["verdict"] for v in verdicts} == {"proved"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nowhere.toml",), "nowhere.toml"),
        (("--resume", "nowhere"), "no run here"),
        (("--set", "learn.rouns=1"), "unknown setting 'rouns'"),
        (("--set", 'theorems.modules=["Init.Data.Nope"]'), "Init.Data.Nope"),
        (("--set", 'theorems.files=["none.jsonl"]'), "none.jsonl"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(turnstile, tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    done = turnstile("train", *args)
    assert done.code == 2
    assert message in done.err and len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_run_of_another_version_is_refused(turnstile, tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    Ledger(folder / "ledger.sqlite").set("format", 999)
    done = turnstile("train", "--resume", folder)
    assert done.code == 2 and "format 999 is not supported" in done.err
