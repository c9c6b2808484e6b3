"""The value of a pretrained model: its head is trained jointly with the policy, saved, served and used by the search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    AutoModelForCausalLM,
    ByT5Tokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from prover.errors import UserError
from prover.lean.theorem import Goal, ProofState
from prover.models.backends.huggingface import HuggingFacePolicy
from prover.models.base import Query, Sampled
from prover.models.manifest import VALUE_HEAD, read_manifest
from prover.models.prompt import PromptConfig
from prover.models.tokenizer import N_BINS, train_tokenizer
from prover.models.transformer import LanguageModelPolicy, new_model
from prover.models.value_head import PREFIX, ValueHead, read_head, split_weights
from prover.solve.policies import provers_named
from rl.algorithms import expert_iteration
from rl.algorithms.gradient_settings import PRESETS
from rl.examples import PolicyExample, ValueExample
from rl.learner import policy_gradient
from rl.learner.learner import Learner
from rl.learner.settings import LearnerConfig
from rl.learner.supervised import train
from rl.learner.value import HEAD_RATE, ValueBatches, value_logits
from rl.reliability import auc
from rl.trajectory import Trajectory


def goal(k: int, solvable: bool) -> str:
    return f"n m : Nat\n⊢ n + {k} = {k} + n" if solvable else f"n m : Nat\n⊢ n * {k} < m"


TACTICS = [PolicyExample(goal(k, True), "omega") for k in range(20)]
VALUES = [ValueExample(goal(k, s), k % 3 if s else N_BINS - 1) for k in range(40) for s in (True, False)]
HELD_BACK = {s: [goal(k, s) for k in range(41, 60)] for s in (True, False)}


def queries(goals: list[str]) -> list[Query]:
    return [Query(ProofState(0, text, (Goal(text),))) for text in goals]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = train_tokenizer([t for e in TACTICS for t in (e.state, e.tactic)] * 3, 320)
    new_model(len(tokenizer), 48, 2, 2, 96, positions=256, seed=3).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another architecture, with learned positions and biases."""
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = train_tokenizer([t for e in TACTICS for t in (e.state, e.tactic)] * 3, 320)
    torch.manual_seed(0)
    size = {"n_embd": 48, "n_layer": 2, "n_head": 2, "n_positions": 256}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=2, **size)).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    size = {"d_model": 48, "d_kv": 24, "d_ff": 96, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2}
    T5ForConditionalGeneration(T5Config(vocab_size=384, decoder_start_token_id=0, **size)).save_pretrained(folder)
    ByT5Tokenizer(extra_ids=125).save_pretrained(folder)
    return folder


def ranking(policy: Any) -> float:
    """Probability that a held-back solvable goal has a higher value than one that is not."""
    found = {s: [e.value(0.95) for e in policy.evaluate(queries(goals))] for s, goals in HELD_BACK.items()}
    return auc(found[True], found[False])


@pytest.mark.parametrize(
    ("model", "lora", "template"),
    [("llama", 0, "names"), ("llama", 4, "names"), ("gpt2", 0, "names"), ("t5", 0, "reprover")],
)
def test_trained_with_the_policy_it_ranks_held_back_goals(
    model: str, lora: int, template: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(model)
    config = LearnerConfig(learning_rate=1e-2 if lora else 2e-3, lora_rank=lora)
    tuner = Learner.load(folder, config, template=template, device="cpu")
    before = {k: w.clone() for k, w in tuner.weights().items()}
    metrics = train(tuner, [*TACTICS, *VALUES], epochs=60.0)
    assert metrics["last_loss"] < 0.5 * metrics["first_loss"], "the policy learned too"
    assert 0 < metrics["value_loss"] < 2.7726 and metrics["value_accuracy"] > 0.4  # log 16
    tuner.save(tmp_path / "000001", 1)
    served = HuggingFacePolicy(tmp_path / "000001", template, dtype="float32")
    assert served.has_value and read_manifest(tmp_path / "000001").value
    assert ranking(served) > 0.9
    # What is served is the learner's, in a padded batch as well, also after new weights.
    tuner.model.eval()
    some = queries(HELD_BACK[True][:3] + ["⊢ True"])
    with torch.no_grad():
        own = value_logits(tuner, [tuner.prompt(ValueExample(q.state.text, 0)) for q in some]).softmax(-1)
    for row, estimate in zip(own, served.evaluate(some), strict=True):
        torch.testing.assert_close(torch.tensor(estimate.probs), row, atol=1e-4, rtol=0)
    plain = HuggingFacePolicy(folder, template, dtype="float32")
    assert not plain.has_value
    with pytest.raises(ValueError, match="no value head"):
        plain.evaluate(some)
    plain.load_weights(tuner.weights(), 1)
    for a, b in zip(plain.evaluate(some), served.evaluate(some), strict=True):
        assert a.probs == pytest.approx(b.probs, abs=1e-5)
    # A resumed learner goes on with the head. The model itself has learned: its weights are others than before.
    again = Learner.load(tmp_path / "000001", config, device="cpu")
    assert again.head is not None and torch.equal(again.head.weight, tuner.head.weight)  # type: ignore[union-attr]
    assert any(not torch.equal(w, before[k]) for k, w in again.weights().items() if not k.startswith(PREFIX))
    assert {k for k in again.weights() if k.startswith(PREFIX)} == {PREFIX + "weight", PREFIX + "bias"}


def test_the_loss_is_the_cross_entropy_of_the_head_and_the_gradient_reaches_the_model(llama: Path) -> None:
    """One update of value and policy against a plain implementation, example by example."""
    config = LearnerConfig(learning_rate=1e-3, warmup=0, value_weight=2.0, clip_norm=1e9, micro_tokens=64, batch_size=4)
    tuner = Learner.load(llama, config, template="names", device="cpu")
    policy, values = TACTICS[:4], [ValueExample(goal(1, True), 0), ValueExample(goal(2, False), N_BINS - 1, weight=3.0)]
    tuner.head = ValueHead(48)
    torch.nn.init.normal_(tuner.head.weight, generator=torch.Generator().manual_seed(1))
    plain, head = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32), ValueHead(48)
    head.load_state_dict(tuner.head.state_dict())
    rows = [tuner.encode(e) for e in policy]
    prompts = [(tuner.prompt(e), e) for e in values]
    found = train(tuner, [*policy, *values], epochs=1.0)
    assert found["steps"] == 1
    loss, tokens = torch.zeros(()), sum(len(t) for _, t in rows)
    for prompt, target in rows:
        logits = plain(torch.tensor([[*prompt, *target]])).logits[0, len(prompt) - 1 : -1]
        loss = loss + F.cross_entropy(logits, torch.tensor(target), reduction="sum") / tokens
    batch = ValueBatches(tuner, values, 4 / 4, 4)
    assert batch.size == 2
    nats = []
    for prompt, e in prompts:
        state = plain.model(torch.tensor([prompt])).last_hidden_state[0, -1]
        normal = (state - state.mean()) / (state.var(unbiased=False) + 1e-5).sqrt()
        nats.append(F.cross_entropy(head.weight @ normal / 48**0.5 + head.bias, torch.tensor(e.bin)))
        loss = loss + 2.0 * e.weight * nats[-1] / tokens
    assert found["value_loss"] == pytest.approx(sum(x.item() for x in nats) / 2, abs=1e-4)
    optimizer = torch.optim.AdamW(
        [{"params": plain.parameters(), "lr": 1e-3}, {"params": head.parameters(), "lr": HEAD_RATE}], weight_decay=0.0
    )
    loss.backward()
    optimizer.step()
    for (name, own), other in zip(tuner.model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own, other, atol=2e-5, rtol=0, msg=lambda m, name=name: f"{name}: {m}")
    torch.testing.assert_close(tuner.head.weight, head.weight, atol=2e-5, rtol=0)


def test_a_policy_gradient_learns_the_value_too(llama: Path) -> None:
    tuner = Learner.load(llama, LearnerConfig(learning_rate=2e-3), template="names", device="cpu")
    call = Sampled(tuple(tuner.prompt(TACTICS[0])), (60, 2), (-5.0, -5.0))
    data = [Trajectory((call,), float(k % 2), k // 2) for k in range(16)]
    metrics = policy_gradient.train(tuner, data, PRESETS["dapo"], VALUES, batch=4, epochs=40.0)
    assert metrics["steps"] == 160 and metrics["value_accuracy"] > 0.4
    with torch.no_grad():
        found = {
            s: value_logits(tuner, [tuner.prompt(ValueExample(g, 0)) for g in goals]).softmax(-1)[:, -1].tolist()
            for s, goals in HELD_BACK.items()
        }
    assert auc(found[False], found[True]) > 0.9


def test_rollouts_give_the_labels_of_a_search() -> None:
    """Steps-to-go of the states that some rollout closed, and negatives after 8 tactics below an open state."""
    decide = lambda states: [(s, (), "t", -1.0) for s in states]  # noqa: E731
    rollouts = [
        {"decisions": decide("abc"), "steps": [3, 1, 1]},
        {"decisions": decide("ab"), "steps": [None, None]},
        *[{"decisions": decide("ad"), "steps": [None, None]}] * 3,
        *[{"decisions": decide("de"), "steps": [None, None]}] * 3,
    ]
    found = {data["state"]: data["steps"] for _, data in expert_iteration.rollout_values(rollouts)}
    assert found == {"a": 3, "b": 1, "c": 1, "d": None}  # nine tactics at or below d, three at e
    examples = {
        e.state: e.bin
        for e in expert_iteration.value_examples([{"state": s, "premises": (), "steps": n} for s, n in found.items()])
    }
    assert examples == {"a": 2, "b": 0, "c": 0, "d": N_BINS - 1}


def test_a_broken_head_is_refused(llama: Path, tmp_path: Path) -> None:
    tuner = Learner.load(llama, template="names", device="cpu")
    tuner.head = ValueHead(48)
    tuner.save(tmp_path / "m", 1)
    assert read_head(tmp_path / "m") is not None
    with pytest.raises(ValueError, match="value head"):
        split_weights({**tuner.weights(), PREFIX + "weight": torch.zeros(3, 48)})
    (tmp_path / "m" / VALUE_HEAD).write_bytes(b"nonsense")
    with pytest.raises(UserError, match="cannot be read as a value head"):
        HuggingFacePolicy(tmp_path / "m", "names")


def test_a_model_with_value_tokens_goes_on_with_these(tmp_path: Path) -> None:
    """A run may start from a model that Turnstile made: it is served as such, so it gets no head."""
    texts = [t for e in TACTICS for t in (e.state, e.tactic)] + [goal(k, False) for k in range(20)]
    tokenizer = train_tokenizer(texts * 3, 400)
    model = new_model(len(tokenizer), 48, 2, 2, 96, positions=256, seed=3)
    LanguageModelPolicy(model, tokenizer, PromptConfig(max_prompt=96), version=1).save(tmp_path / "start")
    tuner = Learner.load(tmp_path / "start", LearnerConfig(learning_rate=2e-3), device="cpu")
    train(tuner, [*TACTICS, *VALUES], epochs=60.0)
    tuner.save(tmp_path / "trained", 2)
    assert tuner.head is None and not (tmp_path / "trained" / VALUE_HEAD).exists()
    assert read_manifest(tmp_path / "trained").value
    assert ranking(LanguageModelPolicy.load(tmp_path / "trained")) > 0.9


def test_a_policy_by_name_has_the_value(llama: Path, tmp_path: Path) -> None:
    tuner = Learner.load(llama, template="names", device="cpu")
    tuner.head = ValueHead(48)
    tuner.save(tmp_path / "m", 1)
    assert provers_named(f"hf:{tmp_path / 'm'}?template=names")[0].value is not None
    assert provers_named(f"hf:{llama}?template=names")[0].value is None
