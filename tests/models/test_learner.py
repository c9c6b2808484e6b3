"""The learner fits what it is shown, resumes exactly, and moves probabilities the way the weights say."""

from __future__ import annotations

import copy
import io
import itertools
import math
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

from prover.errors import UserError
from prover.models.prompt import PromptConfig, Prompter
from prover.models.tokenizer import TextCodec
from prover.models.transformer import LanguageModelPolicy, new_model
from rl.config import RunConfig, override
from rl.examples import PolicyExample, ValueExample
from rl.learner import learner as module
from rl.learner.algorithms import learner_settings
from rl.learner.learner import Learner
from rl.learner.packing import count_tokens
from rl.learner.rows import group, renamed
from rl.learner.settings import LearnerConfig
from rl.learner.small_model import SMALL, small_learner
from rl.learner.supervised import train

CONFIG = replace(SMALL, batch_tokens=512, warmup=5, final_rate=1.0, learning_rate=3e-3)
PROMPT = PromptConfig(max_prompt=96)


def small(tokenizer: PreTrainedTokenizerFast, config: LearnerConfig = CONFIG, seed: int = 0) -> Learner:
    model = new_model(len(tokenizer), hidden=64, layers=2, heads=4, intermediate=128, positions=160, seed=seed)
    return small_learner(model, tokenizer, PROMPT, config, "cpu")


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
    learner = small(tokenizer, replace(CONFIG, rename=0.0, final_rate=0.05, ema=0.9))
    metrics = train(learner, data, steps=120)
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
    config = replace(CONFIG, ema=ema, final_rate=0.05)
    data = examples(60)
    whole = small(tokenizer, config)
    train(whole, data, steps=20)
    first = small(tokenizer, config)
    train(first, data, steps=10, part=(0.0, 0.5))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = small(tokenizer, config, seed=9)
    second.load_state_dict(torch.load(file, weights_only=True))
    train(second, data, steps=10, part=(0.5, 1.0))
    for name, tensor in whole.weights().items():
        assert torch.equal(tensor, second.weights()[name]), name
    again = small(tokenizer, config)
    train(again, data, steps=20)
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
    rows, skipped = group(learner.encode, data, 1000)
    assert [len(row.answers) for row in rows] == [3, 1] and skipped == 0
    answers = [tokens for row in rows for tokens in row.answers]
    assert count_tokens(answers) == sum(row.size for row in rows)
    with torch.no_grad():
        alone = torch.cat([learner.outputs([tokens])[0] for tokens in answers])
        torch.testing.assert_close(learner.outputs(answers)[0], alone, atol=1e-4, rtol=1e-4)


def test_two_steps_equal_a_plain_implementation(tokenizer: PreTrainedTokenizerFast) -> None:
    """AdamW on tactics, values, ratios and the KL to a reference, answer by answer, without trees, batches or hooks."""
    config = replace(SMALL, batch_tokens=4096, warmup=1, rename=0.0, value_weight=0.5, kl=0.1, ratio_clip=0.05)
    learner, plain = small(tokenizer, config), small(tokenizer, config).model
    reference = small(tokenizer, config, seed=1).model.eval()
    groups = [
        {"params": [p for p in plain.parameters() if p.ndim >= 2], "weight_decay": 0.05},
        {"params": [p for p in plain.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    data = [replace(e, weight=1.0 + k % 3) for k, e in enumerate(examples(6))]
    tokens = [learner.encode(e) for e in data]

    def logits(model: torch.nn.Module, prompt: Any, target: Any) -> torch.Tensor:
        return model(torch.tensor([[*prompt, *target]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)

    def nats(prompt: Any, target: Any) -> torch.Tensor:
        return -logits(plain, prompt, target).gather(-1, torch.tensor(target)[:, None]).sum()

    with torch.no_grad():  # of the first two tactics: one that the first update moves past the clip, one that it leaves
        known = {k: -nats(*tokens[k]).item() for k in (0, 2)}
    data = [replace(e, old_logprob=known[k], weight=-1.0) if k in known else e for k, e in enumerate(data)]
    scales = [0.5 if isinstance(e, ValueExample) else 1.0 for e in data]
    mass = sum(abs(e.weight) * scale * len(target) for e, scale, (_, target) in zip(data, scales, tokens, strict=True))
    targets = sum(len(target) for _, target in tokens)
    for step in range(2):
        loss = torch.zeros(())
        for k, (e, scale, row) in enumerate(zip(data, scales, tokens, strict=True)):
            if k in known:
                ratio = (-nats(*row) - known[k]).exp()
                term = -torch.minimum(ratio * e.weight, ratio.clamp(0.95, 1.05) * e.weight)
            else:
                term = e.weight * nats(*row)
            own = logits(plain, *row)
            divergence = (own.exp() * (own - logits(reference, *row).detach())).sum()
            loss = loss + scale * term / mass + 0.1 * divergence / targets
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        for params in optimizer.param_groups:  # the warm-up, then a cosine of two steps
            params["lr"] = 1e-3 * (0.5, 0.05 + 0.95 * 0.5)[step]
        optimizer.step()
    metrics = train(learner, data, steps=2, reference=reference)
    assert metrics["steps"] == 2 and metrics["kl"] > 0
    for (name, own), other in zip(learner.model.named_parameters(), plain.named_parameters(), strict=True):
        torch.testing.assert_close(own, other[1], atol=1e-5, rtol=0, msg=lambda m, name=name: f"{name}: {m}")


def test_the_librarys_names_become_made_up_words_where_asked(tokenizer: PreTrainedTokenizerFast) -> None:
    """Other words each time, the same ones in goal, premises and tactic; slots and hypotheses as ever; and only where it can be."""
    prompter = Prompter(TextCodec(tokenizer), PromptConfig(max_prompt=200))
    learner = small_learner(small(tokenizer).model, tokenizer, prompter.config, CONFIG, "cpu")
    state, premises = "mapped : List Nat\n⊢ List.length mapped = Nat.succ 0", ("List.length_pos", "Nat.succ_pos")
    tactics = ("simp [List.length_pos, List.length]", "cases mapped <;> simp")
    constants = ("List", "Nat", "List.length", "Nat.succ")

    def texts(examples: list[PolicyExample], seed: int) -> list[str]:
        (row,), _ = group(learner.encode, examples, 1000)
        row = renamed(prompter, learner.encode, row, random.Random(seed), 0.0, 1.0)
        (prompt, _), *_ = row.answers
        return ["".join(tokenizer.decode([*prompt, *(i for _, target in row.answers for i in target)]))]

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
    return learner.measure([[learner.encode(PolicyExample(state, tactic))]])[0].sum().item()


def test_policy_gradient_follows_advantages_and_stops_at_the_clip(tokenizer: PreTrainedTokenizerFast) -> None:
    learner = small(tokenizer, replace(CONFIG, learning_rate=1e-3, weight_decay=0.0))
    state = "⊢ p"
    train(learner, [PolicyExample(state, "omega"), PolicyExample(state, "simp")], steps=60)
    old = {t: logprob(learner, state, t) for t in ("omega", "simp")}
    data = [PolicyExample(state, "omega", (), 1.0, old["omega"]), PolicyExample(state, "simp", (), -1.0, old["simp"])]
    first = train(learner, data, steps=1)
    assert first["clipped"] == 0
    train(learner, data, steps=100)
    new = {t: logprob(learner, state, t) for t in old}
    assert new["omega"] > old["omega"] and new["simp"] < old["simp"]
    assert train(learner, data, steps=1)["clipped"] == 1, "both ratios are past the clip, nothing pushes any more"


def test_kl_holds_the_model_to_its_reference(tokenizer: PreTrainedTokenizerFast) -> None:
    moved = []
    for kl in (0.0, 20.0):
        learner = small(tokenizer, replace(CONFIG, kl=kl))
        train(learner, examples(20), steps=20)
        held = small_learner(learner.model, tokenizer, PROMPT, learner.config, "cpu")
        reference = copy.deepcopy(learner.model)
        before = logprob(held, "⊢ p", "rfl")
        metrics = train(held, [PolicyExample("⊢ p", "rfl")], steps=20, reference=reference)
        assert (metrics["kl"] > 0) == (kl > 0)
        moved.append(logprob(held, "⊢ p", "rfl") - before)
    assert 0 <= moved[1] < moved[0] / 2


def test_gradients_are_clipped(tokenizer: PreTrainedTokenizerFast) -> None:
    for most in (1e-2, 1e9):
        learner = small(tokenizer, replace(CONFIG, clip_norm=most))
        norms = []

        def norm(optimizer: torch.optim.Optimizer, *_: object, norms: list[float] = norms) -> None:
            grads = [p.grad.norm() for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            norms.append(torch.stack(grads).norm().item())

        learner.optimizer.register_step_pre_hook(norm)
        before = train(learner, examples(20), steps=1)["grad_norm"]  # as it was before it was clipped
        assert before > 0.1 and norms == pytest.approx([min(most, before)], rel=1e-3)


@pytest.mark.parametrize("faults", [1, 11])
def test_a_gradient_that_is_not_finite_is_skipped(tokenizer: PreTrainedTokenizerFast, faults: int) -> None:
    """One overflow must not end a run, nor reach the weights or the optimizer."""
    learner = small(tokenizer, replace(CONFIG, ema=0.9))
    batches = iter(range(100))

    def loss(part: Any, mass: float) -> tuple[torch.Tensor, torch.Tensor]:
        whole = sum((p.square().mean() for p in learner.model.parameters()), torch.zeros(()))
        whole = whole * math.nan if 3 <= next(batches) < 3 + faults else whole
        return whole, torch.stack([whole.detach(), torch.ones(())])

    def fit() -> tuple[dict[str, float], list[float]]:
        return learner.fit(lambda _: [[SimpleNamespace(size=1)]], loss, 1.0, steps=16)

    if faults > 10:
        with pytest.raises(UserError, match="step 14: the gradients of 11 updates"):
            fit()
    else:
        found, (total, count) = fit()
        assert count == 15 and math.isfinite(total)
        assert (found["steps"], found["skipped_updates"]) == (16, faults)
        assert 0 < found["last_loss"] < found["first_loss"] and math.isfinite(found["grad_norm"])
    assert all(w.isfinite().all() for w in learner.weights().values())


def test_the_rate_warms_up_once_and_falls_at_the_end(tokenizer: PreTrainedTokenizerFast) -> None:
    learner = small(tokenizer, replace(CONFIG, warmup=4, learning_rate=1e-3))
    rates = [train(learner, examples(4), steps=1)["learning_rate"] for _ in range(6)]
    assert rates == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, 1e-3, 1e-3])
    falling = small(tokenizer, replace(CONFIG, warmup=0, final_rate=0.05, learning_rate=1e-3))
    parts = [(k / 4, (k + 1) / 4) for k in range(4)] + [(1.0, 1.0)]
    rates = [train(falling, examples(4), steps=1, part=part)["learning_rate"] for part in parts]
    assert rates == sorted(rates, reverse=True) and rates[0] == 1e-3 and rates[-1] == pytest.approx(5e-5)


def test_the_rate_does_not_jump_back_at_the_next_round(tokenizer: PreTrainedTokenizerFast) -> None:
    learner = small(tokenizer, replace(CONFIG, warmup=0, final_rate=0.05, learning_rate=1e-3))
    rates = [train(learner, examples(4), steps=4, part=(r / 3, (r + 1) / 3))["learning_rate"] for r in range(3)]
    rates += [train(learner, examples(4), steps=1, part=(1.0, 1.0))["learning_rate"]]
    assert rates == sorted(rates, reverse=True) and rates[0] > 7e-4 and rates[2] < 3e-4


def test_what_is_published_is_the_average_of_the_weights(tokenizer: PreTrainedTokenizerFast) -> None:
    learner = small(tokenizer, replace(CONFIG, ema=0.9, warmup=0))
    kept = {n: p.detach().clone() for n, p in learner.model.named_parameters()}
    for step in range(1, 6):
        train(learner, examples(4), steps=1)
        decay = min(0.9, (1 + step) / (10 + step))
        kept = {n: decay * kept[n] + (1 - decay) * p.detach() for n, p in learner.model.named_parameters()}
    published = learner.weights()
    assert all(torch.allclose(published[n], w, atol=1e-6) for n, w in kept.items())
    assert any(not torch.allclose(published[n], p) for n, p in learner.model.named_parameters())


def test_limits_and_refusals(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    learner = small(tokenizer)
    with pytest.raises(ValueError, match="limit"):
        train(learner, examples(3))
    with pytest.raises(ValueError, match="no usable examples"):
        train(learner, [PolicyExample("⊢ p", "x " * 500)], steps=1)
    with pytest.raises(ValueError, match="bin=16"):
        ValueExample("⊢ p", 16)
    assert train(learner, examples(6), seconds=0.3)["steps"] > 0
    assert train(learner, [*examples(6), PolicyExample("⊢ p", "x " * 500)], epochs=2)["skipped"] == 1


def test_on_a_cpu_seconds_are_processor_time(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wall clock runs a hundred times faster, as on a busy machine: two seconds are as many steps all the same."""
    worked, passed = itertools.count(0.0, 0.25), itertools.count(0.0, 25.0)
    clocks = SimpleNamespace(thread_time=lambda: next(worked), monotonic=lambda: next(passed))
    monkeypatch.setattr(module, "time", clocks)
    assert train(small(tokenizer), examples(20), seconds=2.0)["steps"] == 2.0 / 0.25 - 1


def test_an_example_counts_the_same_whoever_it_meets_in_a_batch(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goals without tactics are short and meet each other in batches: their weights must hold there too."""
    losses: dict[float, float] = {}
    learner = small(tokenizer, replace(CONFIG, batch_tokens=1, rename=0.0, learning_rate=0.0, value_weight=0.5))
    update = learner._update

    def watched(batch: Any, *rest: Any) -> Any:
        with torch.no_grad():
            nats = -learner.logprobs(batch[0].answers).sum().item()
        found = update(batch, *rest)
        losses[batch[0].examples[0].weight] = found[0].loss / nats
        return found

    monkeypatch.setattr(learner, "_update", watched)
    goal, tactic = make_pairs(1)[0]
    train(
        learner,
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


def test_a_small_model_trains_on_all_of_its_longest_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    config = learner_settings(override(RunConfig(), ("model.max_prompt=3000", "prover.premises=0")))
    goal = PolicyExample(" ∧ ".join(["p"] * 4000), "rfl")
    model = new_model(len(tokenizer), 16, 1, 2, 16, 4096, seed=0)
    learner = small_learner(model, tokenizer, PromptConfig(max_prompt=3000, max_premises=0), config, "cpu")
    prompt, target = learner.encode(goal)
    assert len(prompt) == 3000
    assert train(learner, [goal], steps=1)["tokens"] == len(prompt) - 1 + len(target)
