"""Fine-tune a model on (goal, tactic) pairs."""

from __future__ import annotations

from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from prover.console import answer, say
from prover.errors import UserError
from prover.files import check_new_folder

if TYPE_CHECKING:
    from prover.models.templates import Template
    from rl.examples import PolicyExample
    from rl.learner.learner import Learner
    from rl.learner.settings import LearnerConfig


def tune(
    model: Annotated[str, tyro.conf.Positional],
    pairs: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    template: str | None = None,
    epochs: float = 1.0,
    learning_rate: float | None = None,
    batch_size: int = 16,
    micro_tokens: int = 0,
    lora_rank: int = 0,
    bf16: bool = False,
    gradient_checkpointing: bool = False,
    shard: bool = False,
    max_length: int = 2048,
    limit: int | None = None,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Fine-tune a model on pairs and write a folder that transformers, vLLM and `--policy` load.

    Several GPUs: `accelerate launch -m prover.cli tune …` (docs/tune.md).

    Args:
        model: a model's folder, its name on the Hugging Face hub, or `new` for a new model of 2 million random weights.
        pairs: JSONL with `goal` and `tactic` (and `premises`, `weight`, `towards`), or a split of LeanDojo's benchmark (.json).
        out: the folder to write; must not exist.
        template: the prompt template: a name or a .toml file. Not for folders that Turnstile wrote.
        epochs: passes over the pairs.
        learning_rate: peak learning rate. Default: 1e-5, or 1e-4 with adapters.
        batch_size: pairs per update.
        micro_tokens: tokens per forward pass of a device; 0: 8192 on a GPU and 512 on a CPU.
        lora_rank: train adapters of this rank; 0: all weights.
        bf16: compute in bfloat16.
        gradient_checkpointing: recompute activations: less memory, a third more time.
        shard: split the model over the processes (FSDP), for models larger than one device.
        max_length: maximum number of tokens of goal and tactic.
        limit: maximum number of pairs.
        seed: random seed.
        json: print the figures as one JSON document.
    """
    from rl.learner.pairs import load_pairs
    from rl.learner.settings import LearnerConfig

    check_new_folder(out, "--out")
    if lora_rank < 0:
        raise UserError(f"--lora-rank {lora_rank}: must be the rank of the adapters; 0 trains all weights")
    numbers: dict[str, float | None] = {
        "epochs": epochs,
        "batch-size": batch_size,
        "micro-tokens": micro_tokens or None,
        "max-length": max_length,
        "learning-rate": learning_rate,
        "limit": limit,
    }
    for name, number in numbers.items():
        if number is not None and not 0 < number < inf:
            raise UserError(f"--{name} {number}: must be positive")
    examples = load_pairs(pairs)[:limit]
    config = LearnerConfig(
        learning_rate=learning_rate or (1e-4 if lora_rank else 1e-5),
        warmup=round(0.05 * epochs * len(examples) / batch_size),
        batch_size=batch_size,
        micro_tokens=micro_tokens,
        lora_rank=lora_rank,
        dtype="bfloat16" if bf16 else "float32",
        gradient_checkpointing=gradient_checkpointing,
        shard=shard,
        max_length=max_length,
        seed=seed,
    )
    learner = _learner(model, examples, config, template)
    used: Template | None = getattr(learner.format, "template", None)
    if used is not None and not used.shows_goal_to_reach and any(e.towards for e in examples):
        raise UserError(
            f"{pairs}: has `towards`, which the template {used.name} does not show; choose another template"
        )
    return _train(model, learner, examples, epochs, out, json)


def _learner(model: str, examples: list[PolicyExample], config: LearnerConfig, template: str | None) -> Learner:
    from prover.models.formats import TemplateFormat
    from prover.models.templates import template_named
    from rl.config import ModelConfig
    from rl.learner.learner import Learner
    from rl.learner.small_model import NEW, small_model

    if model != NEW:
        return Learner.load(model, config, template=template)
    if template is None:
        raise UserError("new: name the prompt template of the new model with --template")
    try:
        form = TemplateFormat(template_named(template))
    except ValueError as e:
        raise UserError(f"--template: {e}") from None
    return Learner(*small_model(examples, ModelConfig(), 1024, config.seed), form, config)


def _train(model: str, learner: Learner, examples: list[PolicyExample], epochs: float, out: Path, json: bool) -> int:
    from rl.learner.supervised import train

    weights = sum(p.numel() for p in learner.trained.values())
    say(f"training {weights:,} weights on {len(examples)} pairs, on {learner.accelerator.device}")
    try:
        metrics = train(learner, examples, epochs=epochs)
    except ValueError as e:
        raise UserError(str(e)) from None
    learner.save(out)
    if learner.accelerator.is_main_process:
        if json:
            answer({"model": model, "out": str(out), "config": {**asdict(learner.config), "epochs": epochs}, **metrics})
        else:
            losses = f"{metrics['first_loss']:.3f} → {metrics['last_loss']:.3f}"
            say(f"loss {losses} in {metrics['seconds']:.0f} s; written to {out}")
    return 0
