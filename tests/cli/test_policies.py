"""Chains of policies: the portfolio first, then a checkpoint's model or a model server for the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.models.small_server import SmallServer, completion

pytestmark = pytest.mark.lean

SLOW = "def slow : Nat → Nat\n  | 0 => 0\n  | n + 1 => slow n + 1"
TACTIC = "induction n <;> simp_all [slow]"
ROWS = [
    {"name": "easy", "statement": "(n : Nat) : n + 0 = n"},
    {"name": "hard", "statement": "(n : Nat) : slow n = n", "context": SLOW},
    {"name": "harder", "statement": "(n : Nat) : slow (slow n) = n + 0", "context": SLOW},
]


@pytest.fixture
def theorems(tmp_path: Path) -> Path:
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    return path


def test_a_server_for_the_rest(theorems: Path, turnstile: Callable) -> None:
    server = SmallServer(
        lambda number, body: completion(["rfl", TACTIC] if "slow (" not in body["prompt"] else ["rfl"])
    )
    policy = f"openai:{server.address}?template=bfs-prover"
    try:
        document = turnstile(
            "prove", theorems, "--no-look", "--json", "--workers", 1, "--policy", f"portfolio,{policy}"
        ).document
    finally:
        server.shutdown()
        server.server_close()
    easy, hard, harder = document["tasks"]
    assert [t["outcome"] for t in (easy, hard)] == ["proved", "proved"] and harder["outcome"] != "proved"
    assert (easy["prover"], hard["prover"]) == ("portfolio", policy)
    assert hard["proof"] == TACTIC and hard["lean_calls"] > easy["lean_calls"]
    assert server.asked and all("slow" in a["prompt"] for a in server.asked), "asked only for what the portfolio left"


@pytest.mark.parametrize("others", ["", ",portfolio"], ids=["alone", "before another that exhausts its tactics"])
def test_a_prompt_that_is_too_long_ends_its_theorem_and_no_other(
    theorems: Path, turnstile: Callable, others: str
) -> None:
    said = "This model's maximum context length is 16 tokens. However, you requested 900 tokens"
    server = SmallServer(
        lambda number, body: (
            (400, {"error": {"message": said}}) if "slow (" in body["prompt"] else completion(["rfl", "simp", TACTIC])
        )
    )
    try:
        policy = f"openai:{server.address}?template=bfs-prover{others}"
        done = turnstile("prove", theorems, "--no-look", "--json", "--workers", 1, "--policy", policy)
    finally:
        server.shutdown()
        server.server_close()
    easy, hard, harder = done.document["tasks"]
    assert done.code == 1 and [t["outcome"] for t in (easy, hard)] == ["proved", "proved"]
    assert harder["outcome"] == "error" and said in str(harder)


def test_whole_proofs_of_a_server_and_leans_word_on_them(turnstile: Callable, tmp_path: Path) -> None:
    """The first proof fails in its last step; the model corrects it from Lean's error."""
    right = "  constructor\n  · exact h.2\n  · exact h.1\n"
    wrong = right.replace("h.1", "h.2")
    server = SmallServer(
        lambda number, body: completion(
            [right if "An earlier attempt failed" in body["prompt"] else wrong], logprobs=False
        )
    )
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"name": "swap", "statement": "(p q : Prop) (h : p ∧ q) : q ∧ p"}))
    policy = f"openai:{server.address}?template=deepseek-prover-v1.5&retries=0&timeout=60"
    try:
        document = turnstile("prove", path, "--no-look", "--json", "--workers", 1, "--policy", policy).document
    finally:
        server.shutdown()
        server.server_close()
    [task] = document["tasks"]
    assert (task["outcome"], task["prover"]) == ("proved", policy), "only the second answer is a proof"
    first, second = (a["prompt"] for a in server.asked)
    assert first.endswith("theorem swap (p q : Prop) (h : p ∧ q) : q ∧ p := by\n")
    assert "at `exact h.2`" in second and "mismatch" in second


def test_a_checkpoint_for_the_rest(theorems: Path, turnstile: Callable, tmp_path: Path) -> None:
    from dataclasses import replace

    from prover.models.prompt import PromptConfig
    from prover.models.tokenizer import train_tokenizer
    from prover.models.transformer import LanguageModelPolicy, new_model
    from rl.examples import PolicyExample
    from rl.learner.small_model import SMALL, small_learner
    from rl.learner.supervised import train

    goal = "n : Nat\n⊢ slow n = n"
    tokenizer = train_tokenizer([goal, TACTIC, "rfl", "simp", "omega"] * 20, 512)
    model = new_model(len(tokenizer), hidden=64, layers=2, heads=4, intermediate=128, positions=160)
    prompt = PromptConfig(max_prompt=96)
    learner = small_learner(model, tokenizer, prompt, replace(SMALL, batch_tokens=512, warmup=5))
    train(learner, [PolicyExample(goal, TACTIC)] * 4, steps=80)
    LanguageModelPolicy(learner.model.eval(), tokenizer, prompt).save(tmp_path / "run/checkpoints/0001")
    run = tmp_path / "run"
    document = turnstile(
        "prove", theorems, "--no-look", "--json", "--workers", 1, "--policy", f"portfolio,{run}", "--limit", 2
    ).document
    easy, hard = document["tasks"]
    assert [t["outcome"] for t in (easy, hard)] == ["proved", "proved"], document["tasks"]
    assert (easy["prover"], hard["prover"], hard["proof"]) == ("portfolio", str(run), TACTIC)
