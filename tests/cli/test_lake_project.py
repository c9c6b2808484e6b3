"""A Lake project on any Lean: files that import each other are proved in order and verified together."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from prover.lean.project import Project, imports_of
from prover.lean.server import LeanServer
from prover.lean.text import read
from prover.premises.library import LibraryIndex, ModuleInfo
from prover.premises.retrieve import PremiseSource

LAKEFILE = 'name = "own"\nsrcDir = "src"\n\n[[lean_lib]]\nname = "Own"\n'

# What this one leaves open must end with it: a namespace, an `open`, a variable, local notation, a local simp lemma.
BASIC = """-- twice
namespace Own
open Nat
variable (n : Nat)
def twice (n : Nat) : Nat := n + n
def slow : Nat → Nat
  | 0 => 0
  | n + 1 => slow n + 1
private theorem aux : twice 2 = 4 := rfl
local notation "⟪" x "⟫" => twice x
@[simp] theorem twice_zero : ⟪0⟫ = 0 := by sorry
@[simp] theorem slow_eq (n : Nat) : slow n = n := by sorry
@[local simp] theorem twice_one : twice 1 = 2 := rfl
"""

EXTRA = """import Own.Basic
import Init.Data.List.Lemmas
private theorem aux : Own.twice 3 = 6 := rfl
theorem extra : Own.twice 3 = 6 := aux
"""

MAIN = """import Own.Extra

private theorem mine : [Own.twice 3] = [6] := by rw [extra]
theorem uses_twice (m : Nat) : Own.twice 0 + m = m := by sorry
theorem uses_slow (m : Nat) : Own.slow (Own.slow m) = m := by sorry
theorem local_lemmas_end (m : Nat) : Own.twice 1 + m = m + 2 := by sorry
def n := "no variable of that name here"
theorem name_free : n = "no variable of that name here" := by
  sorry
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "own"
    (folder / "src/Own").mkdir(parents=True)
    (folder / "lakefile.toml").write_text(LAKEFILE)
    (folder / "src/Own/Basic.lean").write_text(BASIC)
    (folder / "src/Own/Extra.lean").write_text(EXTRA)
    (folder / "src/Own.lean").write_text(MAIN)
    monkeypatch.chdir(tmp_path)
    return Path("own")


def test_imports_in_order(project: Path) -> None:
    found = imports_of(read(project / "src/Own.lean"))
    assert [o.module for o in found.own] == ["Own.Basic", "Own.Extra"]
    assert set(found.shipped) == {"Init", "Init.Data.List.Lemmas"}
    assert [o.text.path for o in found.own] == ["own/src/Own/Basic.lean", "own/src/Own/Extra.lean"]
    inner = project / "out"
    shutil.copytree(project / "src", inner / "src")
    (inner / "lakefile.lean").write_text('import Lake\npackage x where\n  srcDir := "src"\n')
    assert len(Project(project).files()) == len(Project(inner).files()) == 3


@pytest.mark.lean
@pytest.mark.timeout(1200)
def test_a_whole_project(project: Path, turnstile: Callable, fingerprint: Callable, tmp_path: Path) -> None:
    before = fingerprint(project)
    out = tmp_path / "out"
    done = turnstile("prove", project, "--out", out, "--json", "--workers", 1)
    document = done.document
    assert [f["file"] for f in document["files"]] == ["own/src/Own/Basic.lean", "own/src/Own.lean"], "imports first"
    outcomes = {t["name"]: t["outcome"] for t in document["tasks"]}
    # Both of Own.lean's that are proved need a simp lemma of Basic.lean: one that was proved, and one that was not.
    assert {n for n, o in outcomes.items() if o == "proved"} == {
        "Own.twice_zero",
        "uses_twice",
        "uses_slow",
        "name_free",
    }
    assert set(outcomes) == {
        "Own.twice_zero",
        "Own.slow_eq",
        "uses_twice",
        "uses_slow",
        "local_lemmas_end",
        "name_free",
    }
    assert (done.code, document["proved"], document["total"]) == (1, 4, 6)
    open_ = {t["name"] for t in document["tasks"] if any(r["kind"] == "conditional" for r in t["remarks"])}
    assert open_ == {"uses_slow"}
    assert all(t["axioms"] in ([], ["propext"]) for t in document["tasks"]), "nothing of what was assumed"
    assert fingerprint(project) == before

    # The rest of the files as they were, to the byte.
    assert {p: h for p, h in fingerprint(out).items() if p not in ("src/Own.lean", "src/Own/Basic.lean")} == {
        p: h for p, h in before.items() if p not in ("src/Own.lean", "src/Own/Basic.lean")
    }
    assert (out / "src/Own/Basic.lean").read_text() == BASIC.replace("⟪0⟫ = 0 := by sorry", "⟪0⟫ = 0 := by rfl")

    judged = turnstile("verify", out, "--against", project, "--json")
    verdicts = {v["name"]: v["verdict"] for v in judged.lines}
    assert judged.code == 1
    # What rests on the lemma that has no proof is refused now, in whatever file it is.
    assert {n for n, v in verdicts.items() if v != "proved"} == {"Own.slow_eq", "uses_slow", "local_lemmas_end"}
    assert {"Own.twice_zero", "uses_twice", "name_free", "extra"} <= {n for n, v in verdicts.items() if v == "proved"}
    by_file = [v for v in judged.lines if v["name"] == "Own.twice_zero"]
    assert len(by_file) == 1, "a theorem is judged in its own file only"

    # One file of it, wherever it lies: its imports are the original's.
    alone = tmp_path / "Alone.lean"
    shutil.copy(out / "src/Own.lean", alone)
    lines = turnstile("verify", alone, "--against", project / "src/Own.lean", "--json").lines
    assert {v["name"]: v["reason"] for v in lines}["uses_twice"].startswith("sorry"), (
        "the original's lemma has no proof"
    )

    # A file that a changed import makes another theorem of is refused.
    (out / "src/Own/Basic.lean").write_text(BASIC.replace("n + n", "n + n + 0"))
    lines = turnstile("verify", out / "src/Own.lean", "--against", project / "src/Own.lean", "--json").lines
    reasons = {v["name"]: v["reason"] for v in lines}
    assert reasons["uses_twice"].startswith("statement: Own.twice has another value"), lines
    assert reasons["name_free"] == "", "what does not mention it means what it meant"


@pytest.mark.lean
def test_lemmas_of_imported_files_are_premises(project: Path) -> None:
    """Of an indirect import too, and after those of the file itself only where they fit less."""
    text = read(project / "src/Own.lean")
    imports = imports_of(text)

    async def offered() -> dict[str, tuple[str, ...]]:
        async with LeanServer(constants=True) as lean:
            holes = await lean.load(text.body, imports.shipped, text.path, imports.sources())
            source = PremiseSource(LibraryIndex("", {m: ModuleInfo((), ()) for m in imports.shipped}), 16)
            return {hole["decl"]: source.at(imports.shipped, name=hole["decl"])(state) for hole, state in holes}

    found = asyncio.run(offered())
    assert {"Own.slow_eq", "Own.slow"} <= set(found["uses_slow"])
    assert {"Own.twice_zero", "Own.twice_one", "extra", "mine", "Own.twice"} <= set(found["uses_twice"])


@pytest.mark.lean
def test_one_file_of_a_project(project: Path, turnstile: Callable) -> None:
    """Imports are found relative to the file; an error in an imported file names that file."""
    done = turnstile("prove", project / "src/Own.lean", "--in-place", "--json", "--workers", 1)
    assert [t["outcome"] for t in done.document["tasks"]] == ["proved", "proved", "exhausted", "proved"]
    assert (project / "src/Own.lean").read_text().count("sorry") == 1
    # A limit: Lean has one table of names for all that it elaborates, and leaves out whose a private one is.
    (project / "src/Own.lean").write_text(MAIN.replace("mine", "aux"))
    done = turnstile("prove", project / "src/Own.lean", "--workers", 1, "--budget", 1)
    assert done.code == 1 and "a private declaration of the same name" in done.err
    (project / "src/Own.lean").write_text(MAIN)
    (project / "src/Own/Extra.lean").write_text(EXTRA.replace("= 6 := aux", "= 7 := aux"))
    done = turnstile("prove", project / "src/Own.lean", "--workers", 1)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("turnstile: own/src/Own/Extra.lean:4:") and done.err.count("\n") == 1, done.err
    done = turnstile("prove", project, "--workers", 1, "--budget", 8, "--json")
    files = {f["file"]: f for f in done.document["files"]}
    assert files["own/src/Own/Basic.lean"]["proved"] == 1
    assert files["own/src/Own.lean"]["reason"].startswith(
        "own/src/Own.lean: an import fails: own/src/Own/Extra.lean:4:"
    )
