"""The code of docs/extending.md runs, and a package made of its files extends the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from prover.search import RULES
from rl.rewards import REWARDS

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
    registries = [(registry, dict(registry)) for registry in (RULES, REWARDS)]
    code = [text for language, _, text in blocks() if language == "python"]
    assert len(code) >= 8
    space: dict[str, object] = {"__name__": "extending"}
    try:
        for text in code:
            exec(compile(text, "docs/extending.md", "exec", dont_inherit=True), space)
    finally:
        for registry, before in registries:
            registry.clear()
            registry.update(before)


def test_an_installed_package_adds_a_command_and_a_theorem_source(files: Path) -> None:
    groups = tomllib.loads((files / "pyproject.toml").read_text())["project"]["entry-points"]
    lines = [line for g, points in groups.items() for line in (f"[{g}]", *(f"{k} = {v}" for k, v in points.items()))]
    (files / "my_package-1.0.dist-info").mkdir()
    (files / "my_package-1.0.dist-info/entry_points.txt").write_text("\n".join(lines) + "\n")
    (files / "my_package-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")

    def python(*args: str) -> str:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(files), str(ROOT)])}
        return subprocess.run(
            [sys.executable, *args], cwd=files, env=env, capture_output=True, text=True, check=True
        ).stdout

    assert python("-m", "prover.cli", "hello", "--name", "Rocq") == "hello, Rocq\n"
    assert "hello    Greet somebody." in python("-m", "prover.cli", "--help")
    code = "from prover.plugins import load; print(load('turnstile.theorems', 'sums')('2', None)[1].statement)"
    assert python("-c", code) == ": (List.range 2).sum = 1\n"
