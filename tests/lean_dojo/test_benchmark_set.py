"""LeanDojo Benchmark files. The sample is written here, in the shape of LeanDojo Benchmark 4 (`random/val.json`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curricula.lean_dojo_benchmark import checkout_theorems
from prover import cli
from prover.errors import UserError

URL, COMMIT = "https://github.com/leanprover-community/mathlib4", "29dcec074de168ac2bf835a77ef68bbe069194c5"


def entry(name: str, *tactics: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "url": URL,
        "commit": COMMIT,
        "file_path": "Mathlib/Order/Basic.lean",
        "full_name": name,
        "start": [10, 1],
        "end": [12, 20],
        "traced_tactics": [
            {"tactic": t, "annotated_tactic": [t, []], "state_before": before, "state_after": after}
            for before, t, after in tactics
        ],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    proof = (("⊢ True ∧ True", "constructor", "case left\n⊢ True"), ("case left\n⊢ True", "trivial", "no goals"))
    (tmp_path / "train.json").write_text(json.dumps([entry("a", *proof), entry("b"), entry("a", *proof)]))
    (tmp_path / "val.json").write_text(json.dumps([entry("c")]))
    return tmp_path


def test_a_broken_file_is_one_line(folder: Path) -> None:
    (folder / "val.json").write_text('[{"url": 3}]')
    with pytest.raises(UserError, match="not a LeanDojo Benchmark file"):
        checkout_theorems(folder / "val.json", folder)


CHECKOUT = """import Init.Data.List.Lemmas
/- A file of a repository. -/
namespace Order
variable {α : Type} (n : Nat)
def up (n : Nat) := n + 1
/-- Said of it. -/
@[simp] theorem up_eq : up n = n + 1 := rfl
@[simp]
protected theorem up_up (m : Nat) : up (up m) = m + 2 := by
  simp
theorem term : ∀ xs : List α, xs ++ [] = xs
  | [] => rfl
  | _ :: _ => by simp
end Order
"""


def test_theorems_of_a_checkout(tmp_path: Path) -> None:
    """With the context that they have in the repository, and so without what comes after them."""
    (tmp_path / "Mathlib/Order").mkdir(parents=True)
    (tmp_path / "Mathlib/Order/Basic.lean").write_text(CHECKOUT)
    file = tmp_path / "val.json"
    file.write_text(json.dumps([entry(f"Order.{n}") for n in ("up_eq", "up_up", "term", "up_eq")]))
    first, second, third = checkout_theorems(file, tmp_path)
    assert (first.name, first.statement) == ("up_eq", ": up n = n + 1")
    assert first.context.endswith("def up (n : Nat) := n + 1") and first.imports == ("Init", "Init.Data.List.Lemmas")
    assert (second.name, second.statement) == ("up_up", "(m : Nat) : up (up m) = m + 2")
    assert second.context.endswith("up n = n + 1 := rfl") and second.source.endswith("Order/Basic.lean:9")
    assert third.statement == ": ∀ xs : List α, xs ++ [] = xs"


@pytest.mark.lean
def test_a_benchmark_file_is_proved(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Mathlib/Order").mkdir(parents=True)
    (tmp_path / "Mathlib/Order/Basic.lean").write_text(CHECKOUT)
    file = tmp_path / "val.json"
    file.write_text(json.dumps([entry(f"Order.{n}") for n in ("up_eq", "up_up", "term")]))
    with pytest.raises(SystemExit) as end:
        cli.main(["prove", str(file), "--sources", str(tmp_path), "--json", "--workers", "1"])
    tasks = json.loads(capfd.readouterr().out)["tasks"]
    assert [t["outcome"] for t in tasks] == ["proved"] * 3 and end.value.code == 0, tasks
