"""The learner of every language model: the optimizer, its schedule and its state, on one or, with accelerate, several devices.

The losses are in supervised.py, policy_gradient.py and preferences.py, and that of the value in value.py. Trains all weights or LoRA
adapters of any causal or sequence-to-sequence model in Hugging Face format; small_model.py makes a new one. Saved folders have all
weights merged, so that transformers and vLLM load them without peft. With several processes, each holds the whole model and gradients
are averaged, or with `shard` each holds a part of the model (sharded.py).
"""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from prover.errors import UserError
from prover.lean.theorem import Goal, ProofState
from prover.models.base import Query
from prover.models.formats import Format, SlotFormat, check_folder, folder_version, format_of, render_prompt
from prover.models.value_head import ValueHead, read_head
from rl.examples import Example, PolicyExample, ValueExample, towards_of
from rl.learner import sharded
from rl.learner.adapters import with_adapters
from rl.learner.packing import (
    Batching,
    Row,
    attention_window,
    by_prompt,
    count_tokens,
    micro_batches,
    of_targets,
    outputs,
    supports_trees,
)
from rl.learner.settings import LearnerConfig
from rl.learner.updates import Update, check, summary
from rl.learner.value import ValueBatches

T = TypeVar("T")
Loss = Callable[[Sequence[T], float], tuple[Tensor, Tensor]]
"""(a part of a batch, the mean mass of a batch) -> (its loss, [K] sums for metrics). Both of the parts add up."""
_PLACE = ("step", "epoch", "batch", "fingerprint")


class Learner:
    """Owns the model being trained. `state_dict` holds everything that determines the next step except the examples."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        form: Format,
        config: LearnerConfig | None = None,
        *,
        device: str | None = None,
        head: ValueHead | None = None,
        version: int = 0,
    ) -> None:
        """Train `model` in place. `device`: None lets accelerate choose. `head`: its value head. `version`: of its weights."""
        from accelerate import Accelerator

        self.config = c = config or LearnerConfig()
        if c.threads is not None:
            torch.set_num_threads(c.threads)
        torch.manual_seed(c.seed)
        self.tokenizer, self.format, self.version = tokenizer, form, version
        self.head = head
        """The value head; None before the first value examples, and for models with value tokens (value.py)."""
        self.head_optimizer: Any = None
        self.seq2seq = bool(model.config.is_encoder_decoder)
        first: dict[int, str] = {}
        pairs = [(name, first.setdefault(id(p), name)) for name, p in model.named_parameters(remove_duplicate=False)]
        self.tied = {name: kept for name, kept in pairs if name != kept}
        """Tied weights: name → the name under which the folder stores the weight."""
        if c.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if c.lora_rank:
            model = with_adapters(model, c, self.seq2seq)
        # Without `cpu=True`, processes on a machine without GPUs would not form a group.
        self.accelerator = Accelerator(cpu=device == "cpu" or not torch.accelerator.is_available())
        if c.shard:
            compute = torch.bfloat16 if c.dtype == "bfloat16" else torch.float32
            model = sharded.shard(model, self.accelerator.device, _frozen(c), compute)
        # A sharded model must not be wrapped for data parallelism as well.
        self.model: Any = model if c.shard else self.accelerator.prepare(model)
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        groups = [
            {"params": [p for p in self.trained.values() if p.ndim >= 2], "weight_decay": c.weight_decay},
            {"params": [p for p in self.trained.values() if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=c.learning_rate, betas=c.betas, fused=not c.shard
        )
        self.average = [p.detach().clone() for p in self.trained.values()] if c.ema else None
        small = max(512, 2 * c.batch_tokens) if self.accelerator.device.type == "cpu" else 8192
        self.micro_tokens = c.micro_tokens or small
        """Maximum number of tokens of a forward pass."""
        self.step = self.epoch = self.batch = self.fingerprint = 0
        """Updates so far, passes over examples, batches of the current pass that were used, and the checksum of its examples."""
        self.rate = c.learning_rate
        self.batching: Batching = "seq2seq" if self.seq2seq else "rows"
        """See packing.py. Some architectures do not support trees."""
        tolerance = 1e-3 if c.dtype == "float32" else 0.05
        wide = not self.seq2seq and attention_window(model.config) >= c.max_length
        if wide and supports_trees(self.model, self.accelerator.device, len(tokenizer), tolerance):
            self.batching = "trees"

    @classmethod
    def load(
        cls,
        folder: str | Path,
        config: LearnerConfig | None = None,
        *,
        template: str | None = None,
        device: str | None = None,
    ) -> Learner:
        """A learner of the model in a folder. Raises UserError for a model or template that cannot be loaded."""
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

        c = config or LearnerConfig()
        torch.manual_seed(c.seed)
        try:
            check_folder(folder)
            form = format_of(folder, template)
            seq2seq = AutoConfig.from_pretrained(folder, trust_remote_code=False).is_encoder_decoder
            maker: Any = AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM
            model = maker.from_pretrained(folder, dtype="auto" if c.shard else _frozen(c), trust_remote_code=False)
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            head = read_head(folder)
        except (OSError, ValueError, TypeError, KeyError) as e:
            raise UserError(f"{folder}: cannot load this model for training: {e}") from None
        if seq2seq and not hasattr(model, "prepare_decoder_input_ids_from_labels"):
            raise UserError(
                f"{folder}: transformers cannot shift the labels of a {type(model).__name__}; train a T5 or BART"
            )
        return cls(model, tokenizer, form, c, device=device, head=head, version=folder_version(folder))

    def encode(self, example: Example, types: tuple[str, ...] = ()) -> Row:
        """(token ids of the prompt, token ids of the target). The target is the tactic with <eos>, or the value token; it is empty if it is
        too long. `types`: of the premises, instead of those of the library."""
        prompt = self.prompt(example, types)
        if isinstance(self.format, SlotFormat):
            if isinstance(example, ValueExample):
                return prompt, [self.format.bins[example.bin]]
            return prompt, self.format.prompter.target(example.tactic, example.premises, types) or []
        assert isinstance(example, PolicyExample), "a model without value tokens has a head"
        # As in generation, an answer ends with the format's stop string, then <eos>.
        stop = self.format.stop[0] if self.format.stop and not self.seq2seq else ""
        target = self.tokenizer(example.tactic + stop, add_special_tokens=False)["input_ids"]
        return prompt, [*target, self.tokenizer.eos_token_id]

    def prompt(self, example: Example, types: tuple[str, ...] = ()) -> list[int]:
        """Token ids of the prompt. The next token is the first of the answer, or the value token."""
        goals = tuple(Goal(text) for text in example.state.split("\n\n"))
        query = Query(ProofState(0, example.state, goals), example.premises, types=types, towards=towards_of(example))
        if isinstance(self.format, SlotFormat):
            read = self.format.value_prompt if isinstance(example, ValueExample) else self.format.prompt
            return read(query)
        prompt = self.format.prompt(query)
        text = render_prompt(prompt, self.tokenizer)  # pyright: ignore[reportArgumentType]
        ids = self.tokenizer(text, add_special_tokens=isinstance(prompt, str))["input_ids"]
        return ids[:-1] if not self.seq2seq and ids and ids[-1] == self.tokenizer.eos_token_id else ids

    def random(self, *within: int) -> random.Random:
        """The random generator of this pass, or of a batch in it. It depends only on seed, pass and batch, so that runs resume exactly."""
        return random.Random("/".join(map(str, (self.config.seed, self.epoch, *within))))

    def clock(self) -> float:
        """Seconds of wall-clock time on a GPU, and of this thread's processor time on a CPU, so that a busy machine takes longer and
        learns the same."""
        return time.thread_time() if self.accelerator.device.type == "cpu" else time.monotonic()

    def fit(
        self,
        plan: Callable[[random.Random], list[list[T]]],
        loss: Loss[T],
        mass: float,
        values: Sequence[ValueExample] = (),
        *,
        prepare: Callable[[list[T], random.Random], list[T]] = lambda batch, _: batch,
        most_values: int | None = None,
        steps: int | None = None,
        epochs: float | None = None,
        seconds: float | None = None,
        part: tuple[float, float] = (0.0, 1.0),
        final_rate: float | None = None,
        fingerprint: int | None = None,
    ) -> tuple[dict[str, float], list[float]]:
        """Minimise a loss over items, which have a `size` in tokens, until a limit is reached. Every process must call it alike.

        `plan`: the batches of a pass. `mass`: total weight of all items in target tokens; a value example counts as `value_weight`.
        `prepare`: changes a batch before it is used. `most_values`: maximum number of value examples per update, by default `batch_size`.
        `seconds`: see `clock`. `part`: begin and end of this call on the schedule of the learning rate, in [0, 1]; the rate falls to
        `final_rate` of the peak. `fingerprint`: checksum of the items; a call with that of the last call continues its pass.

        Returns (metrics, the sums that `loss` measured, of all processes and the steps that were not skipped). Metrics: those of
        updates.summary and ValueBatches.metrics, learning_rate (the last), epochs, tokens, tokens_per_second and seconds. Raises
        ValueError without a limit, and UserError if too many gradients in succession are not finite (updates.py).
        """
        if steps is None and epochs is None and seconds is None:
            raise ValueError("training needs a limit: steps, epochs or seconds")
        c, start, began = self.config, time.monotonic(), self.clock()
        if fingerprint is None or fingerprint != self.fingerprint:
            self.fingerprint, self.epoch, self.batch = fingerprint or 0, self.epoch + 1, 0
        batches = plan(self.random())
        limit = min(steps or math.inf, max(1, round(epochs * len(batches))) if epochs is not None else math.inf)
        # The mean over batches: a batch's own mass would weight an example by the others in its batch.
        mass = max(mass / len(batches), 1e-6)
        valued = ValueBatches(self, values, 1 / len(batches), most_values or c.batch_size)
        updates: list[Update] = []
        tokens, sums = 0.0, torch.zeros((), dtype=torch.float64)
        self.model.train()
        while True:
            progress = len(updates) / limit
            if seconds is not None:
                spent = self.total([(self.clock() - began) / seconds])[0] / self.accelerator.num_processes
                progress = max(progress, spent)
            if updates and progress >= 1.0:
                break
            if self.batch >= len(batches):
                self.epoch, self.batch = self.epoch + 1, 0
                batches = plan(self.random())
            batch = prepare(batches[self.batch], self.random(self.batch))
            done = part[0] + (part[1] - part[0]) * min(1.0, progress)
            self._set_rate(done, c.final_rate if final_rate is None else final_rate)
            update, measured = self._update(batch, loss, valued, mass)
            updates.append(update)
            check(updates, self.step)
            tokens, sums = tokens + sum(map(_size, batch)), sums + measured
            self.batch += 1
        taken = time.monotonic() - start
        metrics = {
            **summary(updates),
            "learning_rate": self.rate,
            "epochs": len(updates) / len(batches),
            "tokens": tokens,
            "tokens_per_second": tokens / taken,
            "seconds": taken,
            **valued.metrics(),
        }
        return metrics, self.total(sums)

    def _set_rate(self, progress: float, final: float) -> None:
        falling = final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
        self.rate = self.config.learning_rate * min((self.step + 1) / (self.config.warmup + 1), falling)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate

    def total(self, numbers: Sequence[float] | Tensor) -> list[float]:
        """The sums of some numbers over the processes. Every process must call it."""
        if self.accelerator.num_processes == 1:
            return torch.as_tensor(numbers).tolist()
        summed: Any = self.accelerator.reduce(torch.as_tensor(numbers, device=self.accelerator.device), "sum")
        return summed.tolist()

    def _update(self, batch: Sequence[T], loss: Loss[T], values: ValueBatches, mass: float) -> tuple[Update, Tensor]:
        """Make one optimizer step, unless the gradient is not finite. Returns (the update, this process's sums, 0 without a step)."""
        c, acc = self.config, self.accelerator
        found, sums = 0.0, torch.zeros((), dtype=torch.float64)
        for part, scale in self.parts(batch, _size):
            share, measured = loss(part, mass)
            acc.backward(share * (scale * acc.num_processes))  # DDP and FSDP average over processes
            found += share.item() * scale
            sums = sums + measured.detach().cpu().double() * scale  # Apple's GPUs have no float64
        values.learn(mass)
        norm = float(acc.clip_grad_norm_(self.model.parameters(), c.clip_norm) or 0.0)
        self.step += 1
        update = Update(self.total([found])[0], norm)
        if math.isfinite(norm):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)  # between rounds, gradients would take as much memory as the weights
        if not math.isfinite(norm):
            return update, torch.zeros_like(sums)
        # Early averages decay faster, to forget the random initialisation.
        decay = min(c.ema, (1 + self.step) / (10 + self.step))
        for kept, p in zip(self.average or (), self.trained.values(), strict=self.average is not None):
            kept.lerp_(p.detach(), 1 - decay)
        return update, sums

    def parts(self, items: Sequence[T], size: Callable[[T], int]) -> list[tuple[list[T], float]]:
        """(micro-batch, scale of its loss) pairs: this process's part of some items.

        All processes need the same number of passes, so a process without items left repeats an item with scale 0.
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
        groups = by_prompt([row for rows in items for row in rows], self.micro_tokens, self.batching)
        found: list[tuple[Row, Tensor]] = []
        for part, scale in self.parts(groups, lambda rows: count_tokens(rows, self.batching)):
            rows = [row for group in part for row in group]
            logprobs = self.logprobs(rows, model).cpu()
            if scale:
                found += zip(rows, logprobs.split([len(target) for _, target in rows]), strict=True)
        known = dict(gather_object(found))
        return [torch.cat([known[tuple(prompt), tuple(target)] for prompt, target in rows]) for rows in items]

    def outputs(self, rows: Sequence[Row], model: Any = None) -> tuple[Tensor, Tensor]:
        """(logits [N, V], inputs of the output layer [N, hidden]) from which the N target tokens of the rows are predicted, in order.
        `model`: used instead of the trained model."""
        device = self.accelerator.device
        # Not accelerate's autocast, whose precision is fixed once per process.
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16"):
            return outputs(self.model if model is None else model, rows, device, self.batching)

    def logprobs(self, rows: Sequence[Row], model: Any = None) -> Tensor:
        """[N], log-probability of every target token of the rows, in order."""
        return of_targets(self.outputs(rows, model)[0], rows)

    def weights(self) -> dict[str, Tensor]:
        """A copy of all weights on the CPU, averaged with `ema`, with adapters merged, named as in the folder, and those of the value
        head (value_head.py). For a sharded model, every process must call it, and all but the first get {}."""
        model = self.accelerator.unwrap_model(self.model)
        if self.config.shard:
            state = sharded.whole_weights(model)
        else:
            state = {**model.state_dict(), **dict(zip(self.trained, self.average or (), strict=False))}
            state = {name: w.detach().to("cpu", copy=True) for name, w in state.items()}
        if not state:
            return {}
        # Not peft's in-place merge: undoing it rounds, so bfloat16 weights would drift with every save.
        return self._with_tied(sharded.merged(model, state)) | (self.head.state() if self.head is not None else {})

    def written(self, folder: str | Path) -> dict[str, Tensor]:
        """The weights that `save` wrote to a folder, named as in `weights`. A single process of a sharded model can call it."""
        from safetensors.torch import load_file

        return self._with_tied(
            {k: w for p in sorted(Path(folder).rglob("*.safetensors")) for k, w in load_file(p).items()}
        )

    def _with_tied(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**state, **{name: state[kept] for name, kept in self.tied.items() if kept in state}}

    def save(self, folder: str | Path, version: int | None = None, more: Mapping[str, object] | None = None) -> None:
        """Write a Hugging Face folder with `turnstile.json`, atomically. `more`: further entries of it. Every process must call it."""
        from prover.models.transformer import save_folder

        writes = self.accelerator.is_main_process
        # A copy of a whole model in every process of a machine would not fit into its memory.
        weights = self.weights() if writes or self.config.shard else {}
        self.version = self.version + 1 if version is None else version
        if writes:
            model = self.accelerator.unwrap_model(self.model)
            base = model.get_base_model() if self.config.lora_rank else model
            form: Any = self.format
            slots = isinstance(form, SlotFormat)
            # A template given as a file is saved with its path.
            format = {"prompt": asdict(form.prompter.config)} if slots else {"template": form.template.name}
            settings = {"version": self.version, **format, **(more or {})}
            save_folder(folder, base, self.tokenizer, settings, weights)
        self.accelerator.wait_for_everyone()

    def state_dict(self) -> dict[str, Any]:
        """The learner's state, which torch.load reads with weights_only."""
        return {
            "model": copy.deepcopy(self.accelerator.unwrap_model(self.model).state_dict()),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "average": copy.deepcopy(self.average),
            **{name: getattr(self, name) for name in _PLACE},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned. The config must be the same."""
        if (state["average"] is None) != (self.average is None):
            raise ValueError("the state was saved with another setting of `ema`; use the same configuration")
        self.accelerator.unwrap_model(self.model).load_state_dict(state["model"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        if self.average is not None:
            self.average = [a.to(self.accelerator.device, copy=True) for a in state["average"]]
        for name in _PLACE:
            setattr(self, name, state[name])


def _frozen(config: LearnerConfig) -> torch.dtype:
    return torch.bfloat16 if config.dtype == "bfloat16" and config.lora_rank else torch.float32


def _size(item: Any) -> int:
    return item.size
