"""Data parallelism for the learner: averaged gradients over torch.distributed, and nothing where it was not initialised.

The learner shows each rank other batches of the same order, so torch's DistributedDataParallel would add only the overlap of
communication with backward, and would hide the model's own methods that the loss needs. The whole model sits on each device.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist


def ranks() -> int:
    """How many processes learn together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def largest(x: float, device: torch.device) -> float:
    """The largest of the ranks' numbers, so that all stop at the same step and use the same rate."""
    if ranks() == 1:
        return x
    t = torch.tensor(x, dtype=torch.float64, device=device)
    dist.all_reduce(t, dist.ReduceOp.MAX)
    return float(t)


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace every gradient by its mean over the ranks, in one message."""
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
