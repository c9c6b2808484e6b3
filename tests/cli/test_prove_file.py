"""A file of sorries in awkward places: every one found and only those, filled to the byte, and audited as a whole."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from curricula.lean_file import Hole, load_file
from prover.filling import Filler
from prover.lean.server import LeanServer
from prover.lean.text import parse

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
theorem last : True := by sorry --23"""

LINES = {int(m.group(1)): AWKWARD[: m.start()].count("\n") + 1 for m in re.finditer(r"--(\d+)", AWKWARD)}
UNPROVED = {14, 21}


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
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
    assert (done.code, document["proved"], document["total"]) == (1, 21, 23)
    assert file.read_bytes() == original

    # Outside of the sorries the file is the same to the byte.
    words = re.compile(rb"\bsorry\b(?=[^\n]*--\d)")
    kept = words.split(original)
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
    assert len(log.read_text().splitlines()) == 1 + 23
    assert [t["lean_calls"] for t in again.document["tasks"]] == [t["lean_calls"] for t in document["tasks"]]

    # Only what rests on the two that are left is refused.
    judged = turnstile("verify", out, "--against", file, "--json")
    refused = {v["name"] for v in judged.lines if v["verdict"] != "proved"}
    assert (judged.code, refused) == (1, {"hard"})


def test_what_breaks_the_file_is_taken_back() -> None:
    """Proofs that hold nowhere, a smuggled sorry among them, go; the others stay, in a layout that Lean takes."""
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
            holes, _ = await load_file(server, text)
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


def test_theorems_and_their_negations(turnstile: Callable, tmp_path: Path) -> None:
    rows = [
        {"name": "true", "statement": "(n : Nat) : n + 0 = n"},
        {"name": "false", "statement": "(n : Nat) : n = n + 1"},
        {"name": "no such thing", "statement": '(n : Nat) : n = "a"'},
        {"name": "open", "statement": "(f : Nat → Nat) (h : ∀ n, f (f n) = n) : f 0 = f 0 + f 1"},
    ]
    file, out = tmp_path / "x.jsonl", tmp_path / "out.lean"
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    done = turnstile("prove", file, "--json", "--out", out, "--workers", 1, "--disprove", "0.5")
    tasks = done.document["tasks"]
    assert done.code == 1
    assert [t["outcome"] for t in tasks][:3] == ["proved", "disproved", "error"]
    assert f"{file}:3:" in tasks[2]["reason"]
    assert tasks[3]["outcome"] == "exhausted"
    assert {"name", "line", "outcome", "proof", "reason", "lean_calls", "seconds", "prover"} == set(tasks[0])
    assert "theorem true " not in out.read_text() or turnstile("verify", out).code == 0
