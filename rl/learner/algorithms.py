"""The training of a run's algorithm: the learner's settings, and the trainer for its kind of examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prover.models.backends.serve import ServeConfig
from prover.models.manifest import read_manifest
from prover.models.templates import template_named
from rl.algorithms.gradient_settings import PRESETS, settings_of
from rl.config import RunConfig
from rl.examples import PolicyExample, PreferencePair, ValueExample
from rl.learner import policy_gradient, preferences, supervised
from rl.learner.learner import Learner
from rl.learner.settings import LearnerConfig
from rl.learner.small_model import SMALL
from rl.learner.value import add_head
from rl.trajectory import Trajectory

PROMPT = 2048
"""Tokens for prompts of a pretrained model, with tactics as answers."""
EPOCHS = 3.0
"""Maximum number of passes of a pretrained model over a round's examples if `learn.max_epochs` is 0."""


def learner_settings(config: RunConfig) -> LearnerConfig:
    c, s = config.learn, config.serve
    names = ("learning_rate", "clip_norm", "value_weight", "dtype")
    common = {"seed": config.seed, **{name: getattr(c, name) for name in names}}
    if s.start:
        return LearnerConfig(
            **common,
            lora_rank=s.lora_rank if s.train == "lora" else 0,
            gradient_checkpointing=s.gradient_checkpointing,
            max_length=s.max_model_len or _longest(s),
            shard=c.shard,
        )
    longest = max(2048, config.model.max_prompt + 512)  # its own limit on prompts is the one that counts
    own = ("warmup", "kl", "ema", "batch_tokens", "threads", "fresh_names")
    return replace(SMALL, **common, **{name: getattr(c, name) for name in own}, max_length=longest)


def _longest(serve: ServeConfig) -> int:
    """Tokens of the longest prompt and answer to learn from if `serve.max_model_len` does not say. The engine samples proofs as long as
    the template allows; if the learner read less, it would leave out the long ones."""
    name = serve.template or read_manifest(Path(serve.start)).template
    template = template_named(name) if name else None
    return PROMPT + (template.max_new_tokens if template is not None and template.answers == "proof" else 0)


def train(
    learner: Learner,
    config: RunConfig,
    policy: Sequence[PolicyExample] | Sequence[Trajectory] | Sequence[PreferencePair],
    values: Sequence[ValueExample],
    seconds: float,
    part: tuple[float, float] = (0.0, 1.0),
    reference: Any = None,
) -> dict[str, float]:
    """Train on a round's examples: supervised learning on tactics, a policy gradient on trajectories, or DPO on pairs, and the value jointly.

    `seconds`, `part`: see Learner.fit. `reference`: a frozen model. Returns the metrics of the algorithm, with `policy_loss`.
    """
    c = config.learn
    if config.learns_value:
        add_head(learner)  # searches ask for a value even before the first examples
    how: dict[str, Any] = {"epochs": c.max_epochs or 1.0, "seconds": seconds, "reference": reference}
    if pairs := [e for e in policy if isinstance(e, PreferencePair)]:
        metrics = preferences.train(learner, pairs, config.dpo, values, **how)
    elif config.serve.start and c.algorithm in PRESETS:
        settings, size = settings_of(c.algorithm, config.gradient), config.gradient.trajectories
        trajectories = [t for t in policy if isinstance(t, Trajectory)]
        metrics = policy_gradient.train(learner, trajectories, settings, values, batch=size, **how)
    else:
        tactics = [e for e in policy if isinstance(e, PolicyExample)]
        if config.serve.start:
            tactics, part = [e for e in tactics if e.weight > 0], (0.0, 1.0)
        how["epochs"] = c.max_epochs or (EPOCHS if config.serve.start else None)
        metrics = supervised.train(learner, [*_with_old(learner, tactics), *values], part=part, **how)
    return {"policy_loss": metrics["loss"], **metrics}


def _with_old(learner: Learner, examples: Sequence[PolicyExample]) -> list[PolicyExample]:
    """The examples. Where `old_logprob` is nan, it becomes the current model's log-probability; too long examples are dropped."""
    asked = {id(e): learner.encode(e) for e in examples if e.old_logprob is not None and math.isnan(e.old_logprob)}
    rows = {k: row for k, row in asked.items() if row[1]}
    found = learner.measure([[row] for row in rows.values()]) if rows else []
    known = {k: x.sum().item() for k, x in zip(rows, found, strict=True)}
    kept = [e for e in examples if id(e) in known or id(e) not in asked]
    return [replace(e, old_logprob=known[id(e)]) if id(e) in known else e for e in kept]
