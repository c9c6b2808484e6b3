"""Files that commands write never destroy what a user made."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prover.commands.prove import _fingerprint, prove
from prover.commands.prove_output import show
from prover.console import plain
from prover.errors import UserError
from prover.files import check_writable, write_whole
from prover.lean.project import Imports, Project
from prover.lean.text import read
from prover.progress import progress
from prover.solve import project
from prover.solve.extraction import inputs_of
from prover.solve.job import Found
from prover.solve.lean_file import write_over
from prover.solve.options import ProveOptions, Settings
from prover.solve.results import Results, read_results
from prover.solve.session import page_written

ASKED = {"input": "x"}


def row(key: str, **more: Any) -> dict[str, Any]:
    return {"key": key, "outcome": "budget", "lean_calls": 1, **more}


def test_a_file_that_another_process_writes_to_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    log = Results(path, ASKED, False)
    log.add(row("a"))
    with path.open("a") as other:
        other.write('{"key": "b", "outc')  # the first process is in the middle of a line
    before = path.read_bytes()
    for resume in (True, False):
        with pytest.raises(UserError, match="another turnstile process is writing"):
            Results(path, ASKED, resume)
    assert path.read_bytes() == before
    log.close()
    again = Results(path, ASKED, True)
    assert list(again.rows) == [("a", 0)] and path.read_text().endswith("}\n"), "a half line of the dead is cut off"
    again.close()


def test_a_file_that_a_kill_left_in_its_first_line_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"turnstile_results": 2, "inp')
    Results(path, ASKED, True).close()
    assert json.loads(path.read_text())["input"] == "x"
    path.write_text("notes of mine")
    with pytest.raises(UserError, match="not a results file"):
        Results(path, ASKED, True)
    assert path.read_text() == "notes of mine"


def test_a_retry_needs_results(tmp_path: Path) -> None:
    path = tmp_path / "missing.jsonl"
    with pytest.raises(UserError, match="missing.jsonl: no such results file to retry"):
        Results(path, ASKED, True, retry=True)
    assert not path.exists()


def test_the_table_says_why_a_proof_was_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    task = {"line": 1, "name": "t", "lean_calls": 1, "remarks": [], "proof": "simp", "reason": "axiom: x"}
    tasks = [{**task, "outcome": "rejected"}, {**task, "outcome": "proved", "proof": "rfl", "reason": ""}]
    show({"tasks": tasks, "proved": 1, "total": 2, "seconds": 1.0, "lean": "Lean"}, "text")
    shown = capsys.readouterr().err
    assert "axiom: x" in shown and "rfl" in shown and "simp" not in shown


@pytest.mark.parametrize("calls", ["1e999", "-Infinity", "NaN", '"x"', "null"])
def test_lean_calls_are_a_number(calls: str, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Results(path, ASKED, False).close()
    path.write_text(f'{path.read_text()}{{"key": "a", "outcome": "budget", "lean_calls": {calls}}}\n')
    for read_again in (lambda: read_results(path), lambda: Results(path, ASKED, True)):
        with pytest.raises(UserError, match=r"results\.jsonl:2: not a results file"):
            read_again()


def test_half_a_surrogate_pair_ends_nothing(tmp_path: Path) -> None:
    log = Results(tmp_path / "results.jsonl", ASKED, False)
    log.add(row("a", outline="simp \ud800"))
    log.close()
    assert "simp ?" in (tmp_path / "results.jsonl").read_text()


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_whole(pipe, b"page")
    reader.join(120)
    assert got == [b"page"] and pipe.is_fifo()


def test_standard_output_may_be_a_pipe_without_a_path(tmp_path: Path) -> None:
    read, write = os.pipe()
    link = tmp_path / "stdout"  # as /dev/stdout, which the tests' own output does not make a pipe
    link.symlink_to(f"/proc/self/fd/{write}")
    check_writable(link)
    write_whole(link, b"page")
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == b"page"
    assert link.is_symlink()


def test_a_file_edited_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "A.lean"
    path.write_text("theorem t : True := by sorry\n")
    text = read(path)
    assert write_over(text, b"filled") == path and path.read_text() == "filled"
    assert write_over(text, b"filled again") == tmp_path / "A.lean.filled"
    assert path.read_text() == "filled" and (tmp_path / "A.lean.filled").read_text() == "filled again"


@pytest.mark.parametrize("option", ["--in-place", "--out"])
@pytest.mark.parametrize("interrupted", [True, False])
def test_a_filled_file_over_its_original(
    option: str, interrupted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turnstile: Callable
) -> None:
    """An interrupted run leaves the file that its results describe, and a finished one does not overwrite an edit."""
    path = tmp_path / "A.lean"
    path.write_text("theorem t : True := by sorry\n")
    out = ["--in-place"] if option == "--in-place" else ["--out", tmp_path / "." / "A.lean"]

    async def fake(*asked: object) -> tuple[dict[str, Any], bytes]:
        if not interrupted:
            path.write_text("edited")
        answer: dict[str, Any] = {"tasks": [], "proved": 0, "total": 0, "seconds": 0.0, "lean": "", "failure": None}
        return {**answer, "interrupted": interrupted}, b"filled"

    monkeypatch.setattr("prover.commands.prove._file", fake)  # the real one is interrupted by a signal
    done = turnstile("prove", path, *out, "--results", tmp_path / "r.jsonl", "--json")
    if interrupted:
        assert done.code == 130 and "--resume continues" in done.err and "sorry" in path.read_text()
    else:
        assert done.code == 0 and path.read_text() == "edited", done
        assert (tmp_path / "A.lean.filled").read_text() == "filled"


def test_locks_and_copies_of_editors_are_no_files_of_a_project(tmp_path: Path) -> None:
    (tmp_path / "lakefile.toml").write_text('name = "p"\n')
    (tmp_path / "A.lean").write_text("theorem t : True := by sorry\n")
    (tmp_path / ".#A.lean").symlink_to("nobody@nowhere.1")
    (tmp_path / "._A.lean").write_bytes(b"\x00\x05")
    (tmp_path / "Folder.lean").mkdir()
    assert Project(tmp_path).files() == [tmp_path / "A.lean"]


def test_pages_of_several_files_stand_beside_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Found("budget", page="<html>")
    alone = Settings(tree=tmp_path / "t.html")
    page_written(alone, found, "a", 0, 1)
    assert (tmp_path / "t.html").read_text() == "<html>"
    many = Settings(tree=tmp_path / "pages", project=True)
    for name in ("A-x", "B-x", "A-x"):  # the last, of a run that went on
        page_written(many, found, name, 0, 1)
    assert sorted(p.name for p in (tmp_path / "pages").iterdir()) == ["0001-A-x.html", "0001-B-x.html"]
    (tmp_path / "taken").write_text("mine")
    page_written(Settings(tree=tmp_path / "taken", project=True), found, "x", 0, 1)
    assert (tmp_path / "taken").read_text() == "mine" and "no page of x" in capsys.readouterr().err


def test_names_do_nothing_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plain("a\x1b[31m\nb") == "a\\x1b[31m b"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress(1, "theorems") as report:
        report("a[/b] [bold", "proved", 1)


@pytest.mark.parametrize("kept", [True, False])
def test_an_interrupted_project_can_be_gone_on_with(
    kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a results file the sources stay unchanged, since the results refer to them; without one, found proofs are written."""
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "lakefile.toml").write_text('name = "p"\n')
    source = "theorem t : True := by sorry\n"
    for name in ("A", "B"):
        (folder / f"{name}.lean").write_text(source)

    async def fake(
        text: Any, settings: Any, log: Any, executor: Any, project: Any, done: Any
    ) -> tuple[dict[str, Any], bytes, Any]:
        answer = {
            "interrupted": "B.lean" in text.path,
            "lean": "",
            "failure": None,
            "proved": 1,
            "total": 1,
            "tasks": [{"outcome": "proved"}],
            "errors": [],
            "unreached": [],
            "spent": 0,
        }
        return answer, b"filled", None

    monkeypatch.setattr(project, "prove_file", fake)  # the real one is interrupted by a signal
    monkeypatch.setattr(project, "executor_for", lambda *asked: contextlib.nullcontext())
    monkeypatch.setattr(project, "use_project", lambda folder: False)
    log = Results(tmp_path / "results.jsonl" if kept else None, ASKED, False)
    document = asyncio.run(project.prove_project(Project(folder), Settings(in_place=True, project=True), log))
    log.close()
    assert document["interrupted"]
    assert {(folder / f"{n}.lean").read_text() for n in ("A", "B")} == {source if kept else "filled"}


def test_files_stay_in_order_when_lean_has_them_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With native Lean a project's own modules are compiled and are not read as source."""
    (tmp_path / "lakefile.toml").write_text('name = "p"\n')
    (tmp_path / "A.lean").write_text("import Z\ntheorem a : True := by sorry\n")
    (tmp_path / "Z.lean").write_text("theorem z : True := by sorry\n")
    seen: list[str] = []
    totals: list[int] = []

    async def fake(
        text: Any, settings: Any, log: Any, executor: Any, project: Any, done: Any
    ) -> tuple[dict[str, Any], bytes, Any]:
        seen.append(Path(text.path).name)
        totals.append(settings.total_budget)
        answer: dict[str, Any] = {key: [] for key in ("tasks", "errors", "unreached")}
        return (
            {**answer, "interrupted": False, "lean": "", "failure": None, "proved": 0, "total": 0, "spent": 40},
            b"",
            None,
        )

    def compiled(folder: Path) -> bool:
        monkeypatch.setattr(project, "imports_of", lambda text, project: Imports(text.imports))
        return True

    monkeypatch.setattr(project, "prove_file", fake)
    monkeypatch.setattr(project, "executor_for", lambda *asked: contextlib.nullcontext())
    monkeypatch.setattr(project, "use_project", compiled)
    settings = Settings(project=True, total_budget=100)
    asyncio.run(project.prove_project(Project(tmp_path), settings, Results(None, ASKED, False)))
    assert seen == ["Z.lean", "A.lean"]
    assert totals == [50, 60], "calls that a file has not spent go to later files"


@pytest.mark.parametrize("target", ["statement", "file", "project"])
def test_lean_is_installed_where_ctrl_c_works(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in an event loop, which would not answer signals during the installation."""

    def install(*_: object) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise UserError("no event loop runs") from None
        raise AssertionError("an event loop runs")

    (tmp_path / "lakefile.toml").write_text('name = "p"\n')
    (tmp_path / "A.lean").write_text("theorem a : 1 = 1 := by sorry\n")
    targets = {
        "statement": (None, ": True"),
        "file": (str(tmp_path / "A.lean"), None),
        "project": (str(tmp_path), None),
    }
    target_, statement = targets[target]
    monkeypatch.setattr("prover.lean.runtime._found", install)
    with pytest.raises(UserError, match="no event loop runs"):
        prove(ProveOptions(target=target_, statement=statement))


def test_what_is_kept_of_a_file_depends_on_its_compiled_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for native Lean: `B.olean` is not read."""
    for name, text in {"lakefile.toml": 'name = "p"\n', "A.lean": "import C\n", "C.lean": "import B\n"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("prover.lean.project._compiled", lambda: True)
    monkeypatch.setenv("LEAN_PATH", str(tmp_path))
    keys: set[str] = set()
    for source, compiled in (
        ("def b := 1\n", "1"),
        ("def b := 2\n", "1"),
        ("def b := 2\n", "2"),
        ("def b := 2\n", "2"),
    ):
        (tmp_path / "B.lean").write_text(source)
        (tmp_path / "B.olean").write_text(compiled)
        file = next(f for f in inputs_of(str(tmp_path))[0] if f.file == "A.lean")
        keys |= {file.key("Lean", False), _fingerprint(file.text, [])}
    assert len(keys) == 3 * 2
