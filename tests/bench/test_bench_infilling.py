"""`turnstile bench infilling` with a tiny model on real Lean, and its totals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prover.models.prompt import PromptConfig
from prover.models.transformer import LanguageModelPolicy
from rl.bench.infilling import Closed, figures
from rl.config import ModelConfig
from rl.examples import PolicyExample
from rl.learner.small_model import small_learner, small_model
from rl.learner.supervised import train
from tests.cli.conftest import turnstile, warm_lean

__all__ = ["turnstile", "warm_lean"]

THEOREMS = """
theorem one (p q : Prop) (hp : p) (hq : q) : p ∧ q := by sorry
theorem two (p q r : Prop) (hp : p) (hq : q) (hr : r) : (p ∧ q) ∧ r := by sorry
theorem open_ (p q : Prop) (hp : p) : q := by sorry
"""


def test_totals_pair_the_holes_and_test_over_theorems() -> None:
    found = [
        Closed("a", 1, {"told": 3, "plain": None}, {"told": True, "plain": False}),
        Closed("a", 2, {"told": 5, "plain": 2}, {"told": True, "plain": False}),
        Closed("b", 1, {"told": 1, "plain": None}, {"told": True, "plain": False}),
        Closed("c", 1, {"told": None, "plain": None}, {"told": False, "plain": False}),
    ]
    total = figures(found)
    assert (total["holes"], total["told"]["closed"], total["plain"]["closed"]) == (4, 3, 1)
    assert (total["told"]["reached"], total["plain"]["reached"]) == (3, 0)
    assert (total["only_told"], total["only_plain"]) == (2, 0)
    assert total["theorems"] == {"told": 2, "plain": 0, "of": 3} and total["p"] == 0.5
    assert total["told"]["low"] < 2 / 3 < total["told"]["high"]
    assert total["difference"]["difference"] == 0.5  # the mean over theorems of 1/2, 1 and 0
    empty = figures([])
    assert empty["holes"] == 0 and empty["p"] == 1.0 and empty["difference"] is None


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that learned which conjunct to split from the goal after."""
    pairs = [
        PolicyExample("p q : Prop\nhp : p\nhq : q\n⊢ p ∧ q", "constructor", towards="p q : Prop\n⊢ p"),
        PolicyExample("p q : Prop\nhp : p\nhq : q\n⊢ p ∧ q", "exact ⟨hp, hq⟩"),
        PolicyExample("case left\np q : Prop\nhp : p\nhq : q\n⊢ p", "assumption"),
    ]
    prompt = PromptConfig(max_prompt=64)
    made, tokenizer = small_model(pairs, ModelConfig(hidden=32, layers=1, heads=2, vocabulary=400), 128, 0)
    learner = small_learner(made, tokenizer, prompt, device="cpu")
    train(learner, pairs * 4, steps=60)
    folder = tmp_path_factory.mktemp("model") / "1"
    LanguageModelPolicy(learner.model, tokenizer, prompt, version=1).save(folder)
    return folder


@pytest.mark.lean
def test_a_tiny_model_and_counts_that_add_up(model: Path, warm_lean: None, turnstile: Any, tmp_path: Path) -> None:
    file = tmp_path / "T.lean"
    file.write_text(THEOREMS)
    options = ["--policy", model, "--recorder", "explorer?actions=elementary", "--calls", 6, "--record-calls", 40]
    done = turnstile("bench", "infilling", file, *options, "--json")
    found = done.document
    assert done.code == 0 and "3/3  open_: no proof" in done.err
    assert (found["theorems"], found["recorded"], found["failed"], found["calls"]) == (3, 2, 0, 6)
    total, parts = found["all"], [found[f"holes of {k}"] for k in (1, 2, 3, 4)]
    assert total["holes"] == sum(p["holes"] for p in parts) >= 3
    for arm in ("told", "plain"):
        assert total[arm]["closed"] == sum(p[arm]["closed"] for p in parts) <= total["holes"]
        assert total[arm]["reached"] <= total[arm]["closed"]
    assert total["told"]["closed"] - total["only_told"] == total["plain"]["closed"] - total["only_plain"]
    assert total["told"]["closed"] >= 1
    assert turnstile("bench", "infilling", file, *options, "--json").document["all"] == total


def test_bad_input(turnstile: Any) -> None:
    for more, why in (
        (["--policy", "explorer,portfolio"], "one prover each"),
        (["--policy", "explorer", "--calls", "0"], "at least 1"),
        (["--policy", "explorer", "--recorder", "nothing-here"], "unknown policy"),
    ):
        done = turnstile("bench", "infilling", "world:logic?count=1", *more)
        assert done.code == 2 and why in done.err
