"""A file with sorries in awkward places: all are found, filled without other changes, and audited together."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prover.lean.server import LeanServer
from prover.lean.sorries import Hole, load_file
from prover.lean.text import code_words, parse
from prover.solve.fill import Filler
from prover.solve.marks import mark

pytestmark = pytest.mark.lean

AWKWARD = """/- sorry /- sorry -/ -/
import Init
-- sorry

/-- sorry: a doc comment -/
def text := "sorry \\" sorry" ++ r#"sorry"#

namespace «odd name»
variable (p q : Prop)

theorem inline (h : p ∧ q) : q ∧ p := by sorry --1
theorem term : 1 + 1 = 2 := sorry --2
theorem block (h : p ∧ q) : q ∧ p := by
  sorry --3
private theorem hidden (n : Nat) : n + 0 = n := by sorry --4
theorem «ünï ⊢» (α : Type) (β₁ : α) : β₁ = β₁ := by sorry --5
end «odd name»

mutual
theorem ev (n : Nat) : n = n := by sorry --6
theorem od (n : Nat) : n + 0 = n := by sorry --7
end

theorem bullets (n : Nat) : n + 0 = n ∧ True := by
  constructor
  · sorry --8
  · have h : 0 = 0 := sorry --9
    exact (by sorry) --10

instance named : Inhabited (Fin 3) where
  default := ⟨0, by sorry⟩ --11

theorem both (p q : Prop) : p ∧ q → q ∧ p := by
  intro h
  constructor <;> sorry --12

example : 2 = 2 := by sorry --13
def data : Nat := sorry --14

theorem outer : 5 = 5 := by
  exact inner
where
  inner : 5 = 5 := by sorry --15

theorem recursion (n : Nat) : n = n := by
  induction n with
  | zero => sorry --16
  | succ n ih => exact sorry --17

theorem witness : ∃ n : Nat, n = 3 := ⟨3, sorry⟩ --18
theorem steps (n : Nat) : n + 0 = n := calc
  n + 0 = n := by sorry --19
  _ = n := sorry --20

theorem hard (f : Nat → Nat) (h : ∀ x, f x = 0) : f = fun _ => 1 := by sorry --21
theorem uses (n : Nat) : n = n ∧ n + 0 = n := ⟨by sorry, od n⟩ --22

structure Pair where
  «first» : Nat
  ok : «first» = «first» := by sorry -- a tactic kept for later: Lean does not run it here
theorem pair_ok (p : Pair) : p.first = p.1 := by sorry --23

namespace Ἀριθμός
/-! sorry: a module's words -/
theorem «sorry not» (α' : Type) (x₁ : α') : x₁ = x₁ := by sorry --24
theorem h'sorry : 1 = 1 := by sorry --25
theorem sorry' : 1 = 1 := by sorry --26
theorem letter : 's' = 's' ∧ '"' = '"' := by sorry --27
theorem interpolated : s!"{1 + 1} sorry" = s!"{2} sorry" := by sorry --28
theorem never : 1 = 1 := by first | rfl | sorry -- Lean never comes here
protected theorem guarded : 2 + 2 = 4 := by sorry --29
end Ἀριθμός

section
variable {α : Type} [DecidableEq α] (a b : α)
include a in
theorem decided : a = b ∨ a ≠ b := by
  by_cases h : a = b
  · exact Or.inl sorry --30
  · exact Or.inr (by
      sorry) --31
end

instance : Inhabited {n : Nat // n = 2} := ⟨⟨2, sorry⟩⟩ --32

theorem deep (p q r : Prop) (hp : p) (hq : q) (hr : r) : p ∧ q ∧ r := by
  have h₁ : p ∧ q := by
    have h₂ : p := by
      have h₃ : True := by sorry --33
      sorry --34
    exact ⟨h₂, sorry⟩ --35
  refine ⟨h₁.1, ?_, ?_⟩
  all_goals sorry --36

theorem by_match (n : Nat) : n = n := match n with
  | 0 => sorry --37
  | k + 1 => by sorry --38

theorem shows : 3 = 3 := by
  show 3 = 3; sorry --39
theorem suffice (p : Prop) (h : p) : p := by
  suffices g : p by exact g
  exact (sorry : p) --40
theorem rewritten (a b : Nat) (h : a = b) : b = a := by
  obtain rfl := h
  sorry --41
theorem case_tags (p : Prop) (h : p ∨ p) : p := by
  cases h
  case inl h => sorry --42
  case inr h =>
    next => sorry --43
theorem conversion (a : Nat) : a + 0 = a := Eq.trans (by sorry : a + 0 = a) rfl --44
theorem anonymous_have : 1 + 1 = 2 := have : 1 = 1 := sorry; by sorry --45 46
theorem implicit : ∀ {n : Nat}, n = n := fun {_} => sorry --47
theorem lambda : ∀ n : Nat, n = n := fun n => by sorry --48
@[simp] theorem attributed (n : Nat) : n * 1 = n := by sorry --49
set_option maxRecDepth 1000 in
theorem last : True := by sorry --50"""

LINES = {
    int(number): line
    for line, text in enumerate(AWKWARD.split("\n"), 1)
    if (m := re.search(r"--([\d ]+)$", text)) is not None
    for number in m.group(1).split()
}
UNPROVED = {14, 21}


@pytest.mark.parametrize("newline", ["\n", pytest.param("\r\n", marks=pytest.mark.slow)], ids=["lf", "crlf"])
def test_every_sorry_and_only_those(newline: str, turnstile: Callable, tmp_path: Path) -> None:
    original = AWKWARD.replace("\n", newline).encode()
    file, out, log = tmp_path / "awkward.lean", tmp_path / "out.lean", tmp_path / "results.jsonl"
    file.write_bytes(original)
    done = turnstile("prove", file, "--out", out, "--json", "--workers", 1, "--resume")
    document = done.document
    assert [t["line"] for t in document["tasks"]] == [LINES[i + 1] for i in range(len(LINES))]
    outcomes = {i + 1: t["outcome"] for i, t in enumerate(document["tasks"])}
    assert {i for i, o in outcomes.items() if o != "proved"} == UNPROVED, document["tasks"]
    assert outcomes[14] == "data"
    assert (done.code, document["proved"], document["total"]) == (1, 48, 50)
    assert all(t["name"] for t in document["tasks"])
    assert file.read_bytes() == original

    # Outside of the sorries the file is the same to the byte.
    unreached = [
        i for i, x in enumerate(AWKWARD.split("\n"), 1) if "Lean never comes here" in x or "does not run it here" in x
    ]
    assert [left["line"] for left in document["unreached"]] == unreached
    places = [i for w, i in code_words(AWKWARD) if w == "sorry"]
    places = [i for i in places if AWKWARD.count("\n", 0, i) + 1 in LINES.values()]
    assert len(places) == 50
    ends = [0, *(i + len("sorry") for i in places)]
    kept = [AWKWARD[a:b].replace("\n", newline).encode() for a, b in zip(ends, [*places, len(AWKWARD)], strict=True)]
    filled = out.read_bytes()
    at = 0
    for part in kept:
        at = filled.index(part, at) + len(part)
    assert filled.startswith(kept[0]) and filled.endswith(kept[-1])
    assert not filled.endswith(b"\n")
    assert filled.count(b"\r\n") == (filled.count(b"\n") if newline == "\r\n" else 0)

    if newline == "\r\n":
        return
    # A second run takes everything from the results, searching nothing, to the same file.
    again = turnstile("prove", file, "--out", tmp_path / "again.lean", "--json", "--workers", 1, "--resume")
    assert (tmp_path / "again.lean").read_bytes() == filled
    # A line for each when it was found, and one when the file as a whole was judged.
    assert len({json.loads(x)["key"] for x in log.read_text().splitlines()[1:]}) == 50
    assert [t["lean_calls"] for t in again.document["tasks"]] == [t["lean_calls"] for t in document["tasks"]]

    # Only what rests on the two that are left is refused.
    judged = turnstile("verify", out, "--against", file, "--json")
    refused = {v["name"] for v in judged.lines if v["verdict"] != "proved"}
    assert (judged.code, refused) == (1, {"hard", "data"})


def test_proofs_that_break_the_file_are_removed() -> None:
    """Invalid proofs, among them a hidden sorry, are removed; the others stay, in a layout that Lean accepts."""
    source = (
        "theorem a : 1 = 1 ∧ 2 = 2 := by\n  constructor <;> sorry\n"
        "theorem b (p : Prop) : p → p := by first | (sorry) | skip\n"
        "theorem c : 1 = 2 := sorry\n"
        "theorem d : 3 = 3 := by sorry\n"
        "theorem e (p : Prop) (h : p) : p ∧ (p → p) := ⟨sorry, fun h => sorry⟩\n"
    )
    text = parse(source.encode(), "x.lean")

    async def work() -> tuple[list[Hole], str, dict[int, str]]:
        async with LeanServer() as server:
            holes = (await load_file(server, text))[0].holes
        scripts = {0: "rfl", 1: "intro h\nexact h", 2: "rfl", 3: "exact sorry", 4: "exact h", 5: "exact\n  h"}
        async with Filler(text, holes) as filler:
            filled = await filler.settle(scripts)
        return holes, text.to_bytes(filler.edits(filled)).decode(), filled.refused

    holes, result, refused = asyncio.run(work())
    assert [h.name for h in holes] == ["a", "b", "c", "d", "e", "e#2"]
    assert set(refused) == {2, 3}
    assert refused[2].startswith("elaboration: line 4")
    assert refused[3].startswith("sorry")
    assert result.count("sorry") == 2 and "theorem c : 1 = 2 := sorry" in result


DEFINITIONS = """def mystery (n : Nat) : Nat := sorry
def riddle (n : Nat) : Nat := sorry
theorem swap (p q : Prop) (h : p ∧ q) : q ∧ p := by sorry
theorem about (n : Nat) : mystery n ≤ mystery n + 1 := by sorry
theorem no_equal (n : Nat) : mystery n = riddle n := by sorry
theorem inside : ∃ n : Nat, n = 3 := by
  have ⟨x, hx⟩ : ∃ x : Nat, x = 3 := sorry
  let y : Nat := sorry
  exact ⟨x, sorry⟩
structure Pair where
  one : Nat
  same : 1 = 1 := sorry
def half (n : Nat) : Nat := if h : n ≤ 1 then 0 else
  have : n / 2 < n := sorry
  1 + half (n / 2)
theorem answer : half 1 = sorry := by
  sorry
"""


def test_proofs_about_data_left_open_and_inside_definitions() -> None:
    """Open data does not block other proofs; a definition stays the same when a proof in it is filled."""
    text = parse(DEFINITIONS.encode(), "x.lean")
    proofs = {
        "swap": "constructor\n· exact h.2\n· exact h.1",
        "about": "omega",
        "no_equal": "rfl",
        "inside": "exact ⟨3, rfl⟩",
        "inside#3": "exact hx",
        "Pair": "rfl",
        "half": "omega",
    }

    async def work() -> tuple[list[Hole], str, dict[int, str]]:
        async with LeanServer() as server:
            holes = (await load_file(server, text))[0].holes
        names = [h.name for h in holes]
        async with Filler(text, holes) as filler:
            filled = await filler.settle({names.index(n): script for n, script in proofs.items()})
        return holes, text.to_bytes(filler.edits(filled)).decode(), filled.refused

    holes, result, refused = asyncio.run(work())
    data = {h.name for h in holes if not h.proposition}
    assert data == {"mystery", "riddle", "inside#2", "answer"}
    assert {h.name for h in holes} == data | set(proofs) | {"answer#2"}
    assert [holes[i].name for i in refused] == ["no_equal"], "two values left open need not be one"
    assert "same : 1 = 1 := (by rfl)\n" in result, "a value, as it was, and not a tactic to be run later"
    assert result.count("sorry") == 6


def test_theorems_and_their_negations(turnstile: Callable, tmp_path: Path) -> None:
    rows = [
        {"name": "true", "statement": "(n : Nat) : n + 0 = n"},
        {"name": "false", "statement": "(n : Nat) : n = n + 1"},
        {"name": "no such thing", "statement": '(n : Nat) : n = "a"'},
        {"name": "open", "statement": "(n : Nat) : ∃ a b c d : Nat, n = a * a + b * b + c * c + d * d"},
        {"name": "commented", "statement": "(n : Nat) : n + 0 = n -- easy"},
        {"name": "unreadable", "statement": "/- a: b -/ (n : Nat) : n + 0 = n"},
        {"name": "vacuous", "context": "variable (n : Nat) (h : n < n)\ninclude h", "statement": ": n = 5"},
    ]
    file, out = tmp_path / "x.jsonl", tmp_path / "out.lean"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    done = turnstile("prove", file, "--json", "--out", out, "--workers", 1, "--disprove", "0.5")
    tasks = done.document["tasks"]
    assert done.code == 1
    assert [t["outcome"] for t in tasks][:3] == ["proved", "disproved", "error"]
    assert f"{file}:3:" in tasks[2]["reason"]
    assert tasks[3]["outcome"] == "exhausted"
    assert [t["outcome"] for t in tasks][4:] == ["proved"] * 3, tasks[4:]
    fields = {"name", "line", "outcome", "proof", "reason", "lean_calls", "seconds", "prover", "remarks", "area"}
    assert fields == set(tasks[0])
    assert "theorem true " not in out.read_text() or turnstile("verify", out).code == 0


DISPROVED = """/-- a -/
def x := 1
namespace My
inductive Nat where | zero
/-- Its own zero. -/
theorem own : Nat.zero = Nat.zero := by sorry
end My
structure E where
  x : Fin 0
set_option autoImplicit true in
theorem vacuous (h : e = (e : E)) : 1 = 2 := by sorry
@[simp] theorem bad (a b : Nat) : (a = b) = False := sorry
theorem good : 2 + 2 = 4 ∧ 1 = 1 := by sorry
open Nat in
@[simp] private theorem opened (n : Nat) : succ n = n := by sorry
theorem part (n : Nat) : n = n + 1 ∧ True := ⟨by sorry, by sorry⟩
"""


def test_only_false_theorems_are_disproved(turnstile: Callable, tmp_path: Path) -> None:
    """A disproof is of the very goal of the sorry: context, auto-bound names and earlier sorries do not change it."""
    file = tmp_path / "D.lean"
    file.write_text(DISPROVED)
    done = turnstile(
        "prove", file, "--disprove", "0.5", "--policy", "explorer", "--budget", "32", "--workers", 1, "--json"
    )
    outcomes = {t["name"]: t["outcome"] for t in done.document["tasks"]}
    disproved = {name for name, outcome in outcomes.items() if outcome == "disproved"}
    assert disproved == {"bad", "opened"}, outcomes
    assert (outcomes["My.own"], outcomes["good"]) == ("proved", "proved"), outcomes


MARKED = """theorem a (p : Prop) : p := by
  sorry
theorem b (p : Prop) : p := sorry /- not proved by Turnstile: budget, 3 Lean calls -/
theorem c (p : Prop) : p := (sorry : p ∧ p).1
theorem d (n : Nat) : n = n := by sorry /- not proved by Turnstile: budget, 3 Lean calls -/
theorem e (p : Prop) : p ∧ p := sorry.symm
"""


def test_open_sorries_are_marked_on_request(turnstile: Callable, tmp_path: Path) -> None:
    file = tmp_path / "marked.lean"
    file.write_text(MARKED.split("theorem e")[0])
    out = tmp_path / "out.lean"
    assert turnstile("prove", file, "--out", out).code == 1
    assert "3 Lean calls" in out.read_text().split("theorem c")[0], "nobody asked"
    assert turnstile("prove", file, "--out", out, "--mark-failed").code == 1
    a, b, c, d = out.read_text().split("theorem ")[1:]
    note = re.compile(r"sorry /- not proved by Turnstile: (?:disproved|exhausted), \d+ Lean calls -/")
    assert all(len(note.findall(part)) == part.count("/-") == 1 for part in (a, b, c)), "one note each, and the newest"
    assert d.startswith("d (n : Nat) : n = n := by ") and "sorry" not in d and "/-" not in d
    assert file.read_text() == MARKED.split("theorem e")[0]
    # What the notes are behind reads as before.
    again = turnstile("prove", out, "--json").document
    assert [t["outcome"] for t in again["tasks"]] == ["disproved", "disproved", "exhausted"]


def test_no_note_where_it_would_change_what_is_read() -> None:
    text = parse(MARKED.encode(), "x.lean")
    at = MARKED.encode().index(b"sorry.symm")
    assert mark(text, at, at + 5, "budget", 1) is None


def test_ctrl_c_leaves_a_usable_file(tmp_path: Path, turnstile: Callable) -> None:
    """Found proofs are judged and written; the rest stays `sorry` and is reported as untried."""
    hard = "(f : Nat → Nat) (h : ∀ x, f (f x) = f x + x) : f (f 1) + f 0 = f 7 + f 5"
    source = "theorem easy : 1 = 1 := by sorry\n" + "".join(f"theorem hard{i} {hard} := by sorry\n" for i in range(20))
    file, out, log = tmp_path / "x.lean", tmp_path / "out.lean", tmp_path / "results.jsonl"
    file.write_text(source)
    arguments = ["--policy", "portfolio,explorer", "--budget", "400", "--workers", "1", "--json"]
    command = [sys.executable, "-m", "prover.cli", "prove", file, "--out", out, "--results", log, *arguments]
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while process.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < 2):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    document = json.loads(process.communicate(timeout=500)[0])
    assert process.returncode == 130 and document["interrupted"]
    outcomes = {t["name"]: (t["outcome"], t["reason"]) for t in document["tasks"]}
    assert outcomes["easy"] == ("proved", "") and outcomes["hard19"] == ("budget", "interrupted")
    assert out.read_text() == source.replace("sorry", "rfl", 1) and file.read_text() == source
    assert turnstile("verify", out, "--json").lines[0]["verdict"] == "proved"


def test_an_example_may_be_data(turnstile: Callable, tmp_path: Path) -> None:
    """An example may define data, although it gets a name while it is judged. Lines keep their ends."""
    file, out = tmp_path / "e.lean", tmp_path / "out.lean"
    text = (
        "example : {n : Nat // n = 2} := ⟨2, by sorry⟩\nexample : 1 + 1 = 2 := by sorry\nexample := (sorry : 3 = 3)\n"
    )
    file.write_bytes(text.replace("\n", "\r\n").encode())
    done = turnstile("prove", file, "--out", out, "--json", "--workers", 1)
    assert (done.code, [t["outcome"] for t in done.document["tasks"]]) == (0, ["proved"] * 3), done.document["tasks"]
    assert out.read_bytes().count(b"\r\n") == out.read_bytes().count(b"\n") >= 3
    judged = turnstile("verify", out, "--against", file, "--json")
    assert (judged.code, len(judged.lines)) == (0, 3), judged.lines
