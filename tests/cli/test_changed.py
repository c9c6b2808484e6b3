"""`turnstile prove --changed`, and its output as annotations and diagnostics."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from prover.commands.prove_output import github
from prover.errors import UserError
from prover.solve.changed import changed_files

SORRY = "theorem {} (p : Prop) (h : p) : p := by\n  sorry\n"


def git(folder: Path, *args: str) -> None:
    own = ("-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *own, *args], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Committed on `main`: Old and Edited; on the branch: Committed; in the working folder: Edited changed, New and a deletion."""
    folder = tmp_path / "a repository" / "lean"
    folder.mkdir(parents=True)
    (folder / "lakefile.toml").write_text('name = "p"\n')
    (folder / ".gitignore").write_text("Ignored.lean\n")
    for name in ("Old", "Edited", "Deleted"):
        (folder / f"{name}.lean").write_text(SORRY.format(name.lower()))
    git(folder.parent, "init", "-q", "-b", "main")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "-q", "-m", "one")
    git(folder.parent, "checkout", "-q", "-b", "branch")
    (folder / "Committed.lean").write_text(SORRY.format("committed"))
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "-q", "-m", "two")
    (folder / "Edited.lean").write_text(SORRY.format("edited") + "\n")
    (folder / "New é.lean").write_text(SORRY.format("new"))
    (folder / "Ignored.lean").write_text(SORRY.format("ignored"))
    (folder / "Deleted.lean").unlink()
    (folder.parent / "Outside.lean").write_text(SORRY.format("outside"))
    monkeypatch.chdir(folder)
    return folder


def names(found: frozenset[Path]) -> set[str]:
    return {path.name for path in found}


def test_which_files_are_changed(project):
    assert names(changed_files(Path())) == {"Edited.lean", "New é.lean"}
    assert names(changed_files(Path(), "main")) == {"Edited.lean", "New é.lean", "Committed.lean"}


def test_a_repository_may_not_name_programs(project, tmp_path):
    ran = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    for setting in ("core.fsmonitor", "diff.external", "diff.x.textconv", "diff.x.command"):
        git(project, "config", setting, str(program))
    (project / ".gitattributes").write_text("*.lean diff=x\n")
    assert "Edited.lean" in names(changed_files(Path()))
    assert not ran.exists()


@pytest.mark.parametrize(
    "base, said",
    [
        ("nowhere", "failed with 'Not a valid object name nowhere'; give --base a branch or commit"),
        ("--output=x", "--base --output=x is not the name of a branch or commit"),
    ],
)
def test_a_base_that_git_does_not_know(project, base, said):
    with pytest.raises(UserError, match=said):
        changed_files(Path(), base)


def test_no_repository(tmp_path):
    with pytest.raises(UserError, match="not a git repository'; run the command in a git repository$") as found:
        changed_files(tmp_path)
    assert str(found.value).count(":") == 1


@pytest.mark.parametrize(
    "args, said",
    [
        (["Old.lean", "--changed"], "--changed is for a Lake project"),
        ([".", "--base", "main"], "--base goes with --changed"),
        (["--changed", "--statement", ": True"], "--changed is for a Lake project"),
    ],
)
def test_options_that_do_not_fit(project, turnstile, args, said):
    done = turnstile("prove", *args)
    assert done.code == 2 and said in done.err and len(done.err.splitlines()) == 1


def test_nothing_changed(project, turnstile):
    git(project.parent, "add", ".")
    git(project.parent, "commit", "-q", "-m", "three")
    done = turnstile("prove", "--changed")
    assert done.code == 0 and "no changed .lean file has a `sorry`" in done.err


def test_outside_of_a_project(tmp_path, monkeypatch, turnstile):
    monkeypatch.chdir(tmp_path)
    done = turnstile("prove", "--changed")
    assert done.code == 2 and "is in no Lake project" in done.err


@pytest.mark.lean
def test_only_changed_files_are_proved(project, turnstile):
    (project / "Edited.lean").write_text("theorem e : False := by\n  sorry\n" + SORRY.format("edited"))
    done = turnstile("prove", "--changed", "--budget", 4, "--workers", 1, "--format", "github")
    lines = done.out.splitlines()
    assert done.code == 1, done.err
    assert [line.split(":: ")[0].split("::")[1] for line in lines] == [
        "warning file=Edited.lean,line=2,title=e",
        "notice file=Edited.lean,line=4,title=edited",
        "notice file=New ?.lean,line=2,title=new".replace("?", "é"),
    ]
    assert all(
        f"::{outcome} in " in line for line, outcome in zip(lines, ("", "proved", "proved"), strict=True) if outcome
    )
    done = turnstile("prove", "New é.lean", "--budget", 4, "--workers", 1, "--format", "lsp")
    assert done.code == 0
    ((file, (diagnostic,)),) = [(f["uri"], f["diagnostics"]) for f in json.loads(done.out)]
    assert file == (project / "New é.lean").as_uri()
    assert diagnostic["range"]["start"] == {"line": 1, "character": 0} and diagnostic["severity"] == 3
    assert diagnostic["message"].startswith("new: proved in ")


def test_annotations_cannot_be_ended_from_inside():
    line = github("warning", "a,b:c.lean", 3, 2, "x::error::\ny", "50 %\n::error file=z::forged\x1b[0m\r")
    assert line == (
        "::warning file=a%2Cb%3Ac.lean,line=3,col=2,title=x%3A%3Aerror%3A%3A y::50 %25%0A::error file=z::forged?[0m"
    )
