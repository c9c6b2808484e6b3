"""Sequence packing: sequences with the same prompt share it, and one pass computes several prompts without attention between them.

A tree is a prompt without its last token, and its branches: the last token of a prompt and the target after it. A token attends to
its own branch and to the trunk. The output layer runs at the targets only: the logits of 16,000 tokens over a vocabulary of 152,000
would take 10 GB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from prover.models.value_head import output_inputs

Tokens = Sequence[int]
Row = tuple[Tokens, Tokens]
"""Prompt and target of a sequence, as token ids. Neither is empty."""
Batching = Literal["trees", "rows", "seq2seq"]
"""`trees`: packed. `rows`: every sequence in a row of its own in a padded batch, for causal models that ignore a mask of trees. `seq2seq`:
the same with the prompt in the encoder."""
PADDING = 1.25
"""Trees are rows of a padded batch if padding takes at most this factor of their tokens. Otherwise all trees are in one row, where
attention costs more."""


class _Tree:
    """A trunk with its branches, one after the other."""

    def __init__(self, trunk: Tokens) -> None:
        self.ids, self.positions, self.branches = list(trunk), list(range(len(trunk))), [0] * len(trunk)
        self.trunk = len(trunk)
        self.starts: dict[tuple[int, ...], int] = {}

    def place(self, branch: tuple[int, ...]) -> int:
        """Index of the branch's first token. Adds the branch if it is new."""
        if branch not in self.starts:
            self.starts[branch] = len(self.ids)
            self.ids += branch
            self.positions += range(self.trunk, self.trunk + len(branch))
            self.branches += [len(self.starts)] * len(branch)
        return self.starts[branch]


def _trees(rows: Sequence[Row], share: bool = True) -> tuple[list[_Tree], list[tuple[int, int]]]:
    """(the trees of some rows; for each row the index of its tree and of the token in it that predicts the first target)."""
    trees: list[_Tree] = []
    known: dict[Any, int] = {}
    places: list[tuple[int, int]] = []
    for prompt, target in rows:
        trunk, branch = tuple(prompt[:-1]), (prompt[-1], *target[:-1])
        k = known.setdefault(trunk if share else (trunk, branch), len(trees))
        if k == len(trees):
            trees.append(_Tree(trunk))
        places.append((k, trees[k].place(branch)))
    return trees, places


def count_tokens(rows: Sequence[Row], batching: Batching = "trees") -> int:
    """Number of tokens of a pass over the rows. In trees, a shared prompt counts once."""
    return sum(len(tree.ids) for tree in _trees(rows, batching == "trees")[0])


def by_prompt(rows: Sequence[Row], tokens: int, batching: Batching = "trees") -> list[list[Row]]:
    """The rows without repetitions, in groups that share a prompt and take at most `tokens` tokens."""
    groups: list[list[Row]] = []
    last: dict[Tokens, list[Row]] = {}
    for row in dict.fromkeys((tuple(prompt), tuple(target)) for prompt, target in rows):
        found = last.get(row[0][:-1])
        if found is None or count_tokens([*found, row], batching) > tokens:
            found = last[row[0][:-1]] = []
            groups.append(found)
        found.append(row)
    return groups


def micro_batches(sizes: Sequence[int], tokens: int) -> list[list[int]]:
    """The indices of `sizes` in parts of at most `tokens` tokens, longest first. A larger item is a part of its own."""
    parts: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        place = next((k for k, free in enumerate(room) if free >= sizes[i]), None)
        if place is None:
            parts.append([])
            room.append(tokens)
            place = len(parts) - 1
        parts[place].append(i)
        room[place] -= sizes[i]
    return parts


def target_logprobs(model: Any, rows: Sequence[Row], device: Any, batching: Batching = "trees") -> Tensor:
    """[N], log-probability of every target token of the rows, in order, in float32."""
    return of_targets(outputs(model, rows, device, batching)[0], rows)


def of_targets(logits: Tensor, rows: Sequence[Row]) -> Tensor:
    """[N], the log-probabilities of the targets under logits [N, V]."""
    targets = torch.tensor([t for _, target in rows for t in target], device=logits.device)
    return torch.gather(logits, 1, targets[:, None])[:, 0] - logits.logsumexp(-1)


def outputs(model: Any, rows: Sequence[Row], device: Any, batching: Batching = "trees") -> tuple[Tensor, Tensor]:
    """(logits [N, V] in float32, inputs of the output layer [N, hidden]) from which the N target tokens of the rows are predicted, in
    order. Raises UserError for a model without an output layer."""
    inputs, where = _seq2seq(model, rows, device) if batching == "seq2seq" else _causal(rows, device, batching)
    with output_inputs(getattr(model, "module", model), lambda x: x.flatten(0, 1)[where][None]) as seen:
        logits = model(**inputs, use_cache=False).logits[0].float()
    return logits, seen[-1][0]


def _pad(lists: Sequence[Sequence[int]], filler: int, device: Any) -> Tensor:
    size = max(map(len, lists))
    return torch.tensor([[*x, *[filler] * (size - len(x))] for x in lists], device=device)


def _causal(rows: Sequence[Row], device: Any, batching: Batching) -> tuple[dict[str, Tensor], Tensor]:
    trees, places = _trees(rows, batching == "trees")
    sizes = [len(tree.ids) for tree in trees]
    wide = max(sizes)
    padded = batching == "rows" or wide * len(trees) <= PADDING * sum(sizes)
    offsets = [k * wide if padded else sum(sizes[:k]) for k in range(len(trees))]
    where = [
        offsets[k] + start + i for (k, start), (_, target) in zip(places, rows, strict=True) for i in range(len(target))
    ]

    def lines(lists: list[list[int]], filler: int) -> Tensor:
        return _pad(lists if padded else [[x for part in lists for x in part]], filler, device)

    inputs = {"input_ids": lines([tree.ids for tree in trees], 0)}
    if batching == "rows":
        # Padding on the right is invisible to a causal model.
        inputs["attention_mask"] = (
            torch.arange(wide, device=device) < torch.tensor(sizes, device=device)[:, None]
        ).long()
    else:
        tree = lines([[k] * size for k, size in enumerate(sizes)], -1)
        branch = lines([tree.branches for tree in trees], -1)
        seen = (branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])
        seen &= tree[:, None, :] == tree[:, :, None]
        inputs["attention_mask"] = seen.tril()[:, None]
        inputs["position_ids"] = lines([tree.positions for tree in trees], 0)
    return inputs, torch.tensor(where, device=device)


def _seq2seq(model: Any, rows: Sequence[Row], device: Any) -> tuple[dict[str, Tensor], Tensor]:
    labels = _pad([target for _, target in rows], -100, device)
    shifted = getattr(model, "module", model).prepare_decoder_input_ids_from_labels(labels=labels)
    inputs = {
        "input_ids": _pad([prompt for prompt, _ in rows], 0, device),
        "attention_mask": _pad([[1] * len(prompt) for prompt, _ in rows], 0, device),
        "decoder_input_ids": shifted,
    }
    return inputs, (labels != -100).flatten().nonzero()[:, 0]


def attention_window(config: Any) -> float:
    """Number of previous tokens that a token of the model attends to, inf without a limit. A mask of trees would replace this window."""
    text = config.get_text_config()
    return min(getattr(text, name, None) or math.inf for name in ("sliding_window", "attention_chunk_size"))


@torch.no_grad()
def supports_trees(model: Any, device: Any, vocabulary: int, tolerance: float = 1e-3) -> bool:
    """Whether a sequence has the same log-probabilities in trees as alone. Runs the model on a few tokens.

    `tolerance`: largest difference in nats; about 0.05 for bfloat16.
    """
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary, (3, 9), generator=generator).tolist()
    rows: list[Row] = [(x[:4], x[4:]) for x in ids]
    rows += [(ids[0][:4], ids[1][5:]), (ids[2][:2], ids[1][:2])]
    alone = target_logprobs(model, rows, device, "rows")
    try:
        together = target_logprobs(model, rows, device)
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False
    return bool((together - alone).abs().max() <= tolerance)
