"""FSDP for models larger than one device: torch's `fully_shard` over all processes.

Splits weights, gradients and Adam's moments, and gathers a layer during its computation. Each process first reads the folder into
host memory in the stored dtype (usually 2 bytes per weight), then moves the layers to the device one by one.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from prover.errors import UserError
from rl.learner.adapters import own_name


def shard(model: Any, device: torch.device, frozen: torch.dtype, compute: torch.dtype) -> Any:
    """Split the model in place over the default process group, layer by layer. Trained weights are float32, the others `frozen`.
    Raises UserError if there is only one process."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    if not dist.is_initialized() or dist.get_world_size() < 2:
        raise UserError("shard needs several processes: use `accelerate launch --num_processes 8 -m prover.cli tune …`")
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32) if compute != torch.float32 else None
    how = {"mesh": mesh, **({"mp_policy": policy} if policy else {})}
    whole = set(model._no_split_modules or ())
    for part in [m for m in model.modules() if type(m).__name__ in whole] + [model]:
        for p in part.parameters():
            p.data = p.data.to(torch.float32 if p.requires_grad else frozen)
        fully_shard(part, **how)
    return model


def whole_weights(model: Any) -> dict[str, Tensor]:
    """The full state_dict on the CPU in the first process; {} in the others. Every process must call it."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return get_model_state_dict(model, options=options)  # pyright: ignore[reportReturnType]


def merged(model: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A full state_dict with adapters merged into their weights, W + scaling · B A (Hu et al. 2021, section 4.1), and with the names
    of the model without adapters."""
    modules = dict(model.named_modules())
    found: dict[str, Tensor] = {}
    for name, w in state.items():
        if "lora_" in name:
            continue
        place, adapted, _ = name.rpartition(".base_layer.weight")
        if adapted:
            a, b = (state[f"{place}.lora_{x}.default.weight"].float() for x in "AB")
            delta = b @ a * modules[place].scaling["default"]
            w = (w.float() + (delta.T if modules[place].fan_in_fan_out else delta)).to(w.dtype)
        found[own_name(name)] = w
    return found
