"""The code of docs/extending.md runs, and a package made of its files extends the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from prover.search import RULES
from prover.solve.ledger import Ledger
from rl.rewards import REWARDS
from tests.rl.test_training import TINY

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with every titled block of the page."""
    for _, title, code in blocks():
        if title:
            (tmp_path / title).parent.mkdir(exist_ok=True)
            (tmp_path / title).write_text(code)
    return tmp_path


def blocks() -> list[tuple[str, str, str]]:
    """(language, title, code) of each fenced block."""
    return BLOCK.findall((ROOT / "docs/extending.md").read_text())


def test_code_runs(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    monkeypatch.syspath_prepend(str(files))
    registries = [(registry, dict(registry)) for registry in (RULES, REWARDS)]
    code = [text for language, title, text in blocks() if language == "python" and not title]
    assert len(code) >= 7
    space: dict[str, object] = {"__name__": "extending"}
    try:
        for text in code:
            exec(compile(text, "docs/extending.md", "exec", dont_inherit=True), space)
        for title in {title for language, title, _ in blocks() if language == "python" and title}:
            exec(compile((files / title).read_text(), title, "exec", dont_inherit=True), {"__name__": title})
    finally:
        for registry, before in registries:
            registry.clear()
            registry.update(before)


@pytest.fixture
def installed(files: Path) -> Path:
    """The folder as an installed package, for processes that have it on their path."""
    groups = tomllib.loads((files / "pyproject.toml").read_text())["project"]["entry-points"]
    lines = [line for g, points in groups.items() for line in (f"[{g}]", *(f"{k} = {v}" for k, v in points.items()))]
    (files / "my_package-1.0.dist-info").mkdir()
    (files / "my_package-1.0.dist-info/entry_points.txt").write_text("\n".join(lines) + "\n")
    (files / "my_package-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    return files


def python(files: Path, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    env["PYTHONPATH"] = os.pathsep.join([str(files), str(ROOT)])
    done = subprocess.run([sys.executable, *args], cwd=files, env=env, capture_output=True, text=True)
    assert done.returncode == code, done.stderr[-3000:]
    return done


def test_an_installed_package_adds_a_command_and_a_theorem_source(installed: Path) -> None:
    assert python(installed, "-m", "prover.cli", "hello", "--name", "Rocq").stdout == "hello, Rocq\n"
    assert "hello      Greet somebody." in python(installed, "-m", "prover.cli", "--help").stdout
    code = "from prover.plugins import load; print(load('turnstile.theorems', 'sums')('2', None)[1].statement)"
    assert python(installed, "-c", code).stdout == ": (List.range 2).sum = 1\n"


SETTINGS = ("learn.algorithm=best_tactic_only", "prover.rule=depth_first", "rewards.tiny=[0.2]")


MANY = """
import sys
from prover.cli import main

for setting in sys.argv[1:]:
    try:
        main(["train", "--dry-run", "--set", setting])
    except SystemExit as end:
        print(end.code)
"""


def test_names_that_no_package_adds_are_refused_with_the_known_ones(installed: Path) -> None:
    known = {
        "learn.algorithm=best": "expert_iteration, dpo, grpo",
        "prover.rule=depth": "puct, best_first",
        "rewards.small=[0.2]": "proved, shorter",
    }
    done = python(installed, "-c", MANY, *known)
    assert done.stdout.split() == ["2", "2", "2"]
    for (setting, names), said in zip(known.items(), done.stderr.splitlines(), strict=True):
        added = setting.split("=")[0].split(".")[-1]
        assert names in said, (added, done.stderr)
        for name in ("best_tactic_only", "depth_first", "tiny"):
            assert (name in said) == (
                name in {"algorithm": "best_tactic_only", "rule": "depth_first"}.get(added, "tiny")
            )


@pytest.mark.lean
def test_a_rule_of_an_installed_package_searches_in_prove(installed: Path) -> None:
    statement = ("-m", "prover.cli", "prove", "--statement", "(p q : Prop) (h : p ∧ q) : q ∧ p")
    done = python(installed, *statement, "--rule", "depth_first", "--policy", "explorer", "--json")
    assert '"proved": 1' in done.stdout
    refused = python(installed, *statement, "--rule", "depth", code=2)
    assert "unknown rule 'depth'" in refused.stderr and "depth_first" in refused.stderr


WITNESS = """
plain = best_tactic_only


def best_tactic_only(rows, round):
    found = list(plain(rows, round))
    open("used", "a").write(f"{round} {len(found)}\\n")
    return found
"""


@pytest.mark.lean
@pytest.mark.ray
def test_a_run_uses_the_rule_reward_and_algorithm_of_an_installed_package(installed: Path) -> None:
    (installed / "tiny.toml").write_text(TINY)
    with (installed / "my_package/best_tactic.py").open("a") as file:
        file.write(WITNESS)
    settings = (*SETTINGS, "eval.baselines=false")
    done = python(installed, "-m", "prover.cli", "train", "tiny.toml", "--json", "--set", *settings)
    assert json.loads(done.stdout)["trained"]["total"] == 3, "standard output has the summary alone"
    ledger = Ledger.open(installed / "runs/tiny", readonly=True)
    assert ledger.learned() == 2
    tiny = {a.stats["rewards"]["tiny"] for a in ledger.attempts("round 2") if a.outcome == "proved"}
    assert tiny <= {0.0, 1.0} and 1.0 in tiny
    pairs = {phase: value for phase, name, value, _ in ledger.measurements() if name == "pairs"}
    assert (installed / "used").read_text() == f"2 {pairs['round 2']:.0f}\n", "the second round learned what it yielded"
