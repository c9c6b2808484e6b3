"""A tokenizer and a tiny model for the tests of the language model."""

from __future__ import annotations

import copy

import pytest
from sample_goals import make_pairs
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from prover.models.prompt import PromptConfig
from prover.models.tokenizer import train_tokenizer
from prover.models.transformer import LanguageModelPolicy, new_model
from rl.examples import PolicyExample
from rl.learner.from_scratch import Learner, LearnerConfig

PROMPT = PromptConfig(max_prompt=96)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer([t for pair in make_pairs(300) for t in pair], 1024)


@pytest.fixture(scope="session")
def trained(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A tiny model that has learned little more than to end its tactics."""
    model = new_model(len(tokenizer), hidden=64, layers=2, heads=4, intermediate=128, positions=160)
    learner = Learner(model, tokenizer, PROMPT, LearnerConfig(batch_tokens=512, warmup=5))
    learner.train([PolicyExample(g, t) for g, t in make_pairs(60)], steps=40)
    return learner.model.eval()


@pytest.fixture
def policy(trained: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> LanguageModelPolicy:
    return LanguageModelPolicy(copy.deepcopy(trained), tokenizer, PROMPT)
