"""A policy that has not moved has ratio 1, and is as far from its reference as it says, whatever dropout its model was made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM, PreTrainedTokenizerFast

from prover.models.tokenizer import train_tokenizer
from rl.algorithms import gradient_settings as gs
from rl.algorithms.dpo_settings import DPOConfig
from rl.examples import PreferencePair
from rl.learner import policy_gradient, preferences
from rl.learner.learner import Learner
from rl.learner.settings import LearnerConfig
from tests.rl.test_policy_gradient import trajectories


@pytest.fixture(params=["gpt2", "opt"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """GPT-2 keeps its rates in torch's modules, OPT as numbers. Both have 0.1 by default."""
    tokenizer: PreTrainedTokenizerFast = train_tokenizer(["simp", "rfl", "⊢ p", "⊢ q"] * 20, 300)
    torch.manual_seed(0)
    special: dict[str, Any] = {"vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2}
    if request.param == "gpt2":
        model: Any = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=64, **special))
    else:
        sizes = {"hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 64, "num_hidden_layers": 2}
        model = OPTForCausalLM(OPTConfig(num_attention_heads=2, attention_dropout=0.1, **sizes, **special))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_a_policy_gradient(folder: Path) -> None:
    tuner = Learner.load(folder, LearnerConfig(), template="names", device="cpu")
    found = policy_gradient.train(tuner, trajectories(tuner.model.eval()), gs.PRESETS["gspo"], batch=100)
    assert found["steps"] == 1 and found["clip_frac"] == 0
    assert found["ratio"] == pytest.approx(1.0, abs=1e-5) and found["approx_kl"] == pytest.approx(0.0, abs=1e-8)


def test_dpo(folder: Path) -> None:
    tuner = Learner.load(folder, LearnerConfig(), template="names", device="cpu")
    reference = type(tuner.model).from_pretrained(folder, dtype=torch.float32)
    pairs = [PreferencePair("⊢ p", "simp", "rfl")]
    found = preferences.train(tuner, pairs, DPOConfig(), reference=reference)
    assert found["steps"] == 1 and found["margin"] == pytest.approx(0.0, abs=1e-5)
