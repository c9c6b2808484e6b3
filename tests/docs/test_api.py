"""The examples of docs/api.md run in order on real Lean, and `turnstile` exports what the page names."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import turnstile
from tests.docs.test_extending import BLOCK

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/api.md"


def run(code: str, folder: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    # Without what a wandb of this process left (see tests/rl/test_training.py).
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    env |= {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=timeout)


@pytest.mark.lean
@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_examples_run(tmp_path: Path) -> None:
    blocks = BLOCK.findall(PAGE.read_text())
    for _, title, text in blocks:
        if title:
            (tmp_path / title).write_text(text)
    code = "\n".join(text for language, title, text in blocks if language == "python" and not title)
    assert code.count("assert ") >= 7
    done = run(code, tmp_path, 1500)
    assert done.returncode == 0, done.stderr[-3000:]
    filled = done.stdout.partition("theorem swap")[2]
    assert "add_zero_right" in filled and "sorry" not in filled
    assert (tmp_path / "search.html").stat().st_size > 1000
    assert (tmp_path / "runs/mine/summary.json").exists()


def test_the_page_documents_every_function() -> None:
    named = re.findall(r"^::: turnstile\.api\.(\w+)$", PAGE.read_text(), re.MULTILINE)
    functions = [name for name in turnstile.__all__ if name.islower()]
    assert sorted(named) == functions
    assert all(getattr(turnstile, name).__doc__ for name in turnstile.__all__)


def test_importing_is_cheap(tmp_path: Path) -> None:
    code = "import sys, turnstile; print(sorted({'torch', 'ray', 'prover', 'rl', 'curricula'} & set(sys.modules)))"
    assert run(code, tmp_path, 60).stdout == "[]\n"


def test_bad_input_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    theorem = turnstile.Theorem("t", ": True")
    for wrong in (
        lambda: turnstile.prove("none.lean"),
        lambda: turnstile.prove([theorem], budget=0),
        lambda: turnstile.prove([theorem], in_place=True),
        lambda: turnstile.verify("none.lean"),
        lambda: turnstile.verify(theorem),
        lambda: turnstile.search(theorem, "nothing"),
        lambda: turnstile.theorems("nothing"),
        lambda: turnstile.train("nothing"),
        lambda: turnstile.train(settings={"learn.nothing": 1}),
        lambda: turnstile.train("demonstration", resume="runs/x"),
        lambda: turnstile.evaluate("nothing", "turnstile-basics"),
        lambda: turnstile.evaluate("portfolio", "turnstile-basics", budget=0),
    ):
        with pytest.raises(turnstile.UserError) as raised:
            wrong()
        assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_works_where_an_event_loop_runs(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"name": "t", "statement": ": True"}\n')

    async def notebook() -> list[str]:
        with pytest.raises(turnstile.UserError):
            turnstile.verify(str(tmp_path / "none.lean"))
        return [t.name for t in turnstile.theorems(path)]

    assert asyncio.run(notebook()) == ["t"]
