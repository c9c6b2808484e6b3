"""Training of pretrained models: all weights or LoRA adapters, on one or, with accelerate, several devices.

Supports any causal or sequence-to-sequence model folder. `train` is supervised learning on tactics, and
rl/learner/policy_gradient.py adds reinforcement learning on trajectories. For Llama models made by Turnstile, from_scratch.py is
faster (it computes a prompt once for all of its answers). value.py adds a value. Saved folders have all weights merged, so that
transformers and vLLM load them without peft. Under `accelerate launch` each process holds the whole model and gradients are
averaged, or with `shard` each holds a part of it (sharded.py).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from prover.errors import UserError
from prover.models.base import Query
from prover.models.formats import SlotFormat, check_folder, folder_version, format_of, render_prompt
from prover.models.value_head import ValueHead, read_head
from rl.examples import PolicyExample, ValueExample
from rl.learner import sharded
from rl.learner.adapters import with_adapters
from rl.learner.packing import Row, distinct_rows, micro_batches, supports_packing, target_logprobs
from rl.learner.value import ValueBatches

T = TypeVar("T")
_Example = tuple[list[int], list[int], float]
"""Prompt, target and weight."""


@dataclass(frozen=True, slots=True)
class TuneConfig:
    """Settings of a fine-tuning run."""

    learning_rate: float = 1e-5
    """Peak learning rate. LoRA needs about ten times as much."""
    epochs: float = 1.0
    batch_size: int = 16
    """Examples per update, over all processes and accumulated steps."""
    micro_tokens: int = 0
    """Tokens per forward pass of a device. A longer example has a pass of its own. 0: 8192 on a GPU and 512 on a CPU, where the masked
    attention of a long row costs more than it saves."""
    lora_rank: int = 0
    """0: train all weights."""
    lora_alpha: int = 32
    lora_targets: str = "all-linear"
    """Modules that get adapters: `all-linear`, or comma-separated names."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: the dtype of computation and of LoRA's frozen weights. Trained weights stay float32."""
    gradient_checkpointing: bool = False
    """Recompute activations instead of storing them: much less memory, a third more time."""
    shard: bool = False
    """Split the model and its optimizer over the processes (FSDP), for models larger than one device."""
    max_length: int = 2048
    """Tokens of prompt and tactic. Longer prompts lose their beginning."""
    warmup: float = 0.05
    """Share of the steps with a rising learning rate. After it the rate follows a cosine to a tenth of the peak."""
    clip_norm: float = 1.0
    value_weight: float = 1.0
    """A value example counts as this many tactic tokens, times its own weight."""
    weight_decay: float = 0.0
    seed: int = 0


class Tuner:
    """Owns the model being trained."""

    def __init__(
        self,
        folder: str | Path,
        config: TuneConfig | None = None,
        *,
        template: str | None = None,
        device: str | None = None,
    ) -> None:
        """`device`: None lets accelerate choose. Raises UserError for a model or template that cannot be loaded."""
        from accelerate import Accelerator
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

        self.config = c = config or TuneConfig()
        torch.manual_seed(c.seed)
        frozen = torch.bfloat16 if c.dtype == "bfloat16" and c.lora_rank else torch.float32
        try:
            check_folder(folder)
            self.format = format_of(folder, template)
            self.seq2seq = bool(AutoConfig.from_pretrained(folder, trust_remote_code=False).is_encoder_decoder)
            maker: Any = AutoModelForSeq2SeqLM if self.seq2seq else AutoModelForCausalLM
            model = maker.from_pretrained(folder, dtype="auto" if c.shard else frozen, trust_remote_code=False)
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            self.head: ValueHead | None = read_head(folder)
            """The value head, from the first value examples on (value.py)."""
            self.head_optimizer: Any = None
        except (OSError, ValueError, TypeError, KeyError) as e:
            raise UserError(f"{folder}: cannot load this model for training: {e}") from None
        first: dict[int, str] = {}
        pairs = [(name, first.setdefault(id(p), name)) for name, p in model.named_parameters(remove_duplicate=False)]
        self.tied = {name: kept for name, kept in pairs if name != kept}
        """Tied weights: name → the name under which the folder stores the weight."""
        # A template given as a file is saved with its path.
        self.named = "" if isinstance(self.format, SlotFormat) else self.format.template.name  # pyright: ignore
        self.version = folder_version(folder)
        if c.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            model.config.use_cache = False
        if c.lora_rank:
            model = with_adapters(model, c, self.seq2seq)
        # Without `cpu=True`, processes on a machine without GPUs would not form a group.
        self.accelerator = Accelerator(cpu=device == "cpu" or not torch.accelerator.is_available())
        if c.shard:
            compute = torch.bfloat16 if c.dtype == "bfloat16" else torch.float32
            model = sharded.shard(model, self.accelerator.device, frozen, compute)
        trained = [p for p in model.parameters() if p.requires_grad]
        self.trained_parameters = sum(p.numel() for p in trained)
        optimizer: Any = torch.optim.AdamW(trained, lr=c.learning_rate, weight_decay=c.weight_decay)
        # A sharded model must not be wrapped for data parallelism as well.
        self.model: Any = model if c.shard else self.accelerator.prepare(model)
        self.optimizer = self.accelerator.prepare(optimizer)
        self.micro_tokens = c.micro_tokens or (512 if self.accelerator.device.type == "cpu" else 8192)
        """Tokens of a forward pass."""
        self.step = 0
        self.rate = c.learning_rate
        self.packs = not self.seq2seq and supports_packing(
            self.model, self.accelerator.device, len(self.tokenizer), 1e-3 if c.dtype == "float32" else 0.05
        )
        """Whether sequences are packed without padding. Some architectures do not support it."""

    def encode(self, example: PolicyExample) -> tuple[list[int], list[int]]:
        """Token ids of the prompt, and of the tactic with <eos>."""
        if isinstance(self.format, SlotFormat):
            target = self.format.prompter.target(example.tactic, example.premises)
            return self.format.prompt(_query(example)), target or []
        ids = self.prompt(example)
        # As in generation, an answer ends with the format's stop string, then <eos>.
        stop = self.format.stop[0] if self.format.stop and not self.seq2seq else ""
        target = self.tokenizer(example.tactic + stop, add_special_tokens=False)["input_ids"]
        return ids, [*target, self.tokenizer.eos_token_id]

    def prompt(self, example: PolicyExample | ValueExample) -> list[int]:
        """Token ids of the prompt whose next token is the answer's first, or for a model with value tokens the value."""
        query = _query(example)
        if isinstance(self.format, SlotFormat):
            return self.format.value_prompt(query)
        prompt = self.format.prompt(query)
        text = render_prompt(prompt, self.tokenizer)  # pyright: ignore[reportArgumentType]
        ids = self.tokenizer(text, add_special_tokens=isinstance(prompt, str))["input_ids"]
        return ids[:-1] if not self.seq2seq and ids and ids[-1] == self.tokenizer.eos_token_id else ids

    def train(
        self,
        examples: Sequence[PolicyExample],
        values: Sequence[ValueExample] = (),
        *,
        epochs: float | None = None,
        seconds: float | None = None,
    ) -> dict[str, float]:
        """Minimise the weighted cross-entropy of tactics for `epochs` or `seconds`, whichever ends first. Every update also learns from
        a share of the value examples.

        Returns metrics: loss (nats per target token, mean over all steps), first_loss and last_loss (over the first and last tenth),
        steps, examples, skipped, tokens_per_second, seconds, and those of the value (ValueBatches.metrics). Raises ValueError if all
        examples are too long, and FloatingPointError if the loss is not finite.
        """
        c = self.config
        rows = [(*self.encode(e), e.weight) for e in examples]
        kept = [(p[-(c.max_length - len(t)) :], t, w) for p, t, w in rows if p and t and len(t) < c.max_length]
        if not kept:
            raise ValueError(f"no usable examples: all {len(examples)} are longer than max_length={c.max_length}")

        def nats(part: Sequence[_Example], batch: Sequence[_Example]) -> Tensor:
            weights = [w for _, t, w in part for _ in t]
            logprobs = self.logprobs([(p, t) for p, t, _ in part])
            return -(logprobs * torch.tensor(weights, device=logprobs.device)).sum() / mass(batch)

        def mass(batch: Sequence[_Example]) -> float:
            return sum(len(t) * abs(w) for _, t, w in batch)

        metrics = self.fit(kept, lambda e: len(e[0]) + len(e[1]), nats, mass, values, epochs, seconds)
        return {**metrics, "examples": float(len(kept)), "skipped": float(len(examples) - len(kept))}

    def fit(
        self,
        items: Sequence[T],
        size: Callable[[T], int],
        loss: Callable[[Sequence[T], Sequence[T]], Tensor],
        mass: Callable[[Sequence[T]], float],
        values: Sequence[ValueExample] = (),
        epochs: float | None = None,
        seconds: float | None = None,
    ) -> dict[str, float]:
        """Minimise a loss over items in random batches, with a cosine of the learning rate. Every process must call it alike.

        `size`: tokens of an item. `loss`: of a part of a batch, given the part and the batch; those of the parts add up to that of the
        batch. `mass`: of a batch; a value example counts as `value_weight` of it. Returns metrics: loss, first_loss, last_loss, steps,
        tokens_per_second, seconds, and those of the value. Raises FloatingPointError if the loss is not finite.
        """
        c, acc = self.config, self.accelerator
        updates = max(1, round((c.epochs if epochs is None else epochs) * len(items) / c.batch_size))
        rng = random.Random(c.seed * 7919 + self.step)
        order: list[T] = []
        losses: list[float] = []
        tokens = 0
        began = time.monotonic()
        valued = ValueBatches(self, values, c.batch_size / len(items), c.batch_size)
        self.model.train()
        for done in range(updates):
            progress = done / updates
            if seconds is not None:
                spent = torch.tensor((time.monotonic() - began) / seconds, device=acc.device)
                progress = max(progress, float(acc.reduce(spent, "mean")))  # pyright: ignore[reportArgumentType]
                if done and progress >= 1.0:
                    break
            while len(order) < c.batch_size:
                order += rng.sample(items, len(items))
            batch, order = order[: c.batch_size], order[c.batch_size :]
            self._rate(min(1.0, progress))

            def part_loss(part: Sequence[T], batch: Sequence[T] = batch) -> Tensor:
                return loss(part, batch)

            losses.append(self.update(batch, size, part_loss, valued, mass(batch)))
            tokens += sum(map(size, batch))
        spent_seconds = time.monotonic() - began
        tenth = max(1, len(losses) // 10)
        return {
            "loss": sum(losses) / len(losses),
            "first_loss": sum(losses[:tenth]) / tenth,
            "last_loss": sum(losses[-tenth:]) / tenth,
            "steps": float(len(losses)),
            "tokens_per_second": tokens / spent_seconds,
            "seconds": spent_seconds,
            **valued.metrics(),
        }

    def update(
        self,
        batch: Sequence[T],
        size: Callable[[T], int],
        loss: Callable[[Sequence[T]], Tensor],
        values: ValueBatches | None = None,
        tokens: float = 1.0,
    ) -> float:
        """One optimizer step on a batch. Every process must call it with the same batch. Returns the loss without the value's.

        `size`: tokens of an item. `loss`: of a part of the batch; the losses of the parts add up to that of the batch. `values`: adds a
        batch of value examples, whose weight is relative to the target `tokens`. Raises FloatingPointError if the loss is not finite.
        """
        acc = self.accelerator
        found = 0.0
        for part, scale in self.parts(batch, size):
            share = loss(part) * scale
            acc.backward(share * acc.num_processes)  # DDP and FSDP average over processes
            found += share.item()
        if values is not None:
            values.learn(tokens)
        norm: Any = acc.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.grad_norm = float(norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        summed: Any = acc.reduce(torch.tensor(found, device=acc.device), "sum")
        if not math.isfinite(float(summed)):
            raise FloatingPointError(f"step {self.step}: the loss is not finite; lower learning_rate")
        return float(summed)

    def parts(self, items: Sequence[T], size: Callable[[T], int]) -> list[tuple[list[T], float]]:
        """This process's part of some items, in micro-batches with their scale.

        All processes need the same number of passes: one without items left repeats an item with scale 0.
        """
        acc = self.accelerator
        shares = [items[p :: acc.num_processes] for p in range(acc.num_processes)]
        split = [micro_batches([size(x) for x in share], self.micro_tokens) for share in shares]
        mine = [([shares[acc.process_index][i] for i in part], 1.0) for part in split[acc.process_index]]
        return mine + [([items[0]], 0.0)] * (max(map(len, split)) - len(mine))

    @torch.no_grad()
    def measure(self, items: Sequence[Sequence[Row]], model: Any = None) -> list[Tensor]:
        """For each item, the log-probabilities of the target tokens of its rows, on the CPU, under `model` or the trained model.
        Every process must call it with the same items."""
        from accelerate.utils import gather_object

        (self.model if model is None else model).eval()
        distinct, which = distinct_rows([row for rows in items for row in rows])
        found: list[tuple[int, Tensor]] = []
        for part, scale in self.parts(list(enumerate(distinct)), lambda x: len(x[1][0]) + len(x[1][1])):
            logprobs = self.logprobs([row for _, row in part], model).cpu()
            if scale:
                found += zip((i for i, _ in part), logprobs.split([len(t) for _, (_, t) in part]), strict=True)
        known = dict(gather_object(found))
        each = iter(which)
        return [torch.cat([known[next(each)] for _ in rows]) for rows in items]

    def _rate(self, progress: float) -> None:
        c = self.config
        up = min(1.0, (progress + 1e-3) / c.warmup) if c.warmup else 1.0
        self.set_rate(c.learning_rate * min(up, 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress))))

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next update."""
        self.rate = rate
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def logprobs(self, rows: Sequence[Row], model: Any = None) -> Tensor:
        """[N], log-probability of every target token of the rows, in order. Equal rows are computed once. `model`: another one than the
        trained model."""
        device = self.accelerator.device
        model = self.model if model is None else model
        distinct, which = distinct_rows(rows)
        # Not accelerate's autocast, whose precision is fixed once per process.
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16"):
            if self.seq2seq:
                found = self._seq2seq_logprobs(model, distinct)
            else:
                found = target_logprobs(model, distinct, device, self.packs)
        if len(distinct) == len(rows):
            return found
        each = found.split([len(target) for _, target in distinct])
        return torch.cat([each[k] for k in which])

    def _seq2seq_logprobs(self, model: Any, rows: Sequence[Row]) -> Tensor:
        device = self.accelerator.device

        def pad(lists: Sequence[Sequence[int]], filler: int) -> Tensor:
            size = max(map(len, lists))
            return torch.tensor([[*x, *[filler] * (size - len(x))] for x in lists], device=device)

        labels = pad([t for _, t in rows], -100)
        mask = pad([[1] * len(p) for p, _ in rows], 0)
        logits = model(input_ids=pad([p for p, _ in rows], 0), attention_mask=mask, labels=labels).logits.float()
        inside = labels != -100
        return logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0][inside]

    def weights(self) -> dict[str, Tensor]:
        """All weights on the CPU with adapters merged, named as in the folder, with those of the value head (value_head.py). Every
        process must call it. For a sharded model, all processes but the first get {}."""
        head = self.head.state() if self.head is not None else {}
        if self.config.shard:
            whole = sharded.whole_weights(self.model)
            return self._with_tied(whole) | head if whole else {}
        model = self.accelerator.unwrap_model(self.model)
        if not self.config.lora_rank:
            state: Any = self.accelerator.get_state_dict(self.model)
            return {k: v.detach().cpu() for k, v in state.items()} | head
        # Not peft's in-place merge: undoing it rounds, so bfloat16 weights would drift with every save.
        state = {k: v.detach().cpu() for k, v in model.state_dict().items()}
        return self._with_tied(sharded.merged(model, state)) | head

    def written(self, folder: str | Path) -> dict[str, Tensor]:
        """The weights that `save` wrote to a folder, named as in `weights`. For a single process of a sharded model."""
        from safetensors.torch import load_file

        return self._with_tied(
            {k: w for p in sorted(Path(folder).rglob("*.safetensors")) for k, w in load_file(p).items()}
        )

    def _with_tied(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**state, **{name: state[kept] for name, kept in self.tied.items() if kept in state}}

    def save(self, folder: str | Path, version: int | None = None) -> None:
        """Write a Hugging Face folder with `turnstile.json`, atomically. Every process must call it."""
        from prover.models.transformer import save_folder

        weights = self.weights()
        self.version = self.version + 1 if version is None else version
        settings: dict[str, object] = {"version": self.version}
        if isinstance(self.format, SlotFormat):
            settings["prompt"] = asdict(self.format.prompter.config)
        else:
            settings["template"] = self.named
        if self.accelerator.is_main_process:
            model = self.accelerator.unwrap_model(self.model)
            base = model.get_base_model() if self.config.lora_rank else model
            save_folder(folder, base, self.tokenizer, settings, weights)
        self.accelerator.wait_for_everyone()


def _query(example: PolicyExample | ValueExample) -> Query:
    from prover.lean.theorem import Goal, ProofState

    goals = tuple(Goal(text) for text in example.state.split("\n\n"))
    return Query(ProofState(0, example.state, goals), example.premises)
