"""A tokenizer and a tiny model for the tests of the language model."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from sample_goals import make_pairs
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from prover.models.prompt import PromptConfig
from prover.models.tokenizer import train_tokenizer
from prover.models.transformer import LanguageModelPolicy, new_model
from rl.examples import PolicyExample
from rl.learner.small_model import SMALL, small_learner
from rl.learner.supervised import train

PROMPT = PromptConfig(max_prompt=96)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer([t for pair in make_pairs(300) for t in pair], 1024)


@pytest.fixture(scope="session")
def trained(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A tiny model that has learned little more than to end its tactics."""
    model = new_model(len(tokenizer), hidden=64, layers=2, heads=4, intermediate=128, positions=160)
    learner = small_learner(model, tokenizer, PROMPT, replace(SMALL, batch_tokens=512, warmup=5))
    train(learner, [PolicyExample(g, t) for g, t in make_pairs(60)], steps=40)
    return learner.model.eval()


@pytest.fixture
def policy(trained: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> LanguageModelPolicy:
    return LanguageModelPolicy(copy.deepcopy(trained), tokenizer, PROMPT)
