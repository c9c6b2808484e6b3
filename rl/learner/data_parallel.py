"""Data parallelism for the learner: averages gradients over torch.distributed. Does nothing if it is not initialised.

The whole model is on each device, and each rank takes other batches of the same order. DistributedDataParallel would only add
the overlap of communication with backward, and would hide methods of the model that the loss needs.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist


def ranks() -> int:
    """Number of learner processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Index of this process."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def largest(x: float, device: torch.device) -> float:
    """Maximum over the ranks, so that all stop at the same step and use the same learning rate."""
    if ranks() == 1:
        return x
    t = torch.tensor(x, dtype=torch.float64, device=device)
    dist.all_reduce(t, dist.ReduceOp.MAX)
    return float(t)


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace every gradient by its mean over the ranks, in one all-reduce."""
    if ranks() == 1:
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    flat /= ranks()
    done = 0
    for g in grads:
        g.copy_(flat[done : done + g.numel()].view_as(g))
        done += g.numel()
