"""LoRA adapters (Hu et al. 2021) of a model, by peft."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from rl.learner.learner import Learner
    from rl.learner.settings import LearnerConfig


def with_adapters(model: Any, config: LearnerConfig, seq2seq: bool) -> Any:
    """The model with new adapters on all linear layers. Only these are trained."""
    from peft import LoraConfig, get_peft_model

    kind = "SEQ_2_SEQ_LM" if seq2seq else "CAUSAL_LM"
    lora = LoraConfig(r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules="all-linear", task_type=kind)
    adapted: Any = get_peft_model(model, lora)
    if config.gradient_checkpointing:
        adapted.enable_input_require_grads()
    return adapted


def adapter_weights(learner: Learner) -> dict[str, Tensor]:
    """A copy of the adapters on the CPU, averaged with `ema`, named as in peft's `adapter_model.safetensors`, and the weights of the value
    head. Not for a sharded model."""
    trained = zip(learner.trained, learner.average or learner.trained.values(), strict=True)
    found = {name.replace(".default.", "."): w.detach().to("cpu", copy=True) for name, w in trained}
    return found | (learner.head.state() if learner.head is not None else {})


def adapter_settings(learner: Learner) -> dict[str, Any]:
    """The entries of `adapter_config.json` for the adapters (peft's LoraConfig)."""
    lora = learner.accelerator.unwrap_model(learner.model).peft_config["default"]
    return {
        "peft_type": "LORA",
        "task_type": str(lora.task_type),
        "r": lora.r,
        "lora_alpha": lora.lora_alpha,
        "target_modules": sorted(lora.target_modules),
        "bias": "none",
    }


def frozen_weights(learner: Learner) -> dict[str, Tensor]:
    """The weights that adapters are added to, on the CPU, named as in the folder. Not for a sharded model."""
    state = learner.accelerator.unwrap_model(learner.model).state_dict()
    named = {own_name(name): w.detach().cpu() for name, w in state.items() if "lora_" not in name}
    return {name: w for name, w in named.items() if name not in learner.tied}


def own_name(name: str) -> str:
    """The name that a weight of an adapted model has without adapters."""
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")
