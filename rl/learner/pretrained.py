"""The learner of runs that start from a pretrained model: a Tuner, checkpointed like the small model's learner.

It learns tactics only. Such models have no value tokens, so their runs search without a value. A checkpoint is a model folder
with merged adapters; a resumed run starts new adapters and a new optimizer from the merged weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl.config import RunConfig
from rl.learner.batches import PolicyExample
from rl.learner.finetune import TuneConfig, Tuner

EPOCHS = 3.0
"""Maximum number of passes over a round's examples if `learn.max_epochs` is 0."""


class Pretrained:
    """Trains, publishes and saves a pretrained model."""

    def __init__(self, config: RunConfig, folder: str | Path, device: str) -> None:
        """`folder`: the pretrained model's, or a checkpoint of this run. Raises UserError if it cannot be loaded."""
        c, s = config.learn, config.serve
        first = str(folder) == s.start
        settings = TuneConfig(
            learning_rate=c.learning_rate,
            epochs=c.max_epochs or EPOCHS,
            lora_rank=s.lora_rank if s.train == "lora" else 0,
            dtype=c.dtype,
            gradient_checkpointing=s.gradient_checkpointing,
            clip_norm=c.clip_norm,
            max_length=s.max_model_len or 2048,
            shard=c.shard,
            seed=config.seed,
        )
        self.tuner = Tuner(folder, settings, template=(s.template or None) if first else None, device=device)

    def train(self, policy: Sequence[PolicyExample], seconds: float) -> dict[str, float]:
        """Expert iteration on weighted tactics. Returns the tuner's metrics, with `policy_loss` as in rl/metrics/compute.py."""
        metrics = self.tuner.train([e for e in policy if e.weight > 0], seconds=seconds)
        return {**metrics, "policy_loss": metrics["loss"]}

    def weights(self, folder: Path) -> dict[str, Any]:
        """All weights. Those of a sharded model are read from `folder`, the newest checkpoint."""
        return self.tuner.written(folder) if self.tuner.config.shard else self.tuner.weights()

    def save(self, folder: Path, version: int) -> None:
        """Every rank must call it."""
        self.tuner.save(folder, version)
