"""The learner of runs that start from a pretrained model: a Tuner, checkpointed like the small model's learner.

A checkpoint is a model folder with merged adapters and the value head; a resumed run starts new adapters and a new optimizer from the
merged weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl.algorithms.gradient_settings import PRESETS, settings_of
from rl.config import RunConfig
from rl.examples import PolicyExample, PreferencePair, ValueExample
from rl.learner import policy_gradient, preferences
from rl.learner.finetune import TuneConfig, Tuner
from rl.learner.value import add_head
from rl.trajectory import Trajectory

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
            value_weight=c.value_weight,
            max_length=s.max_model_len or 2048,
            shard=c.shard,
            seed=config.seed,
        )
        self.tuner = Tuner(folder, settings, template=(s.template or None) if first else None, device=device)
        if config.learns_value and not first:
            add_head(self.tuner)  # for checkpoints of versions of Turnstile that had none
        self.config = config
        self._reference: Any = None

    def train(
        self,
        policy: Sequence[PolicyExample] | Sequence[Trajectory] | Sequence[PreferencePair],
        value: Sequence[ValueExample],
        seconds: float,
    ) -> dict[str, float]:
        """Expert iteration on weighted tactics, a policy gradient on trajectories, or DPO on pairs, and the value jointly. Returns the
        metrics of the algorithm, with `policy_loss` as in rl/metrics/compute.py."""
        c = self.config
        if c.learns_value:
            add_head(self.tuner)  # searches ask for a value even before the first examples
        if pairs := [e for e in policy if isinstance(e, PreferencePair)]:
            metrics = preferences.train(
                self.tuner,
                pairs,
                c.dpo,
                value,
                reference=self._reference_model(),
                epochs=c.learn.max_epochs or 1.0,
                seconds=seconds,
            )
        elif c.learn.algorithm not in PRESETS:
            tactics = [e for e in policy if isinstance(e, PolicyExample) and e.weight > 0]
            metrics = self.tuner.train(tactics, value, seconds=seconds)
        else:
            settings = settings_of(c.learn.algorithm, c.gradient)
            metrics = policy_gradient.train(
                self.tuner,
                [t for t in policy if isinstance(t, Trajectory)],
                settings,
                value,
                batch=c.gradient.trajectories,
                epochs=c.learn.max_epochs or 1.0,
                seconds=seconds,
                reference=self._reference_model() if settings.kl_weight else None,
            )
        return {**metrics, "policy_loss": metrics["loss"]}

    def _reference_model(self) -> Any:
        """The model that the run started from, frozen."""
        if self._reference is None:
            from transformers import AutoModelForCausalLM

            device = self.tuner.accelerator.device
            model: Any = AutoModelForCausalLM.from_pretrained(self.config.serve.start, trust_remote_code=False)
            self._reference = model.to(device).eval().requires_grad_(False)
        return self._reference

    def weights(self, folder: Path) -> dict[str, Any]:
        """All weights. Those of a sharded model are read from `folder`, the newest checkpoint."""
        return self.tuner.written(folder) if self.tuner.config.shard else self.tuner.weights()

    def save(self, folder: Path, version: int) -> None:
        """Every rank must call it."""
        self.tuner.save(folder, version)
