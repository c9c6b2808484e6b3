"""Settings of a learner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class LearnerConfig:
    """Settings of a learner. The defaults are for pretrained models; small_model.SMALL is for a new small model."""

    learning_rate: float = 1e-5
    """Peak learning rate. LoRA needs about ten times as much."""
    warmup: int = 10
    """Number of first steps of a learner, in which the learning rate rises."""
    final_rate: float = 0.1
    """Share of the peak to which the learning rate falls, along a cosine."""
    weight_decay: float = 0.0
    """Weight decay of matrices. Vectors have none."""
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 1.0
    batch_size: int = 16
    """Examples per update, over all processes and accumulated steps."""
    batch_tokens: int = 0
    """Tokens per update and process, including padding, instead of `batch_size`. Batches then have rows of similar length, and a row has all
    examples of a prompt. 0: use `batch_size`."""
    micro_tokens: int = 0
    """Tokens per forward pass of a device. A longer example has a pass of its own. 0: 8192 on a GPU; on a CPU, where the masked
    attention of many tokens costs more than it saves, 512 or twice `batch_tokens`."""
    max_length: int = 2048
    """Tokens of prompt and tactic. Longer prompts lose their beginning."""
    value_weight: float = 1.0
    """Number of tactic tokens that a value example counts as, times its own weight."""
    ema: float = 0.0
    """Decay of the weight average that `weights` returns. 0: none. 0.99 averages about the last hundred steps."""
    kl: float = 0.0
    """Supervised learning: weight per target token of KL(model || reference)."""
    ratio_clip: float = 0.2
    """Supervised learning: ratios of tactics whose old log-probability is given are clipped to 1 ± this."""
    rename: float = 0.0
    """Probability that a state's hypotheses are renamed in an epoch. Only for models that Turnstile made, like `fresh_names`."""
    fresh_names: float = 0.0
    """Probability that library names are replaced by made-up names (prover/models/fresh_names.py) in an epoch. This teaches what holds
    in unseen libraries. Not for pretrained models, which know the names."""
    lora_rank: int = 0
    """Rank of LoRA adapters. 0: train all weights."""
    lora_alpha: int = 32
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: the dtype of computation and of LoRA's frozen weights. Trained weights stay float32. Many times slower on CPUs without
    AMX or AVX512-BF16."""
    gradient_checkpointing: bool = False
    """Recompute activations instead of storing them: much less memory, a third more time."""
    shard: bool = False
    """Split the model and its optimizer over the processes (FSDP), for models larger than one device."""
    threads: int | None = None
    """Number of torch threads of the process. None: torch's default."""
    seed: int = 0
