"""A machine with elan and native Leans, played by `elan_stand_in.py`. No native Lean runs in these tests."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prover.lean import runtime, toolchain
from prover.lean.embedded import install

STAND_IN = Path(__file__).with_name("elan_stand_in.py")


class Machine:
    """A home with elan, and projects in it."""

    def __init__(self, folder: Path, library: Path) -> None:
        """`library`: the folder that holds the embedded Lean."""
        self.folder, self.library = folder, library
        self.elan = folder / "elan home"  # with a space
        (self.elan / "bin").mkdir(parents=True)
        (self.elan / "toolchains").mkdir()
        program = self.elan / "bin" / "elan"
        program.write_text(f"#!{sys.executable}\n{STAND_IN.read_text()}")
        program.chmod(0o755)
        for proxy in ("lean", "lake"):
            (self.elan / "bin" / proxy).symlink_to("elan")

    def install(
        self,
        version: str,
        build: str = "ok",
        name: str = "",
        default: bool = False,
        offered: bool = False,
        **steps: str,
    ) -> str:
        """A toolchain. Its library is the embedded Lean's, whatever its version. `offered`: elan can install it. `steps`: how `update`
        and `cache` go."""
        name = name or f"leanprover/lean4:v{version}"
        place = self.place(name, "offered" if offered else "toolchains")
        place.mkdir(parents=True)
        for step, how in steps.items():
            (place / step).write_text(how)
        (place / "version").write_text(version)
        (place / "build").write_text(build)
        (place / "bin").symlink_to(install.node_path().parent)
        (place / "lib").symlink_to(self.library)
        if default:
            (self.elan / "default").write_text(name)
        return name

    def place(self, name: str, folder: str = "toolchains") -> Path:
        """The folder of a toolchain."""
        return self.elan / folder / name.replace("/", "--").replace(":", "---")

    def embed(self) -> None:
        """Let built servers be the embedded Lean, which is installed first."""
        found = runtime.find_runtime("embedded")
        env = {k: v for k, v in found.env.items() if k.startswith("TURNSTILE_")}
        (self.elan / "embedded.json").write_text(json.dumps({"env": env, "program": found.command[-3]}))

    def project(self, pin: str = "", name: str = "my project", **files: str) -> Path:
        place = self.folder / name
        place.mkdir(exist_ok=True)
        (place / "lakefile.toml").write_text('name = "p"\n')
        if pin:
            (place / "lean-toolchain").write_text(pin + "\n")
        for file, text in files.items():
            (place / f"{file}.lean").write_text(text)
        return place

    @property
    def calls(self) -> list[str]:
        path = self.elan / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def plain_lean(self, version: str) -> Path:
        """A `lean` on PATH that is not elan's."""
        program = self.folder / "bin" / "lean"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "Lean (version {version}, x86_64-unknown-linux-gnu, Release)"\n')
        program.chmod(0o755)
        return program


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    cache = tmp_path / "cache"
    cache.mkdir()
    for shared in install.cache_dir().glob("*"):  # the embedded Lean, not the servers built for native ones
        if shared.name != "native":
            (cache / shared.name).symlink_to(shared)
    made = Machine(tmp_path, install.cache_dir().resolve())
    monkeypatch.setenv("ELAN_HOME", str(made.elan))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}/usr/bin{os.pathsep}/bin")
    for variable in ("TURNSTILE_LEAN", "LEAN_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(toolchain.PIN_VARIABLE, "")
    monkeypatch.setenv("TURNSTILE_CACHE", str(cache))
    runtime._found.cache_clear()
    yield made
    runtime._found.cache_clear()


@pytest.fixture
def ready(machine: Machine) -> Machine:
    """As `machine`, where built servers need not run."""
    (machine.elan / "embedded.json").write_text(json.dumps({"env": {}, "program": ""}))
    return machine
