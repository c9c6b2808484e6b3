"""Training models from elsewhere: all weights, adapters, sequence-to-sequence; what is saved is an ordinary folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from sample_goals import make_pairs, query
from transformers import (
    AutoModelForCausalLM,
    ByT5Tokenizer,
    LlamaForCausalLM,
    M2M100Config,
    M2M100ForConditionalGeneration,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from prover.errors import UserError
from prover.models.backends.huggingface import HuggingFacePolicy
from prover.models.transformer import LanguageModelPolicy, new_model
from rl.examples import PolicyExample
from rl.learner.adapters import adapter_settings, adapter_weights, frozen_weights
from rl.learner.learner import Learner
from rl.learner.pairs import load_pairs
from rl.learner.settings import LearnerConfig
from rl.learner.supervised import train

PAIRS = [PolicyExample(g, t) for g, t in make_pairs(36, seed=9)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    path = tmp_path_factory.mktemp("plain")
    model: LlamaForCausalLM = new_model(len(tokenizer), 64, 2, 2, 128, 256, seed=4)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def logits(path: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.arange(40, 72)[None]).logits


@pytest.mark.parametrize(
    "config",
    [
        LearnerConfig(learning_rate=3e-3, batch_size=12),
        LearnerConfig(learning_rate=1e-2, batch_size=12, lora_rank=8, gradient_checkpointing=True),
        LearnerConfig(learning_rate=1e-2, batch_size=12, lora_rank=8, dtype="bfloat16"),
    ],
    ids=["all", "lora", "lora-bf16"],
)
def test_it_learns_and_saves_a_whole_model(folder: Path, tmp_path: Path, config: LearnerConfig) -> None:
    tuner = Learner.load(folder, config, template="names", device="cpu")
    everything = sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(folder).parameters())
    assert (sum(p.numel() for p in tuner.trained.values()) < everything) == bool(config.lora_rank)
    metrics = train(tuner, PAIRS, epochs=6)
    assert metrics["last_loss"] < 0.7 * metrics["first_loss"] and metrics["skipped"] == 0
    tuner.save(tmp_path / "m")
    assert {p.name for p in (tmp_path / "m").iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert not list((tmp_path / "m").glob("adapter*"))
    assert json.loads((tmp_path / "m" / "turnstile.json").read_text()) == {"version": 1, "template": "names"}
    # What is published from the folder is what was trained, under the same names, tied ones too.
    own, written = tuner.weights(), tuner.written(tmp_path / "m")
    assert own.keys() == written.keys() and all(torch.equal(own[k], written[k]) for k in own)
    HuggingFacePolicy(folder, "names", dtype="float32" if config.dtype == "float32" else "auto").load_weights(
        written, 1
    )
    # What transformers loads, without peft, is what was trained.
    trained = tuner.model.eval()
    with torch.no_grad():
        computed = trained(torch.arange(40, 72)[None]).logits.float()
    tolerance = 0.2 if config.dtype == "bfloat16" else 1e-4
    torch.testing.assert_close(logits(tmp_path / "m"), computed, atol=tolerance, rtol=tolerance)
    assert not torch.allclose(logits(tmp_path / "m"), logits(folder), atol=0.1)
    # Merging for the save did not change what goes on being trained.
    assert train(tuner, PAIRS, epochs=1)["first_loss"] < metrics["first_loss"]


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_adapters_on_the_frozen_weights_are_the_merged_model(folder: Path, tmp_path: Path, ema: float) -> None:
    from peft import PeftModel

    from prover.models.value_head import write_weights

    tuner = Learner.load(
        folder, LearnerConfig(learning_rate=1e-2, lora_rank=4, ema=ema), template="names", device="cpu"
    )
    train(tuner, PAIRS, steps=8)
    stored = AutoModelForCausalLM.from_pretrained(folder)
    frozen = frozen_weights(tuner)
    assert frozen.keys() == {k for k in stored.state_dict() if k not in tuner.tied}
    assert all(torch.equal(w, stored.state_dict()[k]) for k, w in frozen.items())
    # As peft reads them, which is the format that vLLM takes.
    write_weights(tmp_path, adapter_weights(tuner), "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter_settings(tuner)))
    adapted = PeftModel.from_pretrained(stored, str(tmp_path)).eval()
    tuner.save(tmp_path / "merged")
    with torch.no_grad():
        found = adapted(torch.arange(40, 72)[None]).logits
    assert (found - logits(folder)).abs().max() > 0.05
    torch.testing.assert_close(found, logits(tmp_path / "merged"), atol=1e-3, rtol=0)


def test_seq2seq(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=384,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=0,
    )
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    ByT5Tokenizer(extra_ids=125).save_pretrained(tmp_path / "t5")
    tuner = Learner.load(
        tmp_path / "t5", LearnerConfig(learning_rate=1e-2, batch_size=4), template="reprover", device="cpu"
    )
    metrics = train(tuner, [PolicyExample("⊢ p", "simp"), PolicyExample("⊢ q", "omega")] * 8, epochs=24)
    assert metrics["last_loss"] < 0.3
    tuner.save(tmp_path / "out")
    policy = HuggingFacePolicy(tmp_path / "out", "reprover", dtype="float32")
    [answers] = policy.suggest([query("⊢ p")], 3)
    assert {s.tactic for s in answers[:2]} == {"simp", "omega"}


def test_an_encoder_decoder_without_shifted_labels_is_refused(tmp_path: Path) -> None:
    sizes = {f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in (("layers", 1), ("ffn_dim", 32))}
    config = M2M100Config(vocab_size=400, d_model=16, encoder_attention_heads=2, decoder_attention_heads=2, **sizes)
    M2M100ForConditionalGeneration(config).save_pretrained(tmp_path)
    ByT5Tokenizer(extra_ids=125).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="train a T5 or BART"):
        Learner.load(tmp_path, template="names", device="cpu")


def test_a_process_that_does_not_write_makes_no_copy(folder: Path, tmp_path: Path, monkeypatch) -> None:
    """Eight processes of a machine would otherwise hold eight copies of a 7 B model beside their own."""
    tuner = Learner.load(folder, template="names", device="cpu")
    copies: list[bool] = []
    monkeypatch.setattr(tuner, "weights", lambda: copies.append(True))
    monkeypatch.setattr(type(tuner.accelerator), "is_main_process", property(lambda _: False))
    tuner.save(tmp_path / "copy", 3)
    assert tuner.version == 3 and not copies and not (tmp_path / "copy").exists()


def test_a_trained_folder_keeps_its_format(policy: LanguageModelPolicy, tmp_path: Path) -> None:
    policy.version = 3
    policy.save(tmp_path / "own")
    tuner = Learner.load(tmp_path / "own", LearnerConfig(learning_rate=1e-3, batch_size=8), device="cpu")
    train(tuner, [PolicyExample(g, t) for g, t in make_pairs(16)], epochs=1)
    tuner.save(tmp_path / "next")
    after = LanguageModelPolicy.load(tmp_path / "next")
    assert after.version == 4 and after.prompter.config == policy.prompter.config
    assert after.suggest([query("⊢ p")], 4) != policy.suggest([query("⊢ p")], 4)


def test_pairs(tmp_path: Path) -> None:
    lines = tmp_path / "p.jsonl"
    lines.write_text(
        '{"goal": "⊢ p", "tactic": "simp"}\n\n{"goal": "⊢ q", "tactic": "rw [a.b]", "premises": ["a.b"]}\n'
    )
    assert load_pairs(lines) == [PolicyExample("⊢ p", "simp"), PolicyExample("⊢ q", "rw [a.b]", ("a.b",))]
    split = tmp_path / "train.json"
    steps = [{"tactic": "simp", "state_before": "⊢ p", "state_after": "no goals"}]
    split.write_text(json.dumps([{"full_name": "x", "traced_tactics": steps}]))
    assert load_pairs(split) == [PolicyExample("⊢ p", "simp")]
    for text, message in [
        ('{"goal": "⊢ p"}', r"p\.jsonl:1: Object missing required field `tactic`"),
        ('{"goal": "⊢ p", "tactic": " "}', "must not be empty"),
        ("[1]", r"p\.jsonl:1"),
        ("{", r"p\.jsonl:1"),
        ("", "no pairs"),
    ]:
        lines.write_text(text)
        with pytest.raises(UserError, match=message):
            load_pairs(lines)


def test_faults(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="template"):
        Learner.load(folder, device="cpu")
    with pytest.raises(ValueError, match="are longer than max_length=3"):
        train(Learner.load(folder, LearnerConfig(max_length=3), template="names", device="cpu"), PAIRS, epochs=1)
