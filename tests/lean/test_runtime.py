"""A process of another version than asked for, its huge pages, and bubblewrap. tests/native has the choice of a Lean."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from prover.errors import UserError
from prover.lean.process import LeanProcess
from prover.lean.runtime import HUGE_PAGES, LeanRuntime
from prover.lean.sandbox.bubblewrap import working, wrapped

FAKE = Path(__file__).with_name("fake_lean.py")


def test_a_process_of_another_version_is_refused(loop):
    process = LeanProcess(LeanRuntime("native", "4.28.0", (sys.executable, "-u", str(FAKE))))
    with pytest.raises(UserError, match="was expected, but Lean fake answered"):
        loop.run(process.start(20))
    assert process.pid is None


def grants_huge_pages() -> bool:
    library, version = platform.libc_ver()
    setting = Path(HUGE_PAGES) / "enabled"
    new = library == "glibc" and tuple(map(int, version.split("."))) >= (2, 35)
    return new and setting.exists() and "[never]" not in setting.read_text()


@pytest.mark.lean
@pytest.mark.skipif(not grants_huge_pages(), reason="needs huge pages and glibc 2.35")
def test_the_embedded_lean_asks_for_huge_pages(server):
    """`hg` marks memory for which a process asked for them: here the module, of 116 MB."""
    if server.runtime.kind != "embedded":
        pytest.skip("native Lean has an allocator of its own")
    maps = Path(f"/proc/{server.pid}/smaps").read_text()
    sizes = [
        int(size)
        for size, flags in re.findall(r"^Size: +(\d+) kB.*?^VmFlags:(.*?)$", maps, re.S | re.M)
        if " hg" in flags
    ]
    assert max(sizes, default=0) > 100_000, sizes


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
