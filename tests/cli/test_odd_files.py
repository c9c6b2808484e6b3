"""Inputs that are not regular files, and files that grow: refused in one line, before Lean starts, and never read without end."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prover import files
from prover.errors import UserError
from prover.files import read_file, read_lines
from prover.jsonl import json_rows
from prover.lean.process import LeanProcess
from prover.lean.project import Project
from prover.lean.text import MAX_BYTES, module_name, read

PROOF = "theorem t : True := trivial\n"


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))


def _itself(path: Path) -> None:
    path.symlink_to(path.name)


ODD: dict[str, Callable[[Path], None]] = {
    "a link to a device": _endless,
    "a pipe": _pipe,
    "a folder": _folder,
    "a socket": _socket,
    "a link to itself": _itself,
}
USES: dict[str, tuple[str, Callable[[Path], list[object]]]] = {
    "verify a file": ("A.lean", lambda p: ["verify", p]),
    "verify against": ("A.lean", lambda p: ["verify", p.with_name("good.lean"), "--against", p]),
    "verify rows": ("A.jsonl", lambda p: ["verify", "--jsonl", p]),
    "prove a file": ("A.lean", lambda p: ["prove", p]),
    "prove a set": ("A.jsonl", lambda p: ["prove", p]),
    "verify a run": ("ledger.sqlite", lambda p: ["verify", p.parent]),
    "report on a run": ("ledger.sqlite", lambda p: ["report", p.parent]),
    "a run's configuration": ("config.toml", lambda p: ["train", p]),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("what", ODD)
def test_an_irregular_file_is_refused(
    turnstile: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, use: str
) -> None:
    processes: list[object] = []
    monkeypatch.setattr(LeanProcess, "__init__", lambda self, *args, **options: processes.append(args))
    name, command = USES[use]
    (tmp_path / "good.lean").write_text(PROOF)
    ODD[what](tmp_path / name)
    done = turnstile(*command(tmp_path / name))
    assert done.code == 2 and done.out == "", done
    said = done.err.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("turnstile: ") and str(tmp_path) in said[0], done.err
    assert not processes, "refused before a Lean process is made"


@pytest.mark.timeout(60)
def test_a_file_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "A.lean"
    path.write_bytes(PROOF.encode())
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab") as f:
            while not stop.is_set() and f.tell() < 20 * MAX_BYTES:
                f.write(b"-- more\n" * 100_000)
                f.flush()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        while path.stat().st_size < MAX_BYTES:
            time.sleep(0.01)
        with pytest.raises(UserError, match="larger than 8 MiB"):
            read(path)
        began, last = path.stat().st_size, 0
        for _, line in read_lines(path):
            last += len(line)
        assert last <= path.stat().st_size and began <= last
    finally:
        stop.set()
        writer.join()


def test_a_file_is_not_read_beyond_its_first_size(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(b"{}\n{}\n")
    seen = 0
    for _ in read_lines(rows):
        seen += 1
        with rows.open("ab") as f:
            f.write(b"{}\n")
    assert seen == 2


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 1000)
    (tmp_path / "rows.jsonl").write_bytes(b"{}\n" + b"x" * 5000)
    with pytest.raises(UserError, match=r"rows\.jsonl:2: the line is longer"):
        list(read_lines(tmp_path / "rows.jsonl"))


@pytest.mark.parametrize("before", [b"", b" \n" * 100_000])
def test_an_array_may_be_one_long_line(before: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`json.dump` writes a data set on one line, which has the size limit of a whole file."""
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 1000)
    array = tmp_path / "set.json"
    array.write_bytes(before + json.dumps([{"name": f"t{i}"} for i in range(200)]).encode())
    assert [row["name"] for row, _ in json_rows(array)] == [f"t{i}" for i in range(200)]
    array.write_bytes(before)
    assert list(json_rows(array)) == []


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to("a")
    assert read_file(path, 100) == read_file(tmp_path / "link", 100) == b"x" * 100
    with pytest.raises(UserError, match="larger"):
        read_file(path, 99)
    (tmp_path / "rows").write_bytes(b"a\n\nb")
    assert list(read_lines(tmp_path / "rows")) == [(1, b"a\n"), (2, b"\n"), (3, b"b")]


# -- modules' names, and what a project may name ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "«/tmp/Evil»",
        "«..».«..».Evil",
        "«..»",
        "«a.b»",
        "A.«»",
        "«a/b»",
        "«a\\b»",
        "«a\0b»",
        "«a\nb»",
        "../Evil",
        "A..B",
        "",
        ".",
        "«c:x»",
        "A.«x»y",
    ],
)
def test_invalid_module_names_are_refused(written: str) -> None:
    with pytest.raises(UserError, match="not a module name"):
        module_name(written, "A.lean:1")


def test_valid_module_names() -> None:
    written = ["Init", "A.B.C", "A.«foo-bar».B", "Été.x₁'", "«with space»"]
    assert [module_name(w, "") for w in written] == ["Init", "A.B.C", "A.foo-bar.B", "Été.x₁'", "with space"]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "lakefile.toml").write_text('name = "p"\n')
    (folder / "A.lean").write_text("theorem a : True := by sorry\n")
    (tmp_path / "X.lean").write_text("theorem secret : True := trivial\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/Y.lean").write_text("theorem secret : True := trivial\n")
    yield folder


def _import(text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "A.lean").write_text(text.replace("HERE", str(folder.parent)) + "\ntheorem a : True := by sorry\n")

    return change


def _link_out(folder: Path) -> None:
    (folder / "B.lean").symlink_to("../X.lean")


def _folder_link_out(folder: Path) -> None:
    (folder / "Sub").symlink_to("../elsewhere")
    _import("import Sub.Y")(folder)


def _lakefile(text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "lakefile.toml").write_text(text.replace("HERE", str(folder.parent)))
        _import("import Y")(folder)

    return change


def _lakefile_out(folder: Path) -> None:
    (folder / "lakefile.toml").rename(folder.parent / "other.toml")
    (folder / "lakefile.toml").symlink_to("../other.toml")
    _import("import B")(folder)


OUT: dict[str, Callable[[Path], None]] = {
    "an absolute import": _import("import «HERE/X»"),
    "an import that goes up": _import("import «..».X"),
    "an import that goes up in one part": _import("import «../X»"),
    "a file that is a link": _link_out,
    "a folder that is a link": _folder_link_out,
    "an absolute srcDir": _lakefile('name = "p"\nsrcDir = "HERE/elsewhere"\n'),
    "a srcDir that goes up": _lakefile('name = "p"\n[[lean_lib]]\nname = "L"\nsrcDir = "../elsewhere"\n'),
    "a lakefile that is a link": _lakefile_out,
}


@pytest.mark.parametrize("command", ["verify", "prove"])
@pytest.mark.parametrize("how", OUT)
def test_a_project_names_no_file_outside(turnstile: Any, project: Path, how: str, command: str) -> None:
    OUT[how](project)
    done = turnstile(command, project)
    assert done.code == 2 and done.out == "", done
    said = [line for line in done.err.strip().splitlines() if "left out" not in line]
    assert len(said) == 1 and said[0].startswith("turnstile: ") and "secret" not in done.err, done.err


def test_links_within_a_project(project: Path) -> None:
    (project / "B.lean").symlink_to("A.lean")
    assert [p.name for p in Project(project).files()] == ["A.lean", "B.lean"]


@pytest.mark.lean
def test_rows_name_no_file_either(turnstile: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    for name in ("../Evil", "/tmp/Evil", "A/B", ".."):
        rows.write_text(json.dumps({"name": "t", "statement": ": True", "proof": "trivial", "imports": [name]}) + "\n")
        done = turnstile("verify", "--jsonl", rows, "--json")
        assert done.code == 1 and "not a module name" in done.lines[0]["reason"], done
