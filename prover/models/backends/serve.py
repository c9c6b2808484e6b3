"""Which program serves a model: transformers here, or vLLM on one GPU or many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prover.models.formats import folder_version
from prover.models.manifest import read_manifest


@dataclass(frozen=True)
class ServeConfig:
    """The model that a run starts from, what serves it, and how it is trained. As it stands: the small model from nothing."""

    backend: Literal["transformers", "vllm"] = "transformers"
    """`vllm` needs the extra of that name."""
    start: str = ""
    """A pretrained model's folder, or its name on the Hugging Face hub; empty: a small model from nothing."""
    template: str = ""
    """How a pretrained model is asked: a name or a .toml file (prover/models/templates); empty: as its turnstile.json says."""
    tensor_parallel: int = 1
    """GPUs that each copy is split over, within a machine."""
    pipeline_parallel: int = 1
    """Parts that a copy's layers are split into, across machines, which must share the run's folder."""
    memory: float = 0.9
    """Share of each GPU that vLLM takes."""
    dtype: str = "auto"
    """Of the served weights: `auto`, `bfloat16`, `float16` or `float32`."""
    max_model_len: int = 0
    """Longest prompt with its answer, in tokens; 0: what the model reads."""
    train: Literal["all", "lora"] = "all"
    """What the learner trains. Adapters are merged before weights are published."""
    lora_rank: int = 16
    gradient_checkpointing: bool = False
    gpu_gb: float = 80.0
    """Memory of one GPU, for the plan that `--dry-run` prints."""

    @property
    def across(self) -> bool:
        """Whether a copy spans machines."""
        return self.backend == "vllm" and self.pipeline_parallel > 1


def open_backend(folder: str | Path, config: ServeConfig, threads: int = 1, seed: int = 0) -> Any:
    """A policy (and value, where its format has value tokens) on a model folder; all have `suggest`, `load_weights` and
    `version`. Raises UserError or ModelFolderError, saying what is missing."""
    if config.backend == "transformers":
        template = config.template or read_manifest(Path(folder)).template
        if template:
            from prover.models.backends.huggingface import HuggingFacePolicy

            policy = HuggingFacePolicy(folder, template, device=_device(), dtype=config.dtype, seed=seed)
            policy.version = folder_version(folder)
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
        seed=seed,
    )
    return VLLMPolicy(folder, settings, template=config.template or None)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
