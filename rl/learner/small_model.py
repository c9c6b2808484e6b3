"""A small model with random weights in Hugging Face format, for experiments where no pretrained model can be downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prover.models.tokenizer import train_tokenizer
from prover.models.transformer import new_model
from rl.config import ModelConfig
from rl.examples import PolicyExample

NEW = "new"
"""The name that asks for it in place of a folder."""


def write_small_model(folder: Path, examples: Sequence[PolicyExample], config: ModelConfig, seed: int) -> None:
    """Write a Llama of the given size, with a tokenizer trained on the examples."""
    tokenizer = train_tokenizer([t for e in examples for t in (e.state, e.tactic, e.tactic)], config.vocabulary)
    model = new_model(
        len(tokenizer), config.hidden, config.layers, config.heads, config.intermediate, positions=1024, seed=seed
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
