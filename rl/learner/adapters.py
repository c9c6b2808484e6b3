"""LoRA adapters (Hu et al. 2021) of a model, by peft."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prover.errors import UserError

if TYPE_CHECKING:
    from rl.learner.settings import LearnerConfig


def with_adapters(model: Any, config: LearnerConfig, seq2seq: bool) -> Any:
    """The model with new adapters, which alone are trained. Raises UserError for modules that cannot have one."""
    from peft import LoraConfig, get_peft_model

    targets = config.lora_targets if config.lora_targets == "all-linear" else config.lora_targets.split(",")
    kind = "SEQ_2_SEQ_LM" if seq2seq else "CAUSAL_LM"
    lora = LoraConfig(r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules=targets, task_type=kind)
    try:
        adapted = get_peft_model(model, lora)
    except ValueError as e:
        raise UserError(f"lora_targets={config.lora_targets}: {e}") from None
    if any("lora_embedding" in name for name, _ in adapted.named_parameters()):
        raise UserError(
            f"lora_targets={config.lora_targets}: adapters are for linear layers; remove embeddings from the list"
        )
    if config.gradient_checkpointing:
        adapted.enable_input_require_grads()
    return adapted
