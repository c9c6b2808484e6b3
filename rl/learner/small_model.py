"""A new small model: a Llama with random weights, a tokenizer trained on examples, and suitable training settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from prover.models.formats import SlotFormat
from prover.models.prompt import PromptConfig, Prompter, reached_text
from prover.models.tokenizer import TextCodec, train_tokenizer
from prover.models.transformer import new_model
from rl.config import ModelConfig
from rl.examples import PolicyExample
from rl.learner.learner import Learner
from rl.learner.settings import LearnerConfig

NEW = "new"
"""The name that `turnstile tune` takes for a new model, in place of a folder."""
SMALL = LearnerConfig(
    learning_rate=1e-3,
    warmup=20,
    final_rate=0.05,
    weight_decay=0.05,
    betas=(0.9, 0.98),
    batch_tokens=256,  # on a CPU, many small steps learn far more than few large ones
    rename=0.5,
)


def small_model(
    examples: Iterable[PolicyExample], config: ModelConfig, positions: int, seed: int
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A model of the given size and a tokenizer trained on the examples."""
    every = list(examples)
    texts = [t for e in every for t in (e.state, *[e.tactic] * 3)]
    texts += [reached_text(e.state, e.towards) for e in every if e.towards]
    tokenizer = train_tokenizer(texts, config.vocabulary)
    size = (config.hidden, config.layers, config.heads, config.intermediate)
    return new_model(len(tokenizer), *size, positions=positions, seed=seed), tokenizer


def small_learner(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    prompt: PromptConfig | None = None,
    config: LearnerConfig = SMALL,
    device: str | None = None,
) -> Learner:
    """A learner of a model in Turnstile's own prompt format, which has value tokens."""
    return Learner(model, tokenizer, SlotFormat(Prompter(TextCodec(tokenizer), prompt)), config, device=device)
