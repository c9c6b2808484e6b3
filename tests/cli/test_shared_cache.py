"""A cache that another user owns, users of a group that share one, and a home folder that cannot be written to."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prover.files import making
from prover.lean.embedded import install
from prover.lean.runtime import find_runtime, server_file

ROOT = Path(__file__).parents[2]
OTHER = 65534
"""The user who owns the cache, if the test runs as root."""
ORDINARY = ("setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search,-fowner")
"""Root without the right to read and write everything."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder that cannot be written to."""
    folder = tmp_path / "home"
    folder.mkdir()
    seal(folder)
    yield folder
    folder.chmod(0o755)


def seal(folder: Path) -> None:
    """Give the folders in it, not the files, to another user, and make them read-only."""
    if os.geteuid() == 0 and shutil.which(ORDINARY[0]) is None:
        pytest.skip("setpriv is not installed: root can write to every folder")
    for part in [folder, *(p for p in folder.rglob("*") if p.is_dir() and not p.is_symlink())]:
        part.chmod(0o555)
        if os.geteuid() == 0:
            os.chown(part, OTHER, OTHER)


def python(home: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Python as an ordinary user with this home folder."""
    clean = {k: v for k, v in os.environ.items() if k not in ("TURNSTILE_CACHE", "XDG_CACHE_HOME")}
    environment = {**clean, "PYTHONPATH": str(ROOT), "HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0", **env}
    command = [*(ORDINARY if os.geteuid() == 0 else ()), sys.executable, *args]
    return subprocess.run(command, env=environment, cwd=home.parent, capture_output=True, text=True, timeout=500)


def turnstile(home: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return python(home, "-m", "prover.cli", *args, **env)


STATEMENT = ("--statement", "(p q : Prop) (h : p ∧ q) : q ∧ p", "--workers", "1")


def test_nothing_is_installed_and_the_home_is_read_only(home: Path) -> None:
    done = turnstile(home, "prove", *STATEMENT, TURNSTILE_LEAN="embedded")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "Permission denied" in done.stderr and "TURNSTILE_CACHE" in done.stderr


def test_a_cache_that_lacks_the_server_of_this_version(home: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (cache / install.embedded_dir().name).mkdir(parents=True)
    (cache / install.embedded_dir().name / "complete").touch()
    (cache / "server").mkdir()
    seal(cache)
    where = {"TURNSTILE_CACHE": str(cache), "TURNSTILE_LEAN": "embedded"}
    done = turnstile(home, "prove", *STATEMENT, **where)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "the cache lacks" in done.stderr and "TURNSTILE_CACHE" in done.stderr
    (check,) = [
        c for c in json.loads(turnstile(home, "doctor", "--json", **where).stdout)["checks"] if c["name"] == "cache"
    ]
    assert check["ok"] and "not writable" in check["found"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_users_of_a_group_may_take_each_others_locks(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with making(tmp_path / "new/part"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new/part.lock").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o777 & ~umask


@pytest.mark.lean
def test_proving_with_another_users_cache(home: Path, tmp_path: Path) -> None:
    if find_runtime().kind != "embedded":
        pytest.skip("native Lean is not in the cache")
    cache = tmp_path / "cache"
    server = server_file(find_runtime().version).parent
    for folder in (install.embedded_dir(), server):
        shutil.copytree(folder, cache / folder.relative_to(install.cache_dir()), copy_function=os.link)
    seal(cache)
    done = turnstile(home, "prove", *STATEMENT, "--json", TURNSTILE_CACHE=str(cache), TURNSTILE_LEAN="embedded")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["proved"] == 1 and "start slowly" not in done.stderr
    assert list(home.iterdir()) == []


@pytest.mark.ray
def test_ray_starts_with_a_read_only_home(home: Path) -> None:
    code = """
from prover.solve.ray_start import start_ray
start_ray("local", num_cpus=1)
import ray
print(ray.get(ray.remote(lambda: 6 * 7).remote()))
"""
    done = python(home, "-c", code)
    assert done.stdout == "42\n", done.stderr
    assert list(home.iterdir()) == []
