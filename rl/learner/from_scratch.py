"""The learner of the small model: weighted cross-entropy or a clipped policy gradient on tactics, and cross-entropy on value bins.

Runs in one process, or in several that average their gradients (see data_parallel.py).
"""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from prover.models.prompt import PromptConfig, Prompter
from prover.models.tokenizer import TextCodec
from rl.examples import Example, PolicyExample
from rl.learner import data_parallel
from rl.learner.batches import Batch, batch_order, collate, fingerprint, group


@dataclass(frozen=True, slots=True)
class LearnerConfig:
    """Settings of a learner."""

    learning_rate: float = 1e-3
    """Peak learning rate. 1e-3 suits 3 M parameters from scratch, 1e-5 a pretrained model."""
    warmup: int = 20
    """Steps of linear warm-up, once per learner."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """`cosine`: decay to `final_rate` of the peak at `total_steps`."""
    total_steps: int | None = None
    """Steps of the cosine over the learner's life. None: every call of `train` has its `part` of the cosine."""
    final_rate: float = 0.05
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    betas: tuple[float, float] = (0.9, 0.98)
    batch_tokens: int = 256
    """Tokens of a batch, including padding. On a CPU, many small steps learn far more than few large ones."""
    value_weight: float = 1.0
    """A value example counts as this many tactic tokens."""
    ema: float = 0.0
    """Decay of the weight average that `weights` returns. 0: none. 0.99 averages about the last hundred steps."""
    kl: float = 0.0
    """Weight per target token of KL(model || reference)."""
    ratio_clip: float = 0.2
    """Policy gradient: probability ratios are clipped to 1 ± this."""
    rename: float = 0.5
    """Probability that a state's hypotheses are renamed in an epoch."""
    fresh_names: float = 0.0
    """Probability that library names are replaced by made-up names (prover/models/fresh_names.py) in an epoch. This teaches what holds
    in unseen libraries. Not for pretrained models, which know the names."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast. Many times slower on CPUs without AMX or AVX512-BF16."""
    threads: int | None = None
    """torch.set_num_threads of the process."""
    seed: int = 0


class Learner:
    """Trains one model. `state_dict` holds everything that determines the next step except the examples."""

    def __init__(
        self,
        model: LlamaForCausalLM,
        tokenizer: PreTrainedTokenizerFast,
        prompt: PromptConfig | None = None,
        config: LearnerConfig | None = None,
        *,
        reference: LlamaForCausalLM | None = None,
        device: str = "cpu",
    ) -> None:
        """Train `model` in place. `reference`: the reference model of `config.kl`."""
        self.config = config or LearnerConfig()
        if self.config.threads is not None:
            torch.set_num_threads(self.config.threads)
        self.tokenizer = tokenizer
        self.prompter = Prompter(TextCodec(tokenizer), prompt)
        self.device = torch.device(device)
        self.model = model.to(device).train()  # pyright: ignore[reportArgumentType]
        self.reference = reference.to(device).eval() if reference is not None else None  # pyright: ignore[reportArgumentType]
        decay = [p for p in model.parameters() if p.ndim >= 2]
        rest = [p for p in model.parameters() if p.ndim < 2]
        c = self.config
        groups = [{"params": decay, "weight_decay": c.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=c.learning_rate, betas=c.betas, fused=True)
        self.average = [p.detach().clone() for p in model.parameters()] if c.ema else None
        self.step = 0
        self.epoch = 0
        self.batch = 0
        """Batches of the current epoch already used, which a call with the same examples skips."""
        self.fingerprint = 0

    def train(
        self,
        examples: Sequence[Example],
        *,
        steps: int | None = None,
        epochs: float | None = None,
        seconds: float | None = None,
        part: tuple[float, float] = (0.0, 1.0),
    ) -> dict[str, float]:
        """Train until the first limit is reached.

        `seconds` is wall-clock time on a GPU, and this thread's processor time on a CPU, so that a busy machine takes longer and learns
        the same. `part`: begin and end of this call on the schedule of the learning rate. A call with the same examples as the last continues its epoch, so stopping and resuming changes nothing.

        Returns metrics, means over the call: loss, policy_loss and value_loss (nats per target), kl, accuracy and value_accuracy (of
        targets, by argmax), grad_norm, clipped (share of ratios), learning_rate, steps, epochs, tokens, tokens_per_second, seconds,
        skipped (tactics that are too long), examples. Raises ValueError if no limit is given or no example is usable, and
        FloatingPointError if a gradient is not finite.
        """
        if steps is None and epochs is None and seconds is None:
            raise ValueError("train needs a limit: steps, epochs or seconds")
        start = time.monotonic()
        clock = time.thread_time if self.device.type == "cpu" else time.monotonic
        began = clock()
        rows, skipped = group(self.prompter, examples)
        if not rows:
            raise ValueError(f"no usable examples: {len(examples)} given, {skipped} of them longer than max_target")
        found = fingerprint(examples)
        if found != self.fingerprint:
            self.fingerprint, self.epoch, self.batch = found, self.epoch + 1, 0
        order = batch_order(rows, self.config.batch_tokens, self._random())
        # The mean over batches: a batch's own mass would weight an example by the others in its batch.
        mass = sum(r.tactics + self.config.value_weight * r.values for r in rows) / len(order)
        limit = steps if steps is not None else 1 << 60
        if epochs is not None:
            limit = min(limit, max(1, round(epochs * len(order) / data_parallel.ranks())))
        sums: dict[str, float] = {}
        taken = 0
        while True:
            spent = (clock() - began) / seconds if seconds is not None else 0.0
            spent = data_parallel.largest(max(spent, taken / limit if limit < 1 << 60 else 0.0), self.device)
            if spent >= 1.0:
                break
            if self.batch * data_parallel.ranks() >= len(order):
                self.epoch, self.batch = self.epoch + 1, 0
                order = batch_order(rows, self.config.batch_tokens, self._random())
            # Ranks take the batches of an epoch in turn; the last few may be used twice.
            chosen = [rows[i] for i in order[(self.batch * data_parallel.ranks() + data_parallel.rank()) % len(order)]]
            c = self.config
            batch = collate(self.prompter, chosen, c.rename, self._random(self.batch), self.device, c.fresh_names)
            for name, x in self.update(batch, self._rate(part[0] + (part[1] - part[0]) * spent), mass).items():
                sums[name] = sums.get(name, 0.0) + x
            self.batch += 1
            taken += 1
        return self._metrics(sums, taken, len(order), len(examples), skipped, time.monotonic() - start)

    def _metrics(
        self, sums: dict[str, float], taken: int, batches: int, examples: int, skipped: int, seconds: float
    ) -> dict[str, float]:
        def mean(name: str, over: str) -> float:
            return sums.get(name, 0.0) / sums[over] if sums.get(over) else math.nan

        return {
            "loss": mean("loss", "updates"),
            "policy_loss": mean("policy_nats", "policy_targets"),
            "value_loss": mean("value_nats", "value_targets"),
            "accuracy": mean("policy_right", "policy_targets"),
            "value_accuracy": mean("value_right", "value_targets"),
            "kl": mean("kl", "updates"),
            "clipped": mean("clipped", "updates"),
            "grad_norm": mean("grad_norm", "updates"),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "steps": float(taken),
            "epochs": taken * data_parallel.ranks() / batches,
            "tokens": sums.get("tokens", 0.0),
            "tokens_per_second": sums.get("tokens", 0.0) / seconds,
            "seconds": seconds,
            "examples": float(examples),
            "skipped": float(skipped),
        }

    @torch.no_grad()
    def logprobs(self, examples: Sequence[PolicyExample]) -> list[float]:
        """log p(tactic, <eos> | prompt) of each example under the current model; nan for tactics that are too long."""
        places: dict[int, list[int]] = {}
        for i, e in enumerate(examples):
            places.setdefault(id(e), []).append(i)
        found = [math.nan] * len(examples)
        rows, _ = group(self.prompter, examples)
        for chosen in batch_order(rows, 16 * self.config.batch_tokens, self._random()):
            batch = collate(self.prompter, [rows[i] for i in chosen], 0.0, self._random(), self.device)
            nats = F.cross_entropy(self.logits(self.model, batch), batch.targets, reduction="none")
            totals = torch.zeros_like(batch.weight).index_add(0, batch.owner, -nats).tolist()
            answers = [e for i in chosen for e in rows[i].examples]
            for e, total in zip(answers, totals, strict=True):
                for i in places[id(e)]:
                    found[i] = total
        return found

    def weights(self) -> dict[str, Tensor]:
        """A CPU copy of the weights to publish: the average if there is one."""
        state = {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}
        if self.average is not None:
            named = [n for n, _ in self.model.named_parameters()]
            state.update({n: a.cpu().clone() for n, a in zip(named, self.average, strict=True)})
            if self.model.config.tie_word_embeddings:
                state["lm_head.weight"] = state["model.embed_tokens.weight"]
        return state

    def state_dict(self) -> dict[str, Any]:
        """The learner's state, which torch.load reads with weights_only."""
        return {
            "model": copy.deepcopy(self.model.state_dict()),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "average": None if self.average is None else [a.clone() for a in self.average],
            "step": self.step,
            "epoch": self.epoch,
            "batch": self.batch,
            "fingerprint": self.fingerprint,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned. The config must be the same."""
        if (state["average"] is None) != (self.average is None):
            raise ValueError("the state was saved with `ema` off and cannot be loaded with it on, or the reverse")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        if self.average is not None:
            self.average = [a.to(self.device).clone() for a in state["average"]]
        self.step, self.epoch = state["step"], state["epoch"]
        self.batch, self.fingerprint = state["batch"], state["fingerprint"]

    def _random(self, *within: int) -> random.Random:
        """The random generator of this epoch, or of a batch in it. It depends on its place alone, so that runs resume exactly."""
        return random.Random("/".join(map(str, (self.config.seed, self.epoch, *within))))

    def _rate(self, progress: float) -> float:
        c = self.config
        warm = min(1.0, (self.step + 1) / (c.warmup + 1))
        if c.schedule == "cosine":
            part = self.step / c.total_steps if c.total_steps else progress
            down = c.final_rate + (1 - c.final_rate) * 0.5 * (1 + math.cos(math.pi * min(1.0, part)))
            warm = min(warm, down)
        return c.learning_rate * warm

    def logits(self, model: LlamaForCausalLM, batch: Batch) -> Tensor:
        """[M, V], at the targets only, because the output layer is a large part of a small model."""
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16")
        with autocast:
            hidden = model.model(
                input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions, use_cache=False
            ).last_hidden_state
            return model.lm_head(hidden.flatten(0, 1)[batch.where]).float()

    def update(self, batch: Batch, rate: float, mass: float) -> dict[str, float]:
        """One step. `mass`: sum of the weights of a batch, mean over the epoch."""
        c = self.config
        logits = self.logits(self.model, batch)
        nats = F.cross_entropy(logits, batch.targets, reduction="none")
        answer = torch.zeros_like(batch.weight).index_add(0, batch.owner, nats)  # [A], -log p of each answer
        graded = ~batch.old.isnan()
        ratio = torch.exp(torch.where(graded, -answer - batch.old, 0.0).clamp(-20, 20))
        bounded = ratio.clamp(1 - c.ratio_clip, 1 + c.ratio_clip)
        surrogate = -torch.minimum(ratio * batch.weight, bounded * batch.weight)
        scale = torch.where(batch.value, c.value_weight, 1.0)
        total = (torch.where(graded, surrogate, batch.weight * answer) * scale).sum()
        loss = total / max(mass, 1e-6)
        kl = torch.zeros(())
        if self.reference is not None and c.kl:
            with torch.no_grad():
                reference = self.logits(self.reference, batch).log_softmax(-1)
            own = logits.log_softmax(-1)
            kl = (own.exp() * (own - reference)).sum(-1).mean()
            loss = loss + c.kl * kl
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        data_parallel.average_gradients(self.model.parameters())
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), c.clip_norm)
        if not torch.isfinite(norm):
            raise FloatingPointError(
                f"step {self.step}: the gradient is not finite (loss {loss.item():.4g}); lower learning_rate"
            )
        for params in self.optimizer.param_groups:
            params["lr"] = rate
        self.optimizer.step()
        self.step += 1
        if self.average is not None:
            # Early averages decay faster, to forget the random initialisation.
            decay = min(c.ema, (1 + self.step) / (10 + self.step))
            for kept, p in zip(self.average, self.model.parameters(), strict=True):
                kept.lerp_(p.detach(), 1 - decay)
        with torch.no_grad():
            of_value = batch.value[batch.owner]
            right = logits.argmax(-1) == batch.targets
            clipped = (graded & (ratio != bounded)).sum() / graded.sum().clamp(min=1)
            return {
                "updates": 1.0,
                "loss": loss.item(),
                "kl": kl.item(),
                "clipped": clipped.item(),
                "grad_norm": norm.item(),
                "tokens": float((batch.ids != self.prompter.codec.pad).sum().item()),
                "policy_nats": nats[~of_value].sum().item(),
                "policy_targets": float((~of_value).sum().item()),
                "policy_right": float(right[~of_value].sum().item()),
                "value_nats": nats[of_value].sum().item(),
                "value_targets": float(of_value.sum().item()),
                "value_right": float(right[of_value].sum().item()),
            }
