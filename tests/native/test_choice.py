"""Which Lean runs, by what a project pins and what is installed. elan is a stand-in (see elan_stand_in.py)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prover.errors import UserError
from prover.lean import runtime, source, toolchain
from prover.lean.runtime import find_runtime, native_lean, version_drift
from prover.lean.toolchain import obey


def downloads(machine) -> list[str]:
    return [call for call in machine.calls if "DOWNLOAD" in call]


@pytest.mark.parametrize("pin", ["leanprover/lean4:v4.30.0", "v4.30.0", "4.30.0", "leanprover/lean4:4.30.0"])
def test_the_pinned_lean_is_taken_and_no_other(machine, pin):
    machine.install("4.28.0", default=True)
    name = machine.install("4.30.0")
    obey([machine.project(pin, A="")])
    found = native_lean()
    assert found is not None and (found.version, found.toolchain) == ("4.30.0", name)
    assert found.lean[1] == found.lake[1] == f"+{name}"
    assert not downloads(machine)


def test_the_nearest_file_decides_as_for_elan(machine):
    outer = machine.project("leanprover/lean4:v4.28.0")
    inner = outer / "deep" / "er"
    inner.mkdir(parents=True)
    (outer / "deep" / "lean-toolchain").write_text("leanprover/lean4:v4.30.0")
    for place, version in ((inner / "A.lean", "4.30.0"), (outer / "A.lean", "4.28.0"), (outer, "4.28.0")):
        assert (pin := toolchain.pin_of(place)) is not None and pin.version == version


def test_a_missing_toolchain_is_an_error_that_names_the_command(machine):
    machine.install("4.28.0", default=True)
    project = machine.project("leanprover/lean4:v4.30.0")
    obey([project])
    with pytest.raises(UserError) as error:
        find_runtime()
    assert str(error.value).startswith(
        f"{project}/lean-toolchain: pins leanprover/lean4:v4.30.0, which is not installed: "
    )
    assert "run `elan toolchain install leanprover/lean4:v4.30.0`" in str(error.value)
    assert not downloads(machine)


@pytest.mark.parametrize("version", ["4.9.0", "4.21.0", "4.35.0", "4.35.0-rc1", "3.4.2"])
@pytest.mark.parametrize("there", [True, False])
def test_an_unsupported_release_is_an_error(machine, version, there):
    if there:
        machine.install(version)
    obey([machine.project(f"leanprover/lean4:v{version}")])
    with pytest.raises(UserError, match=f"pins Lean {version}, but the proof server supports 4.22 to 4.34"):
        find_runtime()


@pytest.mark.parametrize("name", ["leanprover/lean4:nightly-2026-09-01", "my-own-lean"])
def test_a_name_without_a_version_is_asked_for_it(machine, name):
    obey([machine.project(name)])
    with pytest.raises(UserError, match=f"elan toolchain install {name}"):
        find_runtime()
    machine.install("4.35.0-nightly-2026-09-01", name=name)
    with pytest.raises(UserError, match="pins Lean 4.35.0-nightly-2026-09-01, but"):
        find_runtime()
    assert not downloads(machine)


def test_an_own_toolchain_of_a_supported_version(machine):
    machine.install("4.30.0", name="my-own-lean")
    obey([machine.project("my-own-lean")])
    assert (found := native_lean()) is not None and found.version == "4.30.0"


@pytest.mark.parametrize("text", ["", "two words", "a\nb", "../../x;y", "ä"])
def test_a_file_that_names_no_toolchain(machine, text):
    project = machine.project()
    (project / "lean-toolchain").write_text(text)
    with pytest.raises(UserError, match="lean-toolchain: is not the name of a Lean toolchain"):
        obey([project])


def test_files_that_pin_different_leans(machine):
    one = machine.project("leanprover/lean4:v4.30.0", "one")
    two = machine.project("leanprover/lean4:v4.31.0", "two")
    with pytest.raises(UserError, match="pin different Leans"):
        obey([one, two])


def test_the_embedded_lean_only_for_its_own_release_or_on_request(machine, capsys, monkeypatch):
    monkeypatch.setattr(runtime, "_embedded", lambda: "embedded")
    obey([machine.project("leanprover/lean4:v4.28.0")])
    assert find_runtime() == "embedded"
    assert (
        "pins leanprover/lean4:v4.28.0, which is not installed; the embedded Lean 4.28.0-pre is used"
        in capsys.readouterr().err
    )
    with pytest.raises(UserError, match="unset TURNSTILE_LEAN"):
        find_runtime("native")
    obey([machine.project("leanprover/lean4:v4.30.0")])
    assert find_runtime("embedded") == "embedded"


def test_without_a_project_the_worlds_release_then_the_default_then_the_newest(machine):
    assert native_lean() is None
    machine.install("4.9.0", default=True)
    assert native_lean() is None and "4.9.0 is installed" in version_drift()
    with pytest.raises(UserError, match="4.9.0 is installed, but the proof server supports"):
        find_runtime("native")
    machine.install("4.24.0")
    machine.install("4.31.0")
    assert native_lean().version == "4.31.0" and version_drift() == ""
    (machine.elan / "default").write_text("leanprover/lean4:v4.24.0")
    assert native_lean().version == "4.24.0"
    machine.install("4.28.0")
    assert native_lean().version == "4.28.0"
    assert not downloads(machine)


def test_a_plain_lean_on_the_path(machine):
    lean = machine.plain_lean("4.30.0")
    assert native_lean().lean == (str(lean),)
    obey([machine.project("leanprover/lean4:v4.30.0")])
    assert native_lean().lean == (str(lean),)
    obey([machine.project("leanprover/lean4:v4.31.0")])
    assert native_lean() is None


def test_a_lean_whose_path_only_sounds_like_elans(machine, monkeypatch):
    place = machine.folder / "melanie" / "bin"
    place.mkdir(parents=True)
    machine.plain_lean("4.30.0").rename(place / "lean")
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    assert native_lean().lean == (str(place / "lean"),)


def test_elans_proxies_on_the_path_are_not_a_plain_lean(machine, monkeypatch):
    """Without a toolchain, a proxy obeys the working folder and may download."""
    monkeypatch.setenv("PATH", f"{machine.elan}/bin{os.pathsep}{os.environ['PATH']}")
    assert native_lean() is None
    name = machine.install("4.30.0")
    assert native_lean().toolchain == name
    assert all(call.split()[1].startswith("+") for call in machine.calls if not call.startswith("elan"))


def test_no_lean_at_all(machine):
    assert version_drift() == ""
    with pytest.raises(
        UserError, match="no native Lean 4.22 to 4.34 on PATH or through elan: run `elan toolchain install"
    ):
        find_runtime("native")


def test_the_pin_reaches_child_processes_and_ends_with_the_next_input(machine):
    obey([machine.project("leanprover/lean4:v4.30.0")])
    assert Path(os.environ[toolchain.PIN_VARIABLE]).name == "lean-toolchain"
    obey([])
    assert toolchain.obeyed() is None


@pytest.mark.parametrize("release", range(source.OLDEST[1], source.NEWEST[1] + 1))
def test_every_supported_release_has_one_part_of_each_kind(release):
    files = [path.name for path in source.files(f"4.{release}.0", embedded=False)]
    assert "Native.lean" in files and "Embedded.lean" not in files
    assert ("From28.lean" in files, "From22.lean" in files) == (release >= 28, release < 28)
    text = source.server_source(f"4.{release}.0", embedded=False)
    assert "compiler.small" not in text and "\nunsafe def main : IO Unit" in text and "import Turnstile" not in text


def test_a_project_is_asked_with_its_own_lake(machine, monkeypatch):
    """`lake env` of the pinned toolchain, whatever the default is. The path has a space."""
    from prover.solve.project import use_project

    machine.install("4.28.0", default=True)
    name = machine.install("4.30.0")
    project = machine.project("leanprover/lean4:v4.30.0")
    obey([project])
    with pytest.raises(
        UserError, match="`lake env` failed: error: no such file or directory: .*; run `lake build` there first"
    ):
        use_project(project)
    modules = project / ".lake" / "build" / "lib" / "lean"
    modules.mkdir(parents=True)
    monkeypatch.setenv("LEAN_PATH", "")
    assert use_project(project) and os.environ["LEAN_PATH"] == str(modules)
    assert {call for call in machine.calls if call.startswith("lake")} == {f"lake +{name} env printenv LEAN_PATH"}
    monkeypatch.setenv("TURNSTILE_LEAN", "embedded")
    assert not use_project(project)


def test_under_lake_env_the_working_folder_decides_for_inputs_that_pin_nothing(machine, monkeypatch):
    """LEAN_PATH has modules that only the project's Lean can read."""
    machine.install("4.28.0", default=True)
    machine.install("4.30.0")
    monkeypatch.chdir(machine.project("leanprover/lean4:v4.30.0"))
    for path, version in (("", "4.28.0"), ("/modules", "4.30.0")):
        monkeypatch.setenv("LEAN_PATH", path)
        obey([machine.folder / "elsewhere.jsonl"])
        assert native_lean().version == version


def test_a_workspace_with_several_roots(machine):
    """Each package of a repository obeys its own file, or else that of the repository."""
    machine.install("4.28.0")
    machine.install("4.30.0")
    outer = machine.project("leanprover/lean4:v4.28.0")
    for name, pin in (("a", ""), ("b", "leanprover/lean4:v4.30.0")):
        (outer / name).mkdir()
        (outer / name / "lakefile.toml").write_text("")
        if pin:
            (outer / name / "lean-toolchain").write_text(pin)
    for place, version in (("a", "4.28.0"), ("b", "4.30.0")):
        obey([outer / place / "X.lean"])
        assert native_lean().version == version


@pytest.mark.parametrize("name", ["stable", "leanprover/lean4:nightly"])
def test_a_channel_is_not_a_release(machine, name):
    """elan 4 lists what a channel stood for when it was installed, so that installing it would not help."""
    machine.install("4.30.0")
    obey([machine.project(name)])
    with pytest.raises(UserError, match="pins the channel .*: pin a release there, such as leanprover/lean4:v4.28.0"):
        find_runtime()
    assert not downloads(machine)
