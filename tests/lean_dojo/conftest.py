"""A small repository, and what LeanDojo's tracing would leave of it, made without native Lean."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
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


class _Syntax:
    """Lean syntax trees in the shape of ExtractData.lean's `*.ast.json`, from the pieces of a source text in order."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def _info(self, piece: str) -> dict[str, Any]:
        start = self.text.index(piece, self.at)
        self.at = start + len(piece)
        here, end = len(self.text[:start].encode()), len(self.text[: self.at].encode())
        return {"original": {"leading": "", "pos": here, "trailing": "", "endPos": end}}

    def skip_to(self, piece: str) -> None:
        self.at = self.text.index(piece, self.at)

    def atom(self, piece: str) -> dict[str, Any]:
        return {"atom": {"info": self._info(piece), "val": piece}}

    def ident(self, piece: str) -> dict[str, Any]:
        return {"ident": {"info": self._info(piece), "rawVal": piece, "val": piece, "preresolved": []}}


def _node(kind: str, *args: dict[str, Any]) -> dict[str, Any]:
    return {"node": {"kind": kind, "info": "none", "args": list(args)}}


@pytest.fixture(scope="session")
def traced(repository: Any) -> Path:
    """The repository as LeanDojo's cache holds it after tracing. A stand-in: the syntax tree is written by hand, and
    only of the commands that LeanDojo needs to find `Logic.swap`."""
    from lean_dojo.data_extraction.cache import cache
    from lean_dojo.data_extraction.trace import LEAN4_REPL_PATH

    kept = cache.cache_dir / repository.get_cache_dirname() / repository.name
    shutil.copytree(repository.repo.working_dir, kept)
    shutil.copyfile(LEAN4_REPL_PATH, kept / "Lean4Repl.lean")
    s, command = _Syntax(SOURCE), "Lean.Parser.Command."
    commands = [
        _node("Lean.Parser.Module.header", _node("null"), _node("null")),
        s.skip_to("namespace Logic") or _node(command + "namespace", s.atom("namespace"), s.ident("Logic")),
        s.skip_to("theorem swap")
        or _node(
            command + "declaration",
            _node(command + "declModifiers"),
            _node(
                command + "theorem",
                s.atom("theorem"),
                _node(command + "declId", s.ident("swap"), _node("null")),
                _node(command + "declSig", s.atom("(h : p ∧ q) : q ∧ p")),
                _node(
                    command + "declValSimple",
                    s.atom(":="),
                    _node("Lean.Parser.Term.byTactic", s.atom("by\n  exact ⟨h.2, h.1⟩")),
                ),
            ),
        ),
    ]
    folder = kept / ".lake" / "build" / "ir"
    folder.mkdir(parents=True)
    data = {"commandASTs": commands, "tactics": [], "premises": []}
    (folder / "Example.ast.json").write_text(json.dumps(data))
    (folder / "Example.dep_paths").write_text("\n")
    return kept


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """lake_stand_in.py as `lake`, first on PATH."""
    stand_in = tmp_path / "bin" / "lake"
    stand_in.parent.mkdir()
    script = Path(__file__).with_name("lake_stand_in.py")
    stand_in.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" "{script}" "$@"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}")
    return stand_in
