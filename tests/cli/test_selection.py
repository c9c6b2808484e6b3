"""Naming a single `sorry`: by name, by line, on standard input; and the `sorry`s that nobody can prove."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from prover.errors import UserError
from prover.lean.sorries import FileSorries, Hole
from prover.lean.text import LeanText, parse
from prover.progress import Pace
from prover.solve.selection import select, unreached
from prover.solve.with_lemmas import move_lines

SOURCE = """theorem one : 1 = 1 := by sorry
namespace A.B
theorem two
    (n : Nat) : n = n ∧ n = n := by
  constructor
  · sorry
  · sorry
theorem one : 2 = 2 := by sorry
end A.B
example : 3 = 3 := by sorry
"""


def holes(text: LeanText, names: list[str]) -> list[Hole]:
    data = text.text.encode()
    found, at = [], 0
    for name in names:
        at = data.index(b"sorry", at)
        found.append(Hole(name, text.line(at), 0, at, at + 5, True, ("⊢ True",), True))
        at += 5
    return found


TEXT = parse(SOURCE.encode(), "A.lean")
HOLES = holes(TEXT, ["one", "A.B.two", "A.B.two#2", "A.B.one", "example at line 10"])


@pytest.mark.parametrize(
    ("only", "line", "chosen"),
    [
        ((), None, [0, 1, 2, 3, 4]),
        (("one",), None, [0]),
        (("A.B.one",), None, [3]),
        (("B.one",), None, [3]),
        (("two",), None, [1, 2]),
        (("A.B.two#2",), None, [2]),
        (("A.B.two", "example at line 10", "one"), None, [0, 1, 2, 4]),
        ((), 6, [1]),
        ((), 3, [1, 2]),
        ((), 4, [1, 2]),
        ((), 8, [3]),
        (("two",), 3, [1, 2]),
    ],
)
def test_a_name_or_a_line_chooses(only: tuple[str, ...], line: int | None, chosen: list[int]) -> None:
    assert select(TEXT, HOLES, only, line) == chosen


@pytest.mark.parametrize(
    ("only", "line", "said"),
    [
        (("three",), None, "A.lean has no `sorry` in three; it has some in one, A.B.two, A.B.one, example at line 10"),
        (("two#3",), None, "no `sorry` in two#3"),
        ((), 2, "A.lean:2: no `sorry` there; the file has one at line 1, 6, 7, 8, 10"),
        ((), 900, "A.lean:900: no `sorry` there"),
    ],
)
def test_what_does_not_exist(only: tuple[str, ...], line: int | None, said: str) -> None:
    with pytest.raises(UserError) as error:
        select(TEXT, HOLES, only, line)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("only", "line"), [((), 3), (("t",), None)])
def test_a_file_without_sorries(only: tuple[str, ...], line: int | None) -> None:
    with pytest.raises(UserError, match="^A.lean: has no `sorry`; leave out"):
        select(parse(b"", "A.lean"), [], only, line)


def test_long_lists_are_cut() -> None:
    text = parse(b"theorem t : True := by sorry\n" * 100, "A.lean")
    with pytest.raises(UserError, match="t0, t1, .* t11 and 88 more"):
        select(text, holes(text, [f"t{i}" for i in range(100)]), ("u",), None)


def test_a_macro_is_named() -> None:
    source = 'macro "todo" : tactic => `(tactic| sorry)\nnamespace A\ntheorem b : 1 = 1 := by\n  todo\n'
    text = parse((source + "theorem c : 1 = 1 := by first | rfl | sorry\n").encode(), "A.lean")
    found = unreached(text, FileSorries([], (), ("A.b",)))
    assert [(f["line"], f["name"], f["used"]) for f in found] == [(1, "", False), (3, "A.b", True), (5, "c", False)]
    assert "macro" in found[0]["reason"] and "write `sorry` itself" in found[1]["reason"]


def test_the_admit_of_an_instance_without_a_name_has_no_line() -> None:
    text = parse(
        "instance : Inhabited Nat := ⟨by admit⟩\ntheorem t : True := by first | trivial | sorry\n".encode(), "A.lean"
    )
    found = unreached(text, FileSorries([], (), ("instInhabitedNat",)))
    move_lines({"tasks": [{"line": 1}], "errors": [], "unreached": found}, 1, 1)
    assert [(f["line"], f["name"]) for f in found] == [(None, "instInhabitedNat"), (1, "t")]


def test_found_proofs_are_counted_before_the_audit() -> None:
    pace = Pace(3)
    assert "0 proved" in pace.text()
    pace.add("found", 1)
    assert "1 found, not yet audited" in pace.text() and "proved" not in pace.text()
    pace.add("proved", 1)
    assert "1 proved, 1 found" in pace.text()


def test_options_that_do_not_fit(turnstile: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"theorem t : True := by sorry\xff\n")))
    assert "<stdin>:1: byte 29 is not UTF-8" in turnstile("prove", "-").err
    assert "--in-place" in turnstile("prove", "-", "--in-place").err
    assert "nowhere.lean: no such file" in turnstile("prove", tmp_path / "nowhere.lean:3").err
    rows = tmp_path / "x.jsonl"
    rows.write_text('{"name": "a", "statement": ": 1 = 1"}\n')
    done = turnstile("prove", rows, "--only", "b")
    assert done.code == 2 and "no theorem has this name; the input has a" in done.err
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "lakefile.toml").write_text("")
    (tmp_path / "p" / "A.lean").write_text("theorem t : True := by sorry\n")
    assert "--only is for one input" in turnstile("prove", tmp_path / "p", "--only", "t").err
    for option, value in (("--imports", "Std"), ("--fields", "statement=x"), ("--sources", tmp_path)):
        done = turnstile("prove", tmp_path / "p", option, value)
        assert done.code == 2 and done.err.startswith(f"turnstile: {option} is not for Lake projects"), done


@pytest.mark.lean
def test_standard_input_is_filled(
    turnstile: Callable, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    source = SOURCE + "theorem " + "long" * 40 + " : 1 = 1 := by admit\n"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(source.encode())))
    done = turnstile("prove", "-", "--only", "A.B.two,example at line 10", "--workers", 1)
    assert done.code == 1, "the last theorem rests on a macro"
    filled = done.out
    assert filled.count("sorry") == 2 and filled.startswith(SOURCE.split("constructor")[0])
    assert "long" * 40 in done.err and "3 of 3 proved" in done.err and "A.B.two#2" in done.err


def test_a_name_is_found_with_and_without_its_marks() -> None:
    named = holes(TEXT, ["at", "A.«a,b»"])
    for only, chosen in (("«at»", 0), ("at", 0), ("a,b", 1), ("A.«a,b»", 1)):
        assert select(TEXT, named, (only,), None) == [chosen]
