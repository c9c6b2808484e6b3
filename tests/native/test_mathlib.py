"""`turnstile setup mathlib`, and the inputs that use what it made. elan and Lake are a stand-in (elan_stand_in.py): nothing is
downloaded, `Mathlib.olean` is empty, and the Lean behind the built server is the embedded one, which cannot import it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from prover.commands.doctor import mathlib
from prover.commands.setup import setup
from prover.errors import UserError
from prover.lean.mathlib import CHOSEN_VARIABLE, NEEDED_BYTES, projects, set_up, use_mathlib
from prover.lean.runtime import find_runtime
from prover.lean.toolchain import obey

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def outside(machine, monkeypatch):
    """The working folder is in no project, and what `use_mathlib` sets is undone."""
    (machine.folder / "outside").mkdir()
    monkeypatch.chdir(machine.folder / "outside")
    for variable in ("LEAN_PATH", CHOSEN_VARIABLE):
        monkeypatch.setenv(variable, "")


def lake_calls(machine) -> list[str]:
    """The arguments of Lake's calls, without those that only ask."""
    calls = [call.split(maxsplit=2)[2] for call in machine.calls if call.startswith("lake")]
    return [call for call in calls if not call.startswith("env")]


def test_the_first_set_up_installs_lean_and_makes_the_project(ready, capsys):
    ready.install("4.28.0", offered=True)
    assert setup("mathlib", lean="v4.28.0", json=True) == 0
    out, said = capsys.readouterr()
    folder = ready.folder / "cache" / "mathlib" / "4.28.0"
    document = json.loads(out)
    assert document.pop("server").startswith(str(ready.folder / "cache" / "native" / "4.28.0-"))
    assert document == {"lean": "4.28.0", "mathlib": "v4.28.0", "project": str(folder)}
    assert (folder / "lean-toolchain").read_text() == "leanprover/lean4:v4.28.0\n"
    assert 'rev = "v4.28.0"' in (folder / "lakefile.toml").read_text()
    assert "elan toolchain install leanprover/lean4:v4.28.0" in ready.calls
    assert lake_calls(ready) == ["update", "exe cache get", "build"]
    assert "installing Lean 4.28.0" in said and "info: mathlib: cloning" in said
    assert said.count("Downloaded") == 1, "one line for each tenth"
    (check,) = mathlib()
    assert check.ok and str(folder) in check.found


def test_a_set_up_continues_after_a_failure_and_is_recognised_when_finished(ready, capsys):
    name = ready.install("4.28.0", cache="fails")
    with pytest.raises(UserError) as error:
        set_up("4.28.0")
    log = ready.folder / "cache" / "mathlib" / "4.28.0" / "setup.log"
    assert str(error.value) == (
        f"`lake +{name} exe cache get` failed: error: leantar failed with error code 1; the same command continues (all of it: {log})"
    )
    (check,) = mathlib()
    assert not check.ok and not check.needed and "turnstile setup mathlib --lean 4.28.0" in check.todo
    assert use_mathlib(["Mathlib"]) is None
    (ready.place(name) / "cache").write_text("ok")
    project, _ = set_up("4.28.0")
    assert project.complete and lake_calls(ready) == ["update", "exe cache get", "exe cache get", "build"]
    capsys.readouterr()
    assert set_up("4.28.0", free=lambda folder: 0)[0] == project
    assert capsys.readouterr().err == "" and len(lake_calls(ready)) == 4


def test_a_release_whose_compiled_modules_are_gone(ready):
    ready.install("4.28.0", cache="nothing")
    with pytest.raises(UserError, match="no compiled modules of Mathlib v4.28.0: choose another release with --lean"):
        set_up("4.28.0")
    assert not projects()[0].complete


def test_a_release_that_mathlib_does_not_have(ready):
    ready.install("4.28.7", update="fails")
    with pytest.raises(UserError, match="update` failed: error: mathlib: revision not found 'v4.28.7'; the same"):
        set_up("4.28.7")


def test_without_a_network(ready):
    with pytest.raises(
        UserError, match="toolchain install .*` failed: error: could not download .*: check the network"
    ):
        set_up("4.28.0")
    ready.install("4.30.0", update="offline")
    with pytest.raises(
        UserError, match="update` failed: fatal: .*Could not resolve host: github.com: check the network"
    ):
        set_up("4.30.0")


@pytest.mark.parametrize(
    "lean, said",
    [
        ("4.9.0", "Lean 4.9.0 is not supported: choose a release from 4.22 to 4.34"),
        ("v4.35.0-rc1", "Lean 4.35.0-rc1 is not supported"),
        ("nightly", "--lean nightly: is not a release of Lean"),
        ("../4.28.0", "is not a release of Lean"),
    ],
)
def test_a_wrong_version(ready, lean, said):
    with pytest.raises(UserError) as error:
        setup("mathlib", lean=lean)
    assert said in str(error.value)
    assert not ready.calls and not (ready.folder / "cache" / "mathlib").exists()


def test_without_elan(ready):
    for tool in ("elan", "lean", "lake"):
        (ready.elan / "bin" / tool).unlink()
    with pytest.raises(UserError, match="Lean 4.28.0 is not installed, and elan is missing: install elan"):
        set_up("4.28.0")
    assert not (ready.folder / "cache" / "mathlib").exists()


def test_too_little_disk(ready):
    name = ready.install("4.28.0", cache="fails")
    with pytest.raises(
        UserError, match="mathlib/4.28.0: 1.0 GB free, Mathlib needs 7.0: make room or set TURNSTILE_CACHE"
    ):
        set_up("4.28.0", free=lambda folder: 10**9)
    assert not (ready.folder / "cache" / "mathlib").exists() and not lake_calls(ready)
    with pytest.raises(UserError, match="cache get` failed"):
        set_up("4.28.0")
    (ready.place(name) / "cache").write_text("ok")
    (projects()[0].folder / ".lake" / "half").write_bytes(b"1" * 10**6)
    set_up("4.28.0", free=lambda folder: NEEDED_BYTES - 10**6)  # what is there already counts


def test_set_ups_at_once_make_one_project(ready):
    ready.install("4.28.0")
    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(lambda _: set_up("4.28.0"), range(3)))) == 1
    assert lake_calls(ready) == ["update", "exe cache get", "build"]


def test_the_default_is_what_the_folder_pins_or_what_runs_here(ready, capsys):
    for version in ("4.28.0", "4.30.0", "4.31.0"):
        ready.install(version)
    assert setup("mathlib", json=True) == 0
    assert json.loads(capsys.readouterr().out)["lean"] == "4.28.0"
    Path("lean-toolchain").write_text("leanprover/lean4:v4.30.0")
    assert setup("mathlib", json=True) == 0
    assert json.loads(capsys.readouterr().out)["lean"] == "4.30.0"
    Path("lean-toolchain").write_text("leanprover/lean4:nightly")
    with pytest.raises(UserError, match="pins leanprover/lean4:nightly: name a supported release with --lean"):
        setup("mathlib")


def test_an_input_outside_of_projects_uses_it_and_says_so(ready, capsys):
    ready.install("4.30.0", default=True)
    ready.install("4.28.0")
    set_up("4.30.0")
    set_up("4.28.0")
    capsys.readouterr()
    obey([])
    project = use_mathlib(["Init", "Mathlib.Order.Basic"], Path("set.jsonl"))
    assert project is not None and project.version == "4.28.0", "the release of the worlds first"
    assert capsys.readouterr().err == f"turnstile: Mathlib v4.28.0 in {project.folder} is used, with Lean 4.28.0\n"
    assert str(project.folder / ".lake/packages/mathlib/.lake/build/lib/lean") in os.environ["LEAN_PATH"].split(
        os.pathsep
    )
    found = find_runtime()
    assert found.version == "4.28.0" and found.env["LEAN_PATH"] == os.environ["LEAN_PATH"]
    obey([])
    assert use_mathlib(["Init"]) is None and "LEAN_PATH" not in os.environ  # for the next input of the process


def test_a_pin_without_a_project_decides_which(ready):
    for version in ("4.28.0", "4.30.0", "4.31.0"):
        ready.install(version)
    set_up("4.28.0")
    set_up("4.30.0")
    for version, found in (("4.30.0", "4.30.0"), ("4.31.0", None)):
        Path("lean-toolchain").write_text(f"leanprover/lean4:v{version}")
        obey([Path.cwd()])
        project = use_mathlib(["Mathlib"])
        assert (project and project.version) == found
        assert find_runtime().version == version


def test_the_users_project_wins(ready, monkeypatch):
    ready.install("4.28.0")
    set_up("4.28.0")
    own = ready.project(A="import Mathlib")
    obey([])
    assert use_mathlib(["Mathlib"], own / "A.lean") is None
    monkeypatch.setenv("LEAN_PATH", "/of/lake/env")
    assert use_mathlib(["Mathlib"]) is None and os.environ["LEAN_PATH"] == "/of/lake/env"
    monkeypatch.setenv("LEAN_PATH", "")
    monkeypatch.setenv("TURNSTILE_LEAN", "embedded")
    assert use_mathlib(["Mathlib"]) is None
    monkeypatch.delenv("TURNSTILE_LEAN")
    (own / "deep").mkdir()
    monkeypatch.chdir(own / "deep")
    assert use_mathlib(["Mathlib"]) is None


@pytest.mark.lean
@pytest.mark.parametrize("kind", ["statement", "set"])
def test_prove_uses_it(machine, kind):
    """The embedded Lean behind the stand-in has no Mathlib, so that the statement ends with Lean's error about the import."""
    machine.embed()
    machine.install("4.28.0")
    project, _ = set_up("4.28.0")
    Path("set.jsonl").write_text(
        json.dumps({"name": "t", "header": "import Mathlib", "formal_statement": "theorem t : 1 = 1 := by"})
    )
    input = ["--statement", ": 1 = 1", "--imports", "Mathlib"] if kind == "statement" else ["set.jsonl"]
    done = subprocess.run(
        [sys.executable, "-m", "prover.cli", "prove", *input, "--budget", "4", "--workers", "1", "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert f"Mathlib v4.28.0 in {project.folder} is used, with Lean 4.28.0" in done.stderr
    document = json.loads(done.stdout)
    assert document["lean"] == "Lean 4.28.0 (native)"
    assert document["tasks"][0]["outcome"] == "error" and "Mathlib" in document["tasks"][0]["reason"]
