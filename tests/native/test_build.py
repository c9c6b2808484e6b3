"""The native server as an executable: built once, cached, and run. The executable is the embedded Lean (see elan_stand_in.py), so these
tests say nothing of whether the source compiles with another release."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from prover.errors import UserError
from prover.lean import native, runtime, source
from prover.lean.runtime import find_runtime, native_lean
from prover.lean.server import LeanServer
from prover.lean.theorem import Theorem
from prover.lean.toolchain import obey

ROOT = Path(__file__).resolve().parents[2]


def builds(machine) -> int:
    return sum(call.startswith("lake") and call.endswith(" build") for call in machine.calls)


def test_the_server_is_built_once_and_kept(ready, capsys):
    ready.install("4.30.0")
    found = find_runtime("native")
    assert (found.kind, found.version) == ("native", "4.30.0")
    (program,) = found.command
    assert program.startswith(str(ready.folder / "cache" / "native" / "4.30.0-")) and os.access(program, os.X_OK)
    said = capsys.readouterr().err
    assert "building the proof server for Lean 4.30.0" in said and "[1/3] Replayed Server" in said
    runtime._found.cache_clear()  # as in another process
    assert find_runtime("native").command == (program,)
    assert builds(ready) == 1 and capsys.readouterr().err == ""


def test_what_the_server_may_read_and_knows(ready, monkeypatch):
    modules = ready.folder / "with space" / "lib"
    monkeypatch.setenv("LEAN_PATH", str(modules))
    name = ready.install("4.30.0")
    found = find_runtime("native")
    prefix = ready.elan / "toolchains" / name.replace("/", "--").replace(":", "---")
    assert found.env["LEAN_SYSROOT"] == str(prefix) and found.env["LEAN_PATH"] == str(modules)
    assert {str(prefix / "lib"), str(modules), str(Path(found.command[0]).parent)} <= set(found.seal.reads)
    assert "/" not in found.seal.reads and str(ready.folder) not in found.seal.reads and not found.seal.writes


def test_another_source_or_build_of_lean_is_another_server(ready, monkeypatch):
    ready.install("4.30.0")
    lean = native_lean()
    first = native.executable(lean)
    original = source.server_source
    monkeypatch.setattr(native, "server_source", lambda *a, **k: original(*a, **k) + "-- changed\n")
    assert native.executable(lean) != first and builds(ready) == 2
    monkeypatch.undo()


def test_a_failed_build_says_why_and_is_tried_again(ready):
    name = ready.install("4.30.0", build="fails")
    with pytest.raises(UserError) as error:
        find_runtime("native")
    assert "does not build with Lean 4.30.0: error: Server.lean:12:3: unknown constant 'Lean.gone'" in str(error.value)
    log = Path(str(error.value).rpartition("all of it: ")[2].rstrip(")"))
    assert "build failed" in log.read_text()
    place = ready.elan / "toolchains" / name.replace("/", "--").replace(":", "---")
    (place / "build").write_text("ok")
    assert find_runtime("native").kind == "native"
    assert builds(ready) == 2


def test_a_build_without_an_executable(ready):
    ready.install("4.30.0", build="nothing")
    with pytest.raises(UserError, match="made no turnstile-server: delete this folder"):
        find_runtime("native")


def test_a_damaged_cache_is_built_again(ready):
    ready.install("4.30.0")
    program = native.executable(native_lean())
    program.unlink()
    assert native.executable(native_lean()) == program and os.access(program, os.X_OK)
    assert builds(ready) == 2


def test_processes_that_start_at_once_build_once(ready):
    ready.install("4.30.0")
    lean = native_lean()
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: native.executable(lean), range(4)))) == 1
    assert builds(ready) == 1


def test_a_lake_that_cannot_start(ready, monkeypatch):
    ready.install("4.30.0")
    lean = native_lean()
    (ready.elan / "bin" / "lake").unlink()
    with pytest.raises(UserError, match="build` did not start: No such file or directory"):
        native.executable(lean)


@pytest.mark.lean
def test_the_built_server_runs_in_its_sandbox(machine):
    machine.embed()
    machine.install("4.28.0")
    obey([machine.project("leanprover/lean4:v4.28.0", A="")])
    found = find_runtime()
    assert found.kind == "native"

    async def prove() -> None:
        async with LeanServer(found) as server:
            state = await server.open(Theorem("t", "(p q : Prop) (h : p ∧ q) : q ∧ p"))
            (result,) = await server.step(state, ["exact ⟨h.2, h.1⟩"])
            assert result.solved, result

    asyncio.run(prove())


@pytest.mark.lean
def test_a_server_of_another_release_than_its_toolchain_is_refused(machine):
    machine.embed()
    machine.install("4.30.0")
    found = find_runtime("native")

    async def start() -> None:
        async with LeanServer(found):
            pass

    with pytest.raises(UserError, match=r"Lean 4.30.0 \(native\) was expected, but Lean 4.28.0"):
        asyncio.run(start())


@pytest.mark.lean
@pytest.mark.parametrize(
    "pin, code, said", [("leanprover/lean4:v4.28.0", 0, ""), ("leanprover/lean4:v4.30.0", 2, "elan toolchain install")]
)
def test_the_command_obeys_the_project(machine, pin, code, said):
    machine.embed()
    machine.install("4.28.0")
    project = machine.project(pin, A="theorem t (p : Prop) (h : p) : p := by sorry\n")
    command = [sys.executable, "-m", "prover.cli", "prove", "A.lean", "--budget", "8", "--workers", "1", "--json"]
    done = subprocess.run(
        command, cwd=project, capture_output=True, text=True, timeout=300, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == code, done.stderr
    if code == 0:
        assert json.loads(done.stdout)["lean"] == "Lean 4.28.0 (native)"
    else:
        assert said in done.stderr and len(done.stderr.splitlines()) == 1 and not done.stdout
    assert not [call for call in machine.calls if "DOWNLOAD" in call]


def test_doctor_shows_the_project(machine):
    project = machine.project("leanprover/lean4:v4.30.0")
    packages = [
        {"name": "mathlib", "inputRev": "v4.30.0"},
        {"name": "aesop", "rev": "abc"},
        {"name": "own", "type": "path", "dir": "../own"},
    ]
    (project / "lake-manifest.json").write_text(json.dumps({"packages": packages}))
    (project / ".lake/packages/mathlib").mkdir(parents=True)
    built = machine.folder / "own/.lake/build/lib/lean"
    built.mkdir(parents=True)
    (built / "Own.olean").touch()
    command = [sys.executable, "-m", "prover.cli", "doctor", str(project), "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    checks = {c["name"]: c for c in json.loads(done.stdout)["checks"]}
    assert done.returncode == 2
    assert "elan toolchain install leanprover/lean4:v4.30.0" in checks["Lean"]["todo"]
    assert checks["toolchain"]["found"].startswith("leanprover/lean4:v4.30.0")
    assert checks["mathlib"]["found"] == "v4.30.0: not built" and "lake exe cache get" in checks["mathlib"]["todo"]
    assert checks["aesop"]["found"] == "abc: not downloaded"
    assert checks["own"]["ok"] and not checks["project"]["ok"]


@pytest.mark.parametrize("manifest", ["[]", "{", '{"packages": 1}', '{"packages": [{}]}', '{"packages": [1]}'])
def test_doctor_and_a_manifest_of_another_form(machine, manifest):
    from prover.commands.project_checks import project_checks

    project = machine.project()
    (project / "lake-manifest.json").write_text(manifest)
    with pytest.raises(UserError, match="lake-manifest.json: cannot be read as a Lake manifest"):
        project_checks(project)


def test_the_project_is_not_the_servers(ready, monkeypatch):
    """`lake env` of a project does not change what the server is built from."""
    monkeypatch.setenv("LEAN_PATH", "/nowhere")
    ready.install("4.30.0")
    assert find_runtime("native").env["LEAN_PATH"] == "/nowhere"
    shutil.rmtree(ready.folder / "cache" / "native")
