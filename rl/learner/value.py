"""Trains the value of a pretrained model jointly with its policy, on examples of its own.

The labels are those of the small model: the bins of rl/algorithms/expert_iteration.py or td_lambda.py. A model with a template gets a
head on its hidden states (prover/models/value_head.py); a model in Turnstile's own format has value tokens. The gradient of the
cross-entropy also trains the model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from prover.models.formats import SlotFormat
from prover.models.value_head import ValueHead, output_layer
from rl.examples import ValueExample

if TYPE_CHECKING:
    from rl.learner.learner import Learner

HEAD_RATE = 1e-2
"""Peak learning rate of the head, whose weights begin at zero. It follows the schedule of the model's learning rate."""

Row = tuple[list[int], int, float]
"""Prompt, bin and weight of an example."""


class ValueBatches:
    """The value examples of a call of Learner.fit. Every update uses a share of them."""

    def __init__(self, learner: Learner, examples: Sequence[ValueExample], share: float, most: int) -> None:
        """`share`: share of the examples per update. `most`: maximum number per update. Adds a head to a model without a value."""
        self.learner = learner
        longest = learner.config.max_length - 1
        self.rows: list[Row] = [(learner.prompt(e)[-longest:], e.bin, e.weight) for e in examples]
        self.rows = [row for row in self.rows if row[0]]
        self.size = min(most, max(1, round(share * len(self.rows))))
        self._order: list[Row] = []
        self._random = random.Random(learner.config.seed * 104729 + learner.step)
        self._sums = torch.zeros(3)
        """Nats, correct bins and number of the examples so far."""
        if self.rows:
            add_head(learner)

    def learn(self, tokens: float) -> None:
        """Add the gradients of the next examples to those of the model, and update the head. `tokens`: target tokens of the policy in
        this update. Every process must call it."""
        if not self.rows:
            return
        learner, acc = self.learner, self.learner.accelerator
        while len(self._order) < self.size:
            self._order += self._random.sample(self.rows, len(self.rows))
        batch, self._order = self._order[: self.size], self._order[self.size :]
        for part, scale in learner.parts(batch, lambda row: len(row[0]) + 1):
            logits = value_logits(learner, [prompt for prompt, _, _ in part])
            bins = torch.tensor([b for _, b, _ in part], device=logits.device)
            weights = torch.tensor([w for _, _, w in part], device=logits.device)
            nats = F.cross_entropy(logits, bins, reduction="none")
            loss = learner.config.value_weight * (weights * nats).sum() / tokens
            acc.backward(loss * scale * acc.num_processes)  # gradients are averaged over processes
            if scale:
                right = (logits.argmax(-1) == bins).sum()
                self._sums += torch.tensor([float(nats.detach().sum()), float(right), float(len(part))])
        if learner.head is not None:
            for p in learner.head.parameters():
                p.grad = acc.reduce(p.grad, "mean")  # pyright: ignore[reportAttributeAccessIssue]
            # Clipped separately, so that the gradient of a new head does not shrink the steps of the policy.
            norm = torch.nn.utils.clip_grad_norm_(learner.head.parameters(), learner.config.clip_norm)
            for group in learner.head_optimizer.param_groups:
                group["lr"] = HEAD_RATE * learner.rate / learner.config.learning_rate
            if norm.isfinite():
                learner.head_optimizer.step()
            learner.head_optimizer.zero_grad(set_to_none=True)

    def metrics(self) -> dict[str, float]:
        """`value_loss` (nats per example) and `value_accuracy` (of bins, by argmax), means over the call. Empty without examples. Every
        process must call it."""
        nats, right, count = self.learner.total(self._sums)
        return {"value_loss": nats / count, "value_accuracy": right / count} if count else {}


def add_head(learner: Learner) -> None:
    """Give the model a value head, if it has neither one nor value tokens. Raises UserError for a model without an output layer."""
    if isinstance(learner.format, SlotFormat):
        return
    if learner.head is None:
        layer = output_layer(learner.accelerator.unwrap_model(learner.model))
        learner.head = ValueHead(layer.weight.shape[1])
    if learner.head_optimizer is None:
        learner.head.to(learner.accelerator.device)
        learner.head_optimizer = torch.optim.AdamW(learner.head.parameters(), lr=HEAD_RATE, weight_decay=0.0)


def value_logits(learner: Learner, prompts: Sequence[list[int]]) -> Tensor:
    """[prompts, N_BINS], logits of the value."""
    # The target is arbitrary, because the logits and states are those before its first token.
    logits, states = learner.outputs([(p, (0,)) for p in prompts])
    if learner.head is None:
        return logits[:, list(learner.format.bins)]
    return learner.head(states) + 0.0 * logits[:, :1]  # data parallelism expects a gradient of every weight
