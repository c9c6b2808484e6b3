"""DPO: its loss and gradient against the formula written out, its pairs, and the learner."""

from __future__ import annotations

from math import exp, log
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from prover.models.tokenizer import train_tokenizer
from prover.models.transformer import new_model
from rl.algorithms import dpo
from rl.algorithms.dpo_settings import DPOConfig
from rl.examples import PolicyExample, PreferencePair
from rl.learner import preferences
from rl.learner.learner import Learner
from rl.learner.settings import LearnerConfig


def test_the_loss_is_the_papers_formula() -> None:
    """Rafailov et al. 2023, eq. 7, and its gradient -β σ(r_l - r_w) (∇ log π_w - ∇ log π_l)."""
    beta, policy, reference = 0.5, ([-2.0, -1.0], [-3.0, -0.5]), ([-2.5, -1.0], [-2.0, -2.0])
    worked, failed = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in policy)
    base = [torch.tensor(x, dtype=torch.float64) for x in reference]
    found, margin = dpo.loss(worked - base[0], failed - base[1], beta)
    found.sum().backward()
    for i in range(2):
        reward_w = beta * (policy[0][i] - reference[0][i])
        reward_l = beta * (policy[1][i] - reference[1][i])
        assert found[i].item() == pytest.approx(-log(1 / (1 + exp(-(reward_w - reward_l)))))
        assert margin[i].item() == pytest.approx(reward_w - reward_l)
        slope = beta / (1 + exp(reward_w - reward_l))
        assert worked.grad[i].item() == pytest.approx(-slope) and failed.grad[i].item() == pytest.approx(slope)  # type: ignore[index]


def test_pairs_are_of_tactics_that_worked_and_errors_on_one_goal() -> None:
    rows = [
        {"state": "a", "premises": ["P"], "worked": ["x"], "tried": ["x", "y", "z"], "errors": ["y"], "weight": 2.0},
        {"state": "b", "premises": [], "worked": ["x"], "tried": ["x", "u", "v"], "errors": ["u", "v"]},
        # `y` worked later, so it is no longer a failure; `z` left goals open both times.
        {"state": "a", "premises": ["P"], "worked": ["y"], "tried": ["y", "w", "z"], "errors": ["w"]},
    ]
    found = dpo.preference_pairs(rows, 8)
    assert [(p.state, p.worked, p.failed) for p in found] == [
        ("a", "x", "w"),
        ("a", "y", "w"),
        ("b", "x", "u"),
        ("b", "x", "v"),
    ]
    assert found[0].premises == ("P",) and found[0].weight == 2.0
    assert len(dpo.preference_pairs(rows, 1)) == 2


GOALS = [f"n : Nat\n⊢ n + {k} = {k} + n" for k in range(12)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer([*GOALS, "omega", "rfl"] * 3, 320)
    new_model(len(tokenizer), 48, 2, 2, 96, positions=256, seed=3).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def test_a_step_equals_a_plain_implementation(folder: Path) -> None:
    """AdamW on eq. 7, tactic by tactic, without packing."""
    config = LearnerConfig(learning_rate=1e-3, warmup=0, batch_size=3, micro_tokens=64, clip_norm=1e9)
    tuner = Learner.load(folder, config, template="names", device="cpu")
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        for p in reference.parameters():
            p.mul_(1.05)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    pairs = [PreferencePair(g, "omega", "rfl", weight=w) for g, w in zip(GOALS, (1.0, 2.0, 0.5), strict=False)]

    def logprob(model: torch.nn.Module, goal: str, tactic: str) -> torch.Tensor:
        prompt, target = tuner.encode(PolicyExample(goal, tactic))
        steps = model(torch.tensor([[*prompt, *target]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        return steps.gather(-1, torch.tensor(target)[:, None]).sum()

    total = torch.zeros(())
    for pair in pairs:
        with torch.no_grad():
            known = logprob(reference, pair.state, "omega"), logprob(reference, pair.state, "rfl")
        gained = (logprob(plain, pair.state, "omega") - known[0]) - (logprob(plain, pair.state, "rfl") - known[1])
        total = total - pair.weight * torch.log(torch.sigmoid(0.3 * gained)) / 3
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-3, weight_decay=0.0)
    total.backward()
    optimizer.step()
    metrics = preferences.train(tuner, pairs, DPOConfig(beta=0.3), reference=reference)
    assert metrics["steps"] == 1 and metrics["loss"] == pytest.approx(total.item(), abs=1e-5)
    for (name, own), other in zip(tuner.model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own, other, atol=2e-5, rtol=0, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("lora", [0, 4])
def test_tactics_that_worked_become_likelier_than_failures(folder: Path, lora: int) -> None:
    tuner = Learner.load(
        folder, LearnerConfig(learning_rate=1e-2 if lora else 1e-3, lora_rank=lora), template="names", device="cpu"
    )
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    pairs = [PreferencePair(g, "omega", "rfl") for g in GOALS[:8]]
    metrics = preferences.train(tuner, pairs, DPOConfig(), reference=reference, epochs=100.0)
    assert metrics["last_loss"] < 0.6 < log(2) and metrics["preferred"] > 0.9 and metrics["margin"] > 0
    # On goals that no pair was of, too.
    rows = [[tuner.encode(PolicyExample(g, t)) for t in ("omega", "rfl")] for g in GOALS[8:]]
    for before, after in zip(tuner.measure(rows, reference), tuner.measure(rows), strict=True):
        worked = len(rows[0][0][1])
        assert (after - before)[:worked].sum() > (after - before)[worked:].sum()


def test_pairs_that_are_too_long_are_skipped(folder: Path) -> None:
    tuner = Learner.load(folder, LearnerConfig(max_length=64), template="names", device="cpu")
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    long = PreferencePair("x : Nat\n" * 60 + GOALS[0], "omega", "rfl")
    found = preferences.train(tuner, [long, PreferencePair(GOALS[0], "omega", "rfl")], DPOConfig(), reference=reference)
    assert (found["pairs"], found["skipped"]) == (1.0, 1.0)
    with pytest.raises(ValueError, match="all 1 are longer"):
        preferences.train(tuner, [long], DPOConfig(), reference=reference)
