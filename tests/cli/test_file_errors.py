"""Files with errors: what does not rest on them is proved, and nothing that does is reported as proved."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from prover.lean.server import LeanServer
from prover.lean.sorries import load_file
from prover.lean.text import parse
from prover.solve.fill import Filler

pytestmark = pytest.mark.lean

BROKEN = """theorem before (n : Nat) : n + 0 = n := by sorry
theorem bad_proof (n : Nat) : n = n := by
  constructor
  · exact nothing_here
  · sorry
theorem bad_statement (n : Nat) : n = "a" := by sorry
def badDef (n : Nat) : Nat := n + "a"
structure Foo where
  x : Nat → Undefined.Thing
theorem about_foo (a b : Foo) : a = a := by sorry
theorem about_def (n : Nat) : badDef n = badDef n := by sorry
theorem uses_bad : ∀ n : Nat, n = n := by
  intro n
  have h := bad_proof n
  sorry
structure Derived where
  f : Nat → Nat
deriving NoSuchClass
theorem between : 2 + 2 = 4 := by sorry
namespace Derived
variable (d : Derived)
theorem about_d : d = d := by sorry
end Derived
def indirect := Derived
theorem about_indirect (b : indirect) : b = b := by sorry
inductive Lost where | a : No.Such → Lost
theorem bound_by_lean (x : Lost) : x = x := by sorry
theorem parse_error (n : Nat) : n = := by sorry
variable (k : NoSuch
theorem about_k : k = k := by sorry
inductive Col | red | green
instance : Add Col := ⟨fun a b => a + 1⟩
theorem about_instance (a b : Col) : a + b = a + b := by sorry
example : (1 : Nat) = 2 := by decide
#eval undefined_thing
namespace N
theorem bad_proof' (p q : Prop) (h : p ∧ q) : q ∧ p := by sorry
end N
theorem data : Nat := sorry
theorem after : 1 + 1 = 2 := by sorry
"""
RIGHT = {"before", "between", "N.bad_proof'", "after"}


def test_what_rests_on_no_error_is_proved(turnstile: Callable, tmp_path: Path) -> None:
    file, out = tmp_path / "A.lean", tmp_path / "out.lean"
    file.write_text(BROKEN)
    done = turnstile("prove", file, "--out", out, "--json", "--workers", 1)
    document = done.document
    tasks = {t["name"]: t for t in document["tasks"]}
    assert done.code == 1
    assert {n for n, t in tasks.items() if t["outcome"] == "proved"} == RIGHT, tasks
    tried = {n for n, t in tasks.items() if t["lean_calls"]}
    assert tried == RIGHT, "nothing is spent on proofs that would not count"
    assert "`Foo` (line 8)" in tasks["about_foo"]["reason"]
    assert "`Derived` (line 16)" in tasks["about_indirect"]["reason"]
    assert "its declaration has an error: line 6" in tasks["bad_statement"]["reason"]
    lines = [e["line"] for e in document["errors"]]
    assert {4, 6, 7, 9, 18, 26, 28} <= set(lines), document["errors"]
    for e in document["errors"]:
        assert f"{file}:{e['line']}:{e['column']}: " in done.err
    left = BROKEN.count("sorry") - len(RIGHT)
    assert out.read_text().count("sorry") == left


SHADOWED = """theorem Foo.n : 1 = 2 := by decide
theorem fine (n : Nat) : n + 0 = n := by sorry
theorem also_fine : ∀ n : Nat, n + 0 = n := by sorry
theorem Foo.comm : 1 = 2 := by decide
theorem fine_too (a b : Nat) (comm : a = b) : b = a := by sorry
theorem p : 1 = 2 := by decide
theorem fine_as_well (p q : Prop) (h : p ∧ q) : q ∧ p := by sorry
theorem Foo.inside : n = n := by sorry
def Foo.Lost : Type := No.Such
structure Gone where
  x : No.Such → Undefined.Thing
namespace Foo
theorem still_fine {n : Nat} : n + 0 = n := by sorry
theorem lost (x : Lost) : x = x := by sorry
end Foo
open Foo
theorem lost' (x : Lost) : x = x := by sorry
theorem gone (x : Gone) (Gone : Nat) : x = x := by sorry
theorem gone' (h : ∀ Gone : Nat, Gone = Gone) (x : Gone) : x = x := by sorry
"""


def test_a_bound_name_is_not_that_of_a_declaration_with_an_error(turnstile: Callable, tmp_path: Path) -> None:
    file = tmp_path / "A.lean"
    file.write_text(SHADOWED)
    tasks = turnstile("prove", file, "--json", "--workers", 1).document["tasks"]
    right = {"fine", "also_fine", "fine_too", "fine_as_well", "Foo.still_fine"}
    assert {t["name"] for t in tasks if t["outcome"] == "proved"} == right, tasks
    assert {t["name"] for t in tasks if t["lean_calls"]} == right


def test_a_proof_that_uses_what_has_an_error_is_refused() -> None:
    """The audit alone refuses them too, whatever was tried."""
    source = (
        "theorem bad (p : Prop) : p := by exact nothing\n"
        "theorem lie : 1 = 2 := by sorry\n"
        "theorem own : 2 = 3 := by\n  have h : 2 = 3 := nonsense\n  sorry\n"
        "theorem good : 1 = 1 := by sorry\n"
        "theorem open_ : 3 = 4 := by sorry\n"
    )
    text = parse(source.encode(), "x.lean")

    async def work() -> tuple[list[str], dict[int, str], set[int]]:
        async with LeanServer() as server:
            found, _ = await load_file(server, text)
        assert [(e.line, e.column) for e in found.errors] == [(1, 39), (4, 20)]
        async with Filler(text, found.holes, lenient=True) as filler:
            filled = await filler.settle({0: "exact bad _", 1: "exact h", 2: "rfl"})
        return [h.name for h in found.holes], filled.refused, set(filled.texts)

    names, refused, kept = asyncio.run(work())
    assert names == ["lie", "own", "good", "open_"]
    assert kept == {2} and refused[0].startswith("sorry") and refused[1].startswith("elaboration")


def test_a_file_in_which_nothing_can_be_tried(turnstile: Callable, tmp_path: Path) -> None:
    file = tmp_path / "A.lean"
    file.write_text("theorem x : foo 1 := by sorry\ntheorem fine : True := trivial\ntheorem y : = 2 := by sorry\n")
    done = turnstile("prove", file)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.strip().splitlines()
    assert f"{file}:1:12: " in line and "errors at line 3" in line and "correct the errors first" in line


def test_files_of_a_project_with_errors(turnstile: Callable, tmp_path: Path) -> None:
    """A file with an error is filled; a file that imports it cannot be loaded. A retry takes up what is open."""
    folder, out, results = tmp_path / "p", tmp_path / "out", tmp_path / "r.jsonl"
    folder.mkdir()
    (folder / "lakefile.toml").write_text('name = "p"\n')
    easy = "theorem base (p q : Prop) (h : p ∧ q) : q ∧ p := by sorry\n"
    (folder / "Base.lean").write_text(f"theorem wrong : True := nothing\n{easy}")
    (folder / "Top.lean").write_text("import Base\ntheorem top (n : Nat) : n = n := by sorry\n")
    arguments = ("prove", folder, "--out", out, "--results", results, "--json", "--workers", 1)
    first = turnstile(*arguments, "--budget", 1)
    assert first.code == 1 and [t["outcome"] for t in first.document["tasks"]] == ["budget"]
    base, top = first.document["files"]
    assert base["errors"][0]["line"] == 1 and not base["reason"] and "Base.lean:1:24" in top["reason"]
    refused = turnstile(*arguments, "--budget", 30, "--resume")
    assert refused.code == 2 and "--retry" in refused.err
    (task,) = turnstile(*arguments, "--budget", 30, "--retry").document["tasks"]
    assert task["outcome"] == "proved" and task["lean_calls"] > 1
    assert "sorry" not in (out / "Base.lean").read_text()
    again = turnstile(*arguments, "--budget", 30, "--resume").document["tasks"]
    assert [t["lean_calls"] for t in again] == [task["lean_calls"]], "nothing is searched again"
    assert sum("turnstile_results" in json.loads(x) for x in results.read_text().splitlines()) == 2
