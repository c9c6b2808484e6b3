"""A run learns from extracted proofs of its training split only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curricula.library import split_of
from prover.errors import UserError
from prover.lean.theorem import Theorem
from prover.premises.index import LibraryIndex
from prover.solve.ledger import Attempt, Ledger
from rl.config import LearnConfig, ProverConfig, RunConfig
from rl.extracted import extracted_examples
from rl.learning import Learning
from rl.theorem_splits import statements

TRAIN = next(f"t{i}" for i in range(99) if split_of(f"t{i}") == "train")
OTHER = next(f"u{i}" for i in range(99) if split_of(f"u{i}") == "train")
HELD_OUT = next(f"t{i}" for i in range(99) if split_of(f"t{i}") == "held-out")


def step(text: str, state: str = "⊢ a", **more: Any) -> dict[str, Any]:
    return {"kind": "tactic", "text": text, "state_before": state, **more}


def write(folder: Path, *rows: tuple[str, list[dict[str, Any]]], statement: str = "") -> None:
    shared = {"sorry": False, "statement": statement}
    lines = [json.dumps({"full_name": name, "steps": steps, **shared}) for name, steps in rows]
    (folder / "theorems.jsonl").write_text("\n".join(lines) + "\n")


def test_examples(tmp_path: Path) -> None:
    steps = [
        step("simp", "⊢ a\n\n⊢ b", replay="same"),
        step("omega", replay="error: no"),
        step("· simp"),
        step("case left => simp"),
        step("rename_i h", replay="same", replayed_as="revert x\nintro _\nrename_i h"),
        step("fun h => h", kind="term"),
    ]
    write(tmp_path, (TRAIN, steps), (HELD_OUT, [step("held_out")]))
    assert [(e.state, e.tactic) for e in extracted_examples(tmp_path)] == [
        ("⊢ a", "simp"),
        ("⊢ a", "revert x\nintro _\nrename_i h"),
        ("⊢ a", "exact fun h => h"),
    ]


def test_a_suggested_command_quotes_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "two words"
    with pytest.raises(UserError, match=rf"`turnstile extract … --out '{folder}'`"):
        extracted_examples(folder)


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no theorems\.jsonl; write it with"):
        extracted_examples(tmp_path)
    write(tmp_path, (HELD_OUT, [step("simp")]))
    with pytest.raises(UserError, match="no steps of the training split"):
        extracted_examples(tmp_path)
    (tmp_path / "theorems.jsonl").write_text('{"full_name": 3}\n')
    with pytest.raises(UserError, match=r"theorems\.jsonl:1: not written by"):
        extracted_examples(tmp_path)


def test_a_theorem_that_a_set_holds_out_teaches_nothing(tmp_path: Path) -> None:
    write(tmp_path, (TRAIN, [step("simp")]), (OTHER, [step("omega")]))
    assert [e.tactic for e in extracted_examples(tmp_path, [f"_root_.{TRAIN}"])] == ["omega"]


def test_a_near_copy_of_an_evaluated_theorem_teaches_nothing(tmp_path: Path) -> None:
    """Neither from human proofs nor from the run that this one starts from. Before, only the names of theorems were compared."""
    statement, alike = "(a b : Nat) : add a b = add b a", "(x y : Nat) : add x y = add y x"
    write(tmp_path, (TRAIN, [step("simp")]), statement=alike)
    ledger, index = Ledger(tmp_path / "ledger.sqlite"), LibraryIndex("", {})
    config = RunConfig(learn=LearnConfig(extracted=str(tmp_path)))
    assert [e.tactic for e in Learning(config, tmp_path, ledger, index, print).human] == ["simp"]
    ledger.set("evaluated", statements([Theorem(HELD_OUT, statement)], index))
    write(tmp_path, (TRAIN, [step("simp")]), statement=alike)
    with pytest.raises(UserError, match="no steps of the training split"):
        _ = Learning(config, tmp_path, ledger, index, print).human
    (tmp_path / "earlier").mkdir()
    learning = Learning(config, tmp_path, ledger, index, print)
    learning.earlier = Ledger(tmp_path / "earlier/ledger.sqlite")
    for name, said in ((TRAIN, alike), (OTHER, ": True")):
        attempt = Attempt("round 1", Theorem(name, said), "proved", 1, 1, 0.1, "simp")
        learning.earlier.record(attempt, [("policy", {"state": name, "premises": [], "round": 1})])
    assert [row["state"] for row in learning._draw("policy", 1)] == [OTHER]


@pytest.mark.parametrize(("algorithm", "rounds"), [("expert_iteration", [1, 2]), ("grpo", [1])])
def test_rounds_that_learn_from_human_proofs(tmp_path: Path, algorithm: str, rounds: list[int]) -> None:
    write(tmp_path, (TRAIN, [step("simp")]))
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for r in (1, 2):
        attempt = Attempt(f"round {r}", Theorem(OTHER, ": a"), "proved", 1, 1, 0.1, "omega", model_version=r - 1)
        given = {"state": f"⊢ {r}", "premises": [], "round": r}
        group = given | {"rewards": [["omega", 1.0], ["rfl", 0.0]]}
        ledger.record(attempt, [("policy", given | {"tactics": [["omega", 1.0]], "depth": 0}), ("group", group)])
    config = RunConfig(
        prover=ProverConfig(use_ranker=False), learn=LearnConfig(algorithm=algorithm, extracted=str(tmp_path))
    )
    learning = Learning(config, tmp_path, ledger, None, print)  # type: ignore[arg-type]
    assert [r for r in (1, 2) if "simp" in {e.tactic for e in learning.prepare(r)[0]}] == rounds
