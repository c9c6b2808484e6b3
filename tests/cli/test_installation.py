"""An installation without its dependencies, stages by name, and what goes into a wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from prover.commands import doctor
from prover.errors import UserError
from rl import config

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def bare(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `turnstile` in a Python that has this project and none of its dependencies."""
    info = tmp_path / "turnstile_prover-0.1.0.dist-info"
    info.mkdir()
    needs = "".join(f"Requires-Dist: {line}\n" for line in [*PROJECT["dependencies"], 'pytest==9; extra == "test"'])
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: turnstile-prover\nVersion: 0.1.0\n{needs}")
    points = "\n".join(f"{name} = {target}" for name, target in PROJECT["entry-points"]["turnstile.commands"].items())
    (info / "entry_points.txt").write_text(f"[turnstile.commands]\n{points}\n")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; from prover.cli import main; main(sys.argv[1:])"

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "TURNSTILE_CACHE": str(tmp_path / "cache")}
        # -I -S: without site-packages, PYTHONPATH and the current folder.
        command = [sys.executable, "-I", "-S", "-c", code, *args]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=500)

    return run


def test_doctor_names_every_missing_package(bare: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = bare("doctor", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 2 and not document["ok"] and done.stderr == ""
    checks = {c["name"]: c for c in document["checks"]}
    for line in PROJECT["dependencies"]:
        name = line.split("==")[0].split(">=")[0]
        assert not checks[name]["ok"] and checks[name]["todo"].startswith(f"pip install '{name}")
    assert "pytest" not in checks
    assert checks["Lean"]["found"].startswith("not checked: it needs the Python module ")
    assert checks["Python"]["ok"] and checks["cores"]["ok"]
    table = bare("doctor")
    assert table.returncode == 2 and "missing  msgspec" in table.stdout and "Traceback" not in table.stderr


@pytest.mark.parametrize("command", ["prove", "verify", "train", "sets", "report", "eval"])
def test_other_commands_say_what_is_missing(
    bare: Callable[..., subprocess.CompletedProcess[str]], command: str
) -> None:
    done = bare(command, "x")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "is not installed: run `turnstile doctor`" in done.stderr
    assert bare("--help").returncode == 0 and command in bare("--help").stdout


def test_the_command_that_installs_lean_is_for_this_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Outside of an activated environment, `python` is another one or none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.install_command() == f"{sys.executable} -m prover.lean.setup"
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert doctor.install_command() == f"{Path(sys.executable).name} -m prover.lean.setup"


def test_a_check_that_fails_is_a_line_of_the_report(monkeypatch: pytest.MonkeyPatch, turnstile: Callable) -> None:
    def broken() -> list[doctor.Check]:
        raise PermissionError(13, "Permission denied", "/proc/meminfo")

    monkeypatch.setattr(doctor, "_memory", broken)
    checks = {c["name"]: c for c in turnstile("doctor", "--json").document["checks"]}
    assert not checks["memory"]["ok"] and "PermissionError" in checks["memory"]["found"]
    assert checks["cores"]["ok"]


def test_a_stage_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turnstile: Callable) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.load(Path("library")) == config.load(ROOT / "curricula/stages/library.toml")
    with pytest.raises(UserError, match="no such file or stage; the stages are ablation, .*library"):
        config.load(Path("liberry"))
    assert turnstile("train", "library", "--dry-run").code == 0
    Path("library").write_text('name = "mine"\n')  # a file of that name comes first
    assert config.load(Path("library")).name == "mine"


def test_worlds_are_no_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rl.commands.train import configuration

    monkeypatch.chdir(tmp_path)
    Path("mine.jsonl").touch()
    chosen = configuration(None, ('theorems.files=["world:logic?count=9", "mine.jsonl"]',), None, None)
    assert chosen.theorems.files == ("world:logic?count=9", str(tmp_path / "mine.jsonl"))


@pytest.mark.slow
def test_a_wheel_in_a_fresh_environment(tmp_path: Path) -> None:
    """Builds the wheel, for which pip fetches hatchling, and installs it without its dependencies."""
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("turnstile_prover-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for folder in ("turnstile", "prover", "rl", "curricula"):
        assert [name for name in tracked if name.startswith(f"{folder}/") and name not in names] == []
    assert "prover/_lean_project/Turnstile/Main.lean" in names
    venv.create(tmp_path / "fresh", with_pip=True)
    fresh = tmp_path / "fresh/bin"
    subprocess.run([fresh / "pip", "install", "--quiet", "--no-deps", wheel], check=True)

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run([fresh / args[0], *args[1:]], cwd=tmp_path, env=clean, capture_output=True, text=True)

    assert run("turnstile", "--version").stdout == f"turnstile {PROJECT['version']}\n"
    assert run("python", "-m", "turnstile", "doctor").returncode == 2
    assert "missing  msgspec" in run("turnstile", "doctor").stdout
    assert "'prove'" in run("python", "-c", "import turnstile; print(turnstile.__all__)").stdout
