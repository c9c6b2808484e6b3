"""Extracted steps have the states that LeanServer prints and lead to them again; unchanged files are not read twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from curricula.commands.extract import extract
from curricula.novel_premises import novel_premises
from prover.errors import UserError
from prover.lean.extract import step_text

pytestmark = pytest.mark.lean
PROOFS = Path(__file__).with_name("proofs.lean")


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "theorems.jsonl").read_text().splitlines()]


def run(target: Path | str, out: Path, capfd: pytest.CaptureFixture[str], **options: Any) -> tuple[int, dict[str, Any]]:
    options = {"workers": 1, "benchmark": False, "json": True, **options}
    capfd.readouterr()
    code = extract(str(target), out=out, **options)
    return code, json.loads(capfd.readouterr().out)


def test_steps_of_a_project(project: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """States, ranges, and premises with the place of their declaration, also in another file."""
    code, document = run(project, tmp_path / "out", capfd)
    assert code == 0 and document["theorems"] == 6 and not document["skipped"] and document["unprinted"] == 0
    by_name = {row["full_name"]: row for row in rows(tmp_path / "out")}
    assert set(by_name) == {f"Demo.{n}" for n in ("double_eq", "double_zero", "double_add", "le_double", "one", "two")}
    rewrite, exact = by_name["Demo.double_add"]["steps"]
    assert rewrite["text"] == "rw [double_eq, double_eq,\n  double_eq]"
    assert (rewrite["start"], rewrite["end"]) == ([7, 3], [8, 15])
    assert rewrite["state_before"] == "m n : Nat\n⊢ double (n + m) = double n + double m"
    assert rewrite["state_after"] == exact["state_before"] == "m n : Nat\n⊢ 2 * (n + m) = 2 * n + 2 * m"
    assert exact["state_after"] == "no goals"
    named = rewrite["named"]
    assert [u["used_at"] for u in named] == [[[7, 7], [7, 16]], [[7, 18], [7, 27]], [[8, 5], [8, 14]]]
    assert {(u["full_name"], u["file"], tuple(u["start"])) for u in named} == {
        ("Demo.double_eq", "Demo/Basic.lean", (6, 1))
    }
    assert "Demo.double_eq" in {p["full_name"] for p in rewrite["assigned"]}
    [mul_add] = exact["named"]
    assert (mul_add["full_name"], mul_add["module"]) == ("Nat.mul_add", "Init.Data.Nat.Basic")
    [term] = by_name["Demo.double_zero"]["steps"]
    assert (term["kind"], term["text"], term["state_before"]) == ("term", "rfl", "⊢ double 0 = 0")
    assert by_name["Demo.le_double"]["statement"] == "(n : Nat) : n ≤ double n"


def test_steps_replay_to_the_same_state(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """At least 95 % of the steps of proofs in many styles, also those of `rename_i`, whose hypotheses LeanServer names."""
    _, document = run(PROOFS, tmp_path / "out", capfd, replay=True)
    steps = [s for row in rows(tmp_path / "out") for s in row["steps"]]
    assert document["steps"] == len(steps) > 90
    assert document["replayed"]["same"] >= 0.95 * len(steps)
    kinds = Counter(s["kind"] for s in steps)
    assert kinds["term"] >= 5 and kinds["tactic"] > 80
    [renaming] = [s for s in steps if s["text"] == "rename_i hp"]
    assert renaming["replay"] == "same" and renaming["replayed_as"] == "revert h\nintro _\nrename_i hp"
    texts = [s["text"] for s in steps]
    assert "exact Or.inr h" not in texts[texts.index("first\n| exact Or.inr h\n| exact Or.inl h") :]  # it failed


def test_a_replay_that_does_not_reach_the_state_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "A.lean"
    file.write_text(
        "theorem t : ∀ n : Nat, 0 ≤ n := by\n  intro n\n  cases n with\n  | zero => simp\n  | succ k =>\n    have := t k\n    omega\n"
    )
    _, document = run(file, tmp_path / "out", capfd, replay=True)
    [refused] = [s for s in rows(tmp_path / "out")[0]["steps"] if s["text"] == "have := t k"]
    assert refused["replay"] == "error: `t` may not be used" and document["replayed"]["error"] >= 1


def test_only_changed_files_are_read_again(project: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file is read again if it or a file that it imports changed."""
    out = tmp_path / "out"

    def read_again() -> set[str]:
        capfd.readouterr()
        assert extract(str(project), out=out, workers=1, benchmark=False) == 0
        lines = [x for x in capfd.readouterr().err.splitlines() if x.endswith((" steps", "(unchanged)"))]
        assert len(lines) == 2
        return {line.split(": ")[1] for line in lines if line.endswith(" steps")}

    assert read_again() == {"Demo/Basic.lean", "Demo/More.lean"}
    before = (out / "theorems.jsonl").read_bytes()
    assert read_again() == set() and (out / "theorems.jsonl").read_bytes() == before
    (project / "Demo/More.lean").write_text((project / "Demo/More.lean").read_text() + "\n-- changed\n")
    assert read_again() == {"Demo/More.lean"}
    (project / "Demo/Basic.lean").write_text((project / "Demo/Basic.lean").read_text() + "\n-- changed\n")
    assert read_again() == {"Demo/Basic.lean", "Demo/More.lean"}
    (out / "files/Demo/More.lean.json").write_text("{")  # as after a crash of the disk
    assert read_again() == {"Demo/More.lean"} and (out / "theorems.jsonl").read_bytes() == before


def test_bad_input(project: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    broken = project / "Demo/Broken.lean"
    broken.write_text("theorem t : 1 = 2 := rfl\n")
    with pytest.raises(UserError, match=r"Broken\.lean: no file could be extracted.*:1:21: "):
        extract(str(broken), out=out)
    code, document = run(project, out, capfd)  # the other files of a project are extracted
    assert code == 1 and document["files"] == 2 and list(document["skipped"]) == ["Demo/Broken.lean"]
    for target, message in (
        (tmp_path, "without a lakefile"),
        ("Init.Data.List.Lemmas", "not part of the embedded Lean"),
    ):
        with pytest.raises(UserError, match=message):
            extract(str(target), out=out)
    with pytest.raises(UserError, match="lies in .*project, whose files are read"):
        extract(str(project), out=project / "out")
    assert not (project / "out").exists()
    with pytest.raises(UserError, match="--out names a folder"):
        extract(str(project), out=broken)


def test_a_step_keeps_its_layout() -> None:
    text = "theorem t := by\n  have h := by simp [a,\n    b]\n  cases x with\n  | a => c\n"
    data = text.encode()

    def of(part: str) -> str:
        start = text.index(part)
        return step_text(data, (start, start + len(part)))

    assert of("cases x with\n  | a => c") == "cases x with\n| a => c"
    assert of("simp [a,\n    b]") == "simp [a,\n  b]"


def test_theorems_outside_training_use_a_novel_premise() -> None:
    """As LeanDojo defines the split: some premise of each is a premise of no training theorem."""
    premises = {f"t{i}": [f"p{j}" for j in range(1, 30) if i % j == 0] for i in range(1, 200)} | {"bare": []}
    split = novel_premises(premises)
    assert novel_premises(premises) == split and set(split) == set(premises) and split["bare"] == "train"
    known = {p for t, s in split.items() if s == "train" for p in premises[t]}
    outside = [t for t, s in split.items() if s != "train"]
    assert all(set(premises[t]) - known for t in outside) and 0.3 <= len(outside) / len(premises) < 0.5
    assert {"validation", "held-out"} <= set(split.values())
