"""Opens a model with one of the back ends: transformers in this process, or vLLM on one or more GPUs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prover.models.backends.vllm_worker import MAX_LORA_RANK
from prover.models.manifest import read_manifest


@dataclass(frozen=True)
class ServeConfig:
    """A run's initial model, its back end and its training. The default is a small model trained from scratch."""

    backend: Literal["transformers", "vllm"] = "transformers"
    """`vllm` needs the extra `vllm`."""
    start: str = ""
    """A pretrained model's folder, or its name on the Hugging Face hub; empty: a small model with random weights."""
    template: str = ""
    """Prompt template of a pretrained model: a name or a .toml file (prover/models/templates); empty: from its turnstile.json."""
    tensor_parallel: int = 1
    """GPUs per copy, within a machine."""
    pipeline_parallel: int = 1
    """Pipeline stages per copy, across machines, which must share the run's folder."""
    memory: float = 0.9
    """Share of each GPU's memory for vLLM."""
    dtype: str = "auto"
    """Type of the served weights: `auto`, `bfloat16`, `float16` or `float32`."""
    max_model_len: int = 0
    """Longest prompt with its answer, in tokens; 0: the model's limit. The learner then reads 2048 tokens, and for whole proofs those of the
    template's longest answer besides."""
    train: Literal["all", "lora"] = "all"
    """Weights that are trained: all, or LoRA adapters."""
    lora_rank: int = 16
    merge: bool = False
    """Merge adapters into the weights that vLLM serves, instead of replacing only the adapters after each round. Needed for models whose
    adapters vLLM does not support. Always on for the other back end, for ranks above 512, across machines and with `learn.shard`."""
    gradient_checkpointing: bool = False
    gpu_gb: float = 80.0
    """Memory of one GPU, for the plan printed by `--dry-run`."""

    @property
    def across(self) -> bool:
        """Whether a copy spans several machines."""
        return self.backend == "vllm" and self.pipeline_parallel > 1

    @property
    def adapters(self) -> bool:
        """Whether the model servers can serve adapters that are not merged."""
        lora = bool(self.start) and self.train == "lora" and not self.merge
        return lora and self.backend == "vllm" and not self.across and self.lora_rank <= MAX_LORA_RANK


def open_backend(folder: str | Path, config: ServeConfig, threads: int = 1, lora_rank: int = 0) -> Any:
    """Open a model folder as a policy, and as a value if its format has value tokens. Every back end has `suggest`,
    `load_weights` and `version`. `lora_rank`: rank of the adapters that vLLM will get, 0 for none. Raises UserError or ModelFolderError."""
    if config.backend == "transformers":
        template = config.template or read_manifest(Path(folder)).template
        if template:
            from prover.models.backends.huggingface import HuggingFacePolicy

            policy = HuggingFacePolicy(folder, template, device=_device(), dtype=config.dtype)
            policy.version = read_manifest(Path(folder)).version
            return policy
        from prover.models.transformer import LanguageModelPolicy

        return LanguageModelPolicy.load(folder, threads=threads)
    from prover.models.backends.vllm import VLLMConfig, VLLMPolicy

    settings = VLLMConfig(
        tensor_parallel=config.tensor_parallel,
        pipeline_parallel=config.pipeline_parallel,
        executor="ray" if config.across else "auto",
        memory=config.memory if config.memory != ServeConfig.memory else None,
        dtype=None if config.dtype == "auto" else config.dtype,
        max_model_len=config.max_model_len or None,
        lora_rank=lora_rank,
    )
    return VLLMPolicy(folder, settings, template=config.template or None)


def _device() -> str:
    """`cuda` if there is a GPU, in a Ray actor only if Ray reserved one for it; else `cpu`."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None:
        return "cuda" if ray.get_gpu_ids() else "cpu"
    return "cuda"
