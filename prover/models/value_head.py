"""The value of a pretrained model: a head on its hidden states, with a distribution over steps-to-go.

The hidden state is the input of the model's output layer where the model predicts the first token of its answer. Policy and value
therefore share the prompt. A model folder keeps the head in a subfolder, which transformers and vLLM do not read. In a state dict,
its weights are next to those of the model, under names that begin with PREFIX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from prover.errors import UserError
from prover.models.manifest import VALUE_HEAD
from prover.models.tokenizer import N_BINS

PREFIX = "value_head."


class ValueHead(torch.nn.Module):
    """Logits over the value bins. Hidden states are normalised first, because their scale differs between models."""

    def __init__(self, hidden: int) -> None:
        """A head with zero weights, which gives every bin the same probability."""
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(N_BINS, hidden))
        self.bias = torch.nn.Parameter(torch.zeros(N_BINS))

    def forward(self, states: Tensor) -> Tensor:
        """[..., hidden] → [..., N_BINS], in float32."""
        x = F.layer_norm(states.float(), states.shape[-1:])
        return F.linear(x, self.weight / self.weight.shape[1] ** 0.5, self.bias)

    def state(self) -> dict[str, Tensor]:
        """Its weights on the CPU, named with PREFIX."""
        return {PREFIX + name: w.detach().cpu().clone() for name, w in self.state_dict().items()}


def split_weights(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], ValueHead | None]:
    """(the model's weights, the value head) of a state dict; None without a head. Raises ValueError for a head of another shape."""
    own = {name.removeprefix(PREFIX): w for name, w in weights.items() if name.startswith(PREFIX)}
    rest = {name: w for name, w in weights.items() if not name.startswith(PREFIX)}
    if not own:
        return rest, None
    if own.keys() != {"weight", "bias"} or own["weight"].shape != (N_BINS, own["weight"].shape[-1]):
        raise ValueError(f"the value head has {', '.join(f'{k} {tuple(w.shape)}' for k, w in own.items())}")
    head = ValueHead(own["weight"].shape[-1])
    head.load_state_dict(own)
    return rest, head


def write_weights(folder: Path, weights: Mapping[str, Tensor], file: str = "model.safetensors") -> None:
    """Write a state dict as a model folder's weights, tied ones once, and its value head."""
    from safetensors.torch import save_file

    own, head = split_weights(weights)
    names = {w.data_ptr(): name for name, w in reversed(own.items())}
    save_file({n: own[n].contiguous() for n in names.values()}, folder / file, metadata={"format": "pt"})
    if head is not None:
        write_head(folder, head)


def write_head(folder: Path, head: ValueHead) -> None:
    from safetensors.torch import save_file

    path = folder / VALUE_HEAD
    path.parent.mkdir(exist_ok=True)
    save_file(head.state(), str(path))


def read_head(folder: str | Path) -> ValueHead | None:
    """The head of a model folder; None if it has none. Raises UserError for an invalid file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(folder) / VALUE_HEAD
    if not path.is_file():
        return None
    try:
        return split_weights(load_file(path))[1]
    except (OSError, ValueError, RuntimeError, SafetensorError) as e:
        raise UserError(f"{path}: cannot be read as a value head: {e}") from None


def output_layer(model: Any) -> Any:
    """The model's output layer. Raises UserError for a model without one."""
    layer = model.get_output_embeddings()
    if layer is None:
        raise UserError(f"{type(model).__name__}: the model has no output layer")
    return layer


@contextmanager
def output_inputs(model: Any, pick: Callable[[Tensor], Tensor]) -> Iterator[list[Tensor]]:
    """Record the inputs [rows, tokens, hidden] of a model's output layer during the block. `pick` selects some of them, in the same number of
    dimensions, and the layer computes only their logits. Raises UserError for a model without an output layer."""
    seen: list[Tensor] = []

    def look(_: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen.append(pick(given[0]))
        return (seen[-1], *given[1:])

    handle = output_layer(model).register_forward_pre_hook(look)
    try:
        yield seen
    finally:
        handle.remove()
