"""A small repository for the real LeanDojo package."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lean_dojo_example import SOURCE

from prover.lean.leandojo.dojo import close_servers, package

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def lean_dojo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The real package, with its cache in a temporary folder."""
    types = package()
    from filelock import FileLock
    from lean_dojo.data_extraction.cache import cache

    folder = tmp_path_factory.mktemp("lean_dojo_cache")
    object.__setattr__(cache, "cache_dir", folder)
    object.__setattr__(cache, "lock", FileLock(folder.with_suffix(".lock")))
    yield types


@pytest.fixture(scope="module", autouse=True)
def no_process_outlives_a_file() -> Iterator[None]:
    """Lean processes that Dojos share would live as long as Python, a gigabyte in all."""
    yield
    close_servers()


@pytest.fixture(scope="session")
def repository(lean_dojo: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """LeanDojo's LeanGitRepo of a local git repository."""
    folder = tmp_path_factory.mktemp("repositories") / "example"
    folder.mkdir()
    (folder / "lean-toolchain").write_text("leanprover/lean4:v4.28.0\n")
    (folder / "lakefile.toml").write_text('name = "example"\n\n[[lean_lib]]\nname = "Example"\n')
    (folder / "Example.lean").write_text(SOURCE)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Example"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    return lean_dojo.LeanGitRepo.from_path(folder)
