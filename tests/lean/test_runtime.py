"""The choice of a Lean, and errors where the proof server does not support it.

The native `lean` here is a shell script that answers `--version`: these tests check the choice, not Lean.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from prover.errors import UserError
from prover.lean import runtime
from prover.lean.process import LeanProcess
from prover.lean.runtime import TOOLCHAIN, LeanRuntime, native_lean, native_leans, version_drift
from prover.lean.sandbox.bubblewrap import working, wrapped

FAKE = Path(__file__).with_name("fake_lean.py")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Installs a `lean` of a version, as elan does or plainly, as the only one there is."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TURNSTILE_LEAN", raising=False)
    runtime.find_runtime.cache_clear()

    def install(version: str, elan: bool = False) -> None:
        program = tmp_path / ("elan-init" if elan else "bin/lean")
        (tmp_path / "bin").mkdir()
        program.write_text(f'#!/bin/sh\necho "Lean (version {version}, x86_64-unknown-linux-gnu, Release) $*"\n')
        program.chmod(0o755)
        if elan:
            (tmp_path / "bin/lean").symlink_to(program)

    yield install
    runtime.find_runtime.cache_clear()


def test_the_pinned_release_is_taken(installed, tmp_path):
    installed(TOOLCHAIN)
    assert native_lean() == ((f"{tmp_path}/bin/lean",), TOOLCHAIN)
    found = runtime.find_runtime("native")
    assert found.kind == "native" and found.version == TOOLCHAIN and found.command[-2] == "--run"
    assert "resource limits" in [layer.name for layer in found.protection]
    assert str(tmp_path / "bin/lean") in found.seal.reads and "/" not in found.seal.reads
    assert version_drift() == ""


def test_through_elan_the_pinned_toolchain_is_asked_for(installed, tmp_path):
    installed(TOOLCHAIN, elan=True)
    pinned = (f"{tmp_path}/bin/lean", f"+leanprover/lean4:v{TOOLCHAIN}")
    assert native_leans() == [(pinned, TOOLCHAIN)]
    command = runtime.find_runtime("native").command
    assert command[:2] == pinned  # for the server too, not only for its version


@pytest.mark.parametrize("version", ["4.19.0", "4.2.8", "4.280.0", "5.28.0-rc1"])
def test_another_release_is_named_and_not_taken(installed, version):
    installed(version)
    assert native_lean() is None
    assert version in version_drift() and TOOLCHAIN in version_drift()
    with pytest.raises(UserError, match=f"{version} is installed"):
        runtime.find_runtime("native")


def test_no_lean_at_all(installed):
    assert version_drift() == ""
    with pytest.raises(UserError, match="no native Lean"):
        runtime.find_runtime("native")


def test_a_process_of_another_version_is_refused(loop):
    process = LeanProcess(LeanRuntime("native", "4.28.0", (sys.executable, "-u", str(FAKE))))
    with pytest.raises(UserError, match="was expected, but Lean fake answered"):
        loop.run(process.start(20))
    assert process.pid is None


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home with a secret, the server's folder, and modules that LEAN_PATH names."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("server", "modules", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text(folder)
    return tmp_path


def test_bubblewrap_hides_homes_and_gives_back_what_lean_needs(home):
    command = wrapped("bwrap", ["/bin/sh"], (f"{home}/server", f"{home}/modules", f"{home}/none"))
    assert command[-1] == "/bin/sh" and "--unshare-all" in command
    hidden = [command[i + 1] for i, word in enumerate(command) if word == "--tmpfs"]
    shown = [command[i + 1] for i, word in enumerate(command) if word == "--ro-bind"]
    assert str(home) in hidden and "/tmp" in hidden
    assert (
        {f"{home}/server", f"{home}/modules"} <= set(shown) and f"{home}/none" not in shown and str(home) not in shown
    )
    assert not [word for word in command if word.startswith("--bind") or word == "--dev-bind"]
    assert max(i for i, word in enumerate(command) if word == "--tmpfs") < command.index(f"{home}/server")


@pytest.mark.skipif(not working(), reason="needs bubblewrap")
def test_files_visible_inside_bubblewrap(home):
    script = (
        f"cat {home}/*/file; touch {home}/server/x || touch {home}/x || touch /tmp/x || touch /etc/x || echo sealed"
    )
    command = [*wrapped(working(), ["/bin/sh"], (f"{home}/server", f"{home}/modules")), "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "modulesserversealed\n", done
