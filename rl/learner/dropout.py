"""Switches dropout off where a loss compares the model with another one, or with itself before the update."""

from __future__ import annotations

import torch


def without_dropout(model: torch.nn.Module) -> None:
    """Set every dropout rate of a model to 0. With dropout, the ratio of a policy that has not moved is not 1, and GSPO's narrow clip
    removes half of the gradient.

    Architectures keep a rate in a module of torch (`p`) or as a number (`attention_dropout`, `activation_dropout`, `layerdrop`).
    """
    for module in model.modules():
        for name, rate in list(vars(module).items()):
            if isinstance(rate, float) and ("drop" in name or (name == "p" and "Dropout" in type(module).__name__)):
                setattr(module, name, 0.0)
