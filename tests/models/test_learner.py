"""The learner fits what it is shown, resumes exactly, and moves probabilities the way the weights say."""

from __future__ import annotations

import copy
import dataclasses
import io
import itertools
import random
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sample_goals import make_pairs, query
from transformers import PreTrainedTokenizerFast

from prover.models.prompt import PromptConfig, Prompter
from prover.models.tokenizer import TextCodec
from prover.models.transformer import LanguageModelPolicy, new_model
from rl.examples import PolicyExample, ValueExample
from rl.learner import data_parallel, from_scratch
from rl.learner.batches import collate, group
from rl.learner.from_scratch import Learner, LearnerConfig

CONFIG = LearnerConfig(batch_tokens=512, warmup=5, schedule="constant", learning_rate=3e-3)
PROMPT = PromptConfig(max_prompt=96)


def small(tokenizer: PreTrainedTokenizerFast, config: LearnerConfig = CONFIG, seed: int = 0) -> Learner:
    model = new_model(len(tokenizer), hidden=64, layers=2, heads=4, intermediate=128, positions=160, seed=seed)
    return Learner(model, tokenizer, PROMPT, config)


def as_policy(learner: Learner) -> LanguageModelPolicy:
    policy = LanguageModelPolicy(copy.deepcopy(learner.model), learner.tokenizer, PROMPT)
    policy.load_weights(learner.weights(), 1)
    return policy


def examples(n: int) -> list[PolicyExample | ValueExample]:
    out: list[PolicyExample | ValueExample] = []
    for goal, tactic in make_pairs(n):
        out += [PolicyExample(goal, tactic), ValueExample(goal, len(tactic) % 16)]
    return out


def test_overfits_pairs_and_bins_and_suggests_them_first(tokenizer: PreTrainedTokenizerFast) -> None:
    pairs = list(dict(make_pairs(50)).items())
    data = [
        e
        for g, t in pairs
        for e in (PolicyExample(g, t, ("Nat.mul_add",)), ValueExample(g, len(t) % 16, ("Nat.mul_add",)))
    ]
    learner = small(tokenizer, dataclasses.replace(CONFIG, rename=0.0, schedule="cosine", ema=0.9))
    metrics = learner.train(data, steps=120)
    assert metrics["tokens_per_second"] > 0 and metrics["steps"] == 120
    queries = [query(g, ("Nat.mul_add",)) for g, _ in pairs]
    answers = list(zip(as_policy(learner).suggest(queries, 4), as_policy(learner).evaluate(queries), strict=True))
    assert sum(s[0].tactic == t for (s, _), (_, t) in zip(answers, pairs, strict=True)) >= 0.95 * len(pairs)
    right = sum(
        max(range(16), key=v.probs.__getitem__) == len(t) % 16 for (_, v), (_, t) in zip(answers, pairs, strict=True)
    )
    assert right >= 0.95 * len(pairs)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_resume_is_exact(tokenizer: PreTrainedTokenizerFast, ema: float) -> None:
    config = dataclasses.replace(CONFIG, ema=ema, schedule="cosine", total_steps=20)
    data = examples(60)
    whole = small(tokenizer, config)
    whole.train(data, steps=20)
    first = small(tokenizer, config)
    first.train(data, steps=10)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = small(tokenizer, config, seed=9)
    second.load_state_dict(torch.load(file, weights_only=True))
    second.train(data, steps=10)
    for name, tensor in whole.weights().items():
        assert torch.equal(tensor, second.weights()[name]), name
    again = small(tokenizer, config)
    again.train(data, steps=20)
    assert all(torch.equal(a, b) for a, b in zip(whole.weights().values(), again.weights().values(), strict=True))


def test_branches_of_a_prompt_do_not_see_each_other(tokenizer: PreTrainedTokenizerFast) -> None:
    learner = small(tokenizer)
    state = "n m : Nat\nh : n ≤ m\n⊢ n < m + 1"
    data = [
        PolicyExample(state, "omega"),
        ValueExample(state, 3),
        PolicyExample(state, "simp [Nat.mul_add]"),
        PolicyExample("⊢ p", "rfl"),
    ]
    rows, skipped = group(learner.prompter, data)
    assert len(rows) == 2 and skipped == 0

    def logits(rows: list) -> torch.Tensor:
        with torch.no_grad():
            return learner.logits(learner.model, collate(learner.prompter, rows, 0.0, random.Random(0), learner.device))

    alone = [logits(group(learner.prompter, [e])[0]) for e in data]
    torch.testing.assert_close(logits(rows), torch.cat(alone), atol=1e-4, rtol=1e-4)


def test_the_librarys_names_become_made_up_words_where_asked(tokenizer: PreTrainedTokenizerFast) -> None:
    """Other words each time, the same ones in goal, premises and tactic; slots and hypotheses as ever; and only where it can be."""
    prompter = Prompter(TextCodec(tokenizer), PromptConfig(max_prompt=200))
    state, premises = "mapped : List Nat\n⊢ List.length mapped = Nat.succ 0", ("List.length_pos", "Nat.succ_pos")
    tactics = ("simp [List.length_pos, List.length]", "cases mapped <;> simp")
    constants = ("List", "Nat", "List.length", "Nat.succ")

    def texts(examples: list[PolicyExample], seed: int) -> list[str]:
        rows, _ = group(prompter, examples)
        batch = collate(prompter, rows, 0.0, random.Random(seed), torch.device("cpu"), fresh_share=1.0)
        return [tokenizer.decode(ids) for ids in batch.ids]

    known = [PolicyExample(state, t, premises, constants=constants) for t in tactics]
    (one,), (two,) = texts(known, 1), texts(known, 2)
    assert one != two
    for text in (one, two):
        assert not re.search(r"List|Nat|length|succ|pos", text), text
        function = re.search(r"⊢ (\w+\.\w+) mapped", text)
        assert function and f"simp [⟨p0⟩, {function[1]}]" in text and "cases mapped <;> simp" in text
    for kept in ([replace(e, constants=()) for e in known], [replace(e, old_logprob=-1.0) for e in known]):
        assert "List.length mapped" in texts(kept, 1)[0]


def logprob(learner: Learner, state: str, tactic: str) -> float:
    rows, _ = group(learner.prompter, [PolicyExample(state, tactic)])
    batch = collate(learner.prompter, rows, 0.0, random.Random(0), learner.device)
    with torch.no_grad():
        return learner.logits(learner.model, batch).log_softmax(-1).gather(1, batch.targets[:, None]).sum().item()


def test_policy_gradient_follows_advantages_and_stops_at_the_clip(tokenizer: PreTrainedTokenizerFast) -> None:
    learner = small(tokenizer, dataclasses.replace(CONFIG, learning_rate=1e-3, weight_decay=0.0))
    state = "⊢ p"
    learner.train([PolicyExample(state, "omega"), PolicyExample(state, "simp")], steps=60)
    old = {t: logprob(learner, state, t) for t in ("omega", "simp")}
    data = [PolicyExample(state, "omega", (), 1.0, old["omega"]), PolicyExample(state, "simp", (), -1.0, old["simp"])]
    first = learner.train(data, steps=1)
    assert first["clipped"] == 0
    learner.train(data, steps=100)
    new = {t: logprob(learner, state, t) for t in old}
    assert new["omega"] > old["omega"] and new["simp"] < old["simp"]
    assert learner.train(data, steps=1)["clipped"] == 1, "both ratios are past the clip, nothing pushes any more"


def test_kl_holds_the_model_to_its_reference(tokenizer: PreTrainedTokenizerFast) -> None:
    moved = []
    for kl in (0.0, 20.0):
        learner = small(tokenizer, dataclasses.replace(CONFIG, kl=kl))
        learner.train(examples(20), steps=20)
        held = Learner(learner.model, tokenizer, PROMPT, learner.config, reference=copy.deepcopy(learner.model))
        before = logprob(held, "⊢ p", "rfl")
        metrics = held.train([PolicyExample("⊢ p", "rfl")], steps=20)
        assert (metrics["kl"] > 0) == (kl > 0)
        moved.append(logprob(held, "⊢ p", "rfl") - before)
    assert 0 <= moved[1] < moved[0] / 2


def test_gradients_are_clipped(tokenizer: PreTrainedTokenizerFast) -> None:
    def norm(learner: Learner) -> float:
        grads = [p.grad.norm() for p in learner.model.parameters() if p.grad is not None]
        return torch.stack(grads).norm().item()

    for most in (1e-2, 1e9):
        learner = small(tokenizer, dataclasses.replace(CONFIG, clip_norm=most))
        before = learner.train(examples(20), steps=1)["grad_norm"]  # as it was before it was clipped
        assert before > 0.1 and norm(learner) == pytest.approx(min(most, before), rel=1e-3)


def test_the_rate_warms_up_once_and_falls_at_the_end(tokenizer: PreTrainedTokenizerFast) -> None:
    learner = small(tokenizer, dataclasses.replace(CONFIG, warmup=4, learning_rate=1e-3))
    rates = [learner.train(examples(4), steps=1)["learning_rate"] for _ in range(6)]
    assert rates == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, 1e-3, 1e-3])
    falling = small(
        tokenizer, dataclasses.replace(CONFIG, warmup=0, schedule="cosine", total_steps=4, learning_rate=1e-3)
    )
    rates = [falling.train(examples(4), steps=1)["learning_rate"] for _ in range(5)]
    assert rates == sorted(rates, reverse=True) and rates[0] == 1e-3 and rates[-1] == pytest.approx(5e-5)


def test_the_rate_does_not_jump_back_at_the_next_round(tokenizer: PreTrainedTokenizerFast) -> None:
    learner = small(tokenizer, dataclasses.replace(CONFIG, warmup=0, schedule="cosine", learning_rate=1e-3))
    rates = [learner.train(examples(4), steps=4, part=(r / 3, (r + 1) / 3))["learning_rate"] for r in range(3)]
    rates += [learner.train(examples(4), steps=1, part=(1.0, 1.0))["learning_rate"]]
    assert rates == sorted(rates, reverse=True) and rates[0] > 7e-4 and rates[2] < 3e-4


def test_what_is_published_is_the_average_of_the_weights(tokenizer: PreTrainedTokenizerFast) -> None:
    learner = small(tokenizer, dataclasses.replace(CONFIG, ema=0.9, warmup=0))
    kept = {n: p.detach().clone() for n, p in learner.model.named_parameters()}
    for step in range(1, 6):
        learner.train(examples(4), steps=1)
        decay = min(0.9, (1 + step) / (10 + step))
        kept = {n: decay * kept[n] + (1 - decay) * p.detach() for n, p in learner.model.named_parameters()}
    published = learner.weights()
    assert all(torch.allclose(published[n], w, atol=1e-6) for n, w in kept.items())
    assert any(not torch.allclose(published[n], p) for n, p in learner.model.named_parameters())


def test_limits_and_refusals(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    learner = small(tokenizer)
    with pytest.raises(ValueError, match="limit"):
        learner.train(examples(3))
    with pytest.raises(ValueError, match="no usable examples"):
        learner.train([PolicyExample("⊢ p", "x " * 500)], steps=1)
    with pytest.raises(ValueError, match="bin=16"):
        ValueExample("⊢ p", 16)
    assert learner.train(examples(6), seconds=0.3)["steps"] > 0
    assert learner.train([*examples(6), PolicyExample("⊢ p", "x " * 500)], epochs=2)["skipped"] == 1


def test_on_a_cpu_seconds_are_processor_time(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wall clock runs a hundred times faster, as on a busy machine: two seconds are as many steps all the same."""
    worked, passed = itertools.count(0.0, 0.25), itertools.count(0.0, 25.0)
    clocks = SimpleNamespace(thread_time=lambda: next(worked), monotonic=lambda: next(passed))
    monkeypatch.setattr(from_scratch, "time", clocks)
    assert small(tokenizer).train(examples(20), seconds=2.0)["steps"] == 2.0 / 0.25 - 1


def test_an_example_counts_the_same_whoever_it_meets_in_a_batch(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goals without tactics are short and meet each other in batches: their weights must hold there too."""
    losses: dict[float, float] = {}
    learner = small(
        tokenizer, dataclasses.replace(CONFIG, batch_tokens=1, rename=0.0, learning_rate=0.0, value_weight=0.5)
    )
    update = learner.update

    def watched(batch: Any, rate: float, mass: float) -> dict[str, float]:
        found = update(batch, rate, mass)
        nats = found["value_nats"] or found["policy_nats"]
        losses[float(batch.weight[0])] = found["loss"] / nats
        return found

    monkeypatch.setattr(learner, "update", watched)
    goal, tactic = make_pairs(1)[0]
    learner.train(
        [
            PolicyExample(goal, tactic, weight=2.0),
            ValueExample("⊢ p", 3, weight=1.0),
            ValueExample("⊢ q", 3, weight=3.0),
        ],
        epochs=1,
    )
    assert len(losses) == 3
    assert losses[3.0] == pytest.approx(3 * losses[1.0]), "a weight of three counts three times as much"
    assert losses[2.0] == pytest.approx(4 * losses[1.0]), (
        "a token of a tactic of weight two, four times a value of half a token"
    )


def test_several_ranks_share_an_epoch(tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch) -> None:
    data = examples(40)
    alone = small(tokenizer).train(data, epochs=1)
    monkeypatch.setattr(data_parallel, "ranks", lambda: 2)  # this one's part of what two do
    monkeypatch.setattr(data_parallel, "largest", lambda x, device: x)
    monkeypatch.setattr(data_parallel, "average_gradients", lambda parameters: None)
    shared = small(tokenizer).train(data, epochs=1)
    assert alone["epochs"] == 1.0 and shared["steps"] == round(alone["steps"] / 2)
    assert shared["epochs"] == pytest.approx(1.0, abs=1 / alone["steps"])
