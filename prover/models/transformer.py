"""A causal LM as policy and value: beam search over tactics and a distribution over value tokens.

The folder is a Hugging Face one with a `turnstile.json` (prompt shape, version). `llama.py` runs the inference. Limits: Llama
architectures without biases, one device, no quantisation. vllm.py serves larger models.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from prover.models.base import Query, Suggestion, ValueEstimate
from prover.models.beam import beam_search
from prover.models.formats import SETTINGS, Answer, SlotFormat, suggestions
from prover.models.llama import Cache, LlamaRunner
from prover.models.prompt import PromptConfig, Prompter
from prover.models.tokenizer import TextCodec
from prover.models.value_head import split_weights, write_head

T = TypeVar("T")

BATCH_ROWS = 384
"""Candidates computed together: queries per batch times n."""


class ModelFolderError(ValueError):
    """A folder cannot be loaded as a policy."""


def new_model(
    vocab_size: int,
    hidden: int = 192,
    layers: int = 6,
    heads: int = 6,
    intermediate: int = 512,
    positions: int = 512,
    seed: int = 0,
) -> LlamaForCausalLM:
    """A Llama with random weights and tied embeddings; 3.0 M parameters by default with 1536 tokens."""
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        initializer_range=hidden**-0.5 / 2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


class LanguageModelPolicy:
    """Policy and Value over one causal LM. Thread-safe: calls are serialised."""

    def __init__(
        self,
        model: LlamaForCausalLM,
        tokenizer: PreTrainedTokenizerFast,
        prompt: PromptConfig | None = None,
        *,
        version: int = 0,
        threads: int | None = None,
    ) -> None:
        """`threads`: argument of torch.set_num_threads, which affects the whole process; more threads than free cores are many
        times slower than one. `version`: of the weights."""
        if threads is not None:
            torch.set_num_threads(threads)
        self.tokenizer = tokenizer
        codec = TextCodec(tokenizer)
        self.prompter = Prompter(codec, prompt)
        self._format = SlotFormat(self.prompter)
        self._seed = 0
        self.version = version
        self.model = model.eval()
        rows = model.config.vocab_size
        self._rows = codec.vocab_size
        if rows < codec.vocab_size:
            raise ModelFolderError(
                f"the tokenizer has {codec.vocab_size} tokens and the model {rows}; resize the model's embeddings"
            )
        self.runner = LlamaRunner(self.model)
        longest = self.prompter.config.max_prompt + self.prompter.config.max_target
        if longest > self.runner.limit:
            raise ModelFolderError(f"prompt and tactic may take {longest} tokens, the model reads {self.runner.limit}")
        self._lock = threading.Lock()

    def reseed(self, seed: int) -> None:
        """Sample with this seed. Equal queries have equal answers, which depend on the seed, the state and the attempt."""
        self._seed = seed

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        """Up to `n` distinct tactics for each query, best first, with log p(tactic, <eos> | prompt).

        The most probable ones for a query's first attempt, and a sample for later ones, because these would repeat the first.
        """

        def answer(some: list[Query], cache: Cache, logits: torch.Tensor) -> list[list[Suggestion]]:
            banned = torch.zeros_like(logits, dtype=torch.float32)
            banned[:, self._rows :] = float("-inf")
            for i, query in enumerate(some):
                banned[i, self._format.banned(query)] = float("-inf")
            found = beam_search(
                self.runner,
                cache,
                logits,
                n,
                longest=self.prompter.config.max_target,
                eos=self.prompter.codec.eos,
                banned=banned,
                noise=[self._noise(q) for q in some],
            )
            answers = ([Answer("", tuple(ids), logprob, finished=True) for logprob, ids in row] for row in found)
            return [suggestions(self._format, q, row, n) for q, row in zip(some, answers, strict=True)]

        return self._in_batches(queries, [self._format.prompt(q) for q in queries], n, answer)

    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        """Distributions over steps-to-go: the softmax over the value tokens alone."""

        def answer(_: list[Query], cache: Cache, logits: torch.Tensor) -> list[ValueEstimate]:
            probs = logits[:, self.prompter.codec.bins].float().softmax(-1)
            return [ValueEstimate(tuple(p)) for p in probs.tolist()]

        return self._in_batches(queries, [self._format.value_prompt(q) for q in queries], 1, answer)

    def count_tokens(self, query: Query, suggestions: Sequence[Suggestion] = ()) -> int:
        """Tokens of the prompt with its marker, and of these answers, each with its <eos>."""
        answers = (self.prompter.target(s.tactic, query.premises, query.types) for s in suggestions)
        written = sum(self.prompter.config.max_target if a is None else len(a) for a in answers)
        return len(self._format.prompt(query)) + written

    @torch.inference_mode()
    def _in_batches(
        self,
        queries: Sequence[Query],
        prompts: list[list[int]],
        n: int,
        answer: Callable[[list[Query], Cache, torch.Tensor], list[T]],
    ) -> list[T]:
        """The results of `answer` for all queries. It gets some queries, the cache of their prompts and the logits [B, V] of the next token.
        Prompts of similar length are computed together."""
        by_length = sorted(range(len(queries)), key=lambda i: -len(prompts[i]))
        size = max(1, BATCH_ROWS // max(n, 4))
        found: dict[int, T] = {}
        with self._lock:
            for start in range(0, len(by_length), size):
                batch = by_length[start : start + size]
                cache = self.runner.prefill([prompts[i][:-1] for i in batch], self.prompter.codec.pad)
                markers = torch.tensor([prompts[i][-1:] for i in batch], device=cache.lengths.device)
                logits = self.runner.step(cache, markers)[:, 0]
                found.update(zip(batch, answer([queries[i] for i in batch], cache, logits), strict=True))
        return [found[i] for i in range(len(queries))]

    def _noise(self, query: Query) -> torch.Generator | None:
        """Random generator of a sampled answer; None for a plain beam."""
        if query.attempt == 0:
            return None
        digest = hashlib.sha256(f"{self._seed} {query.attempt} {query.state.shared}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def load_weights(self, weights: Mapping[str, torch.Tensor], version: int) -> None:
        """Replace the weights by a state_dict. Raises ValueError, without a change, if it does not fit."""
        own = self.model.state_dict()
        wrong = [k for k in own if k not in weights or weights[k].shape != own[k].shape]
        wrong += [k for k in weights if k not in own]
        if wrong:
            raise ValueError(f"weights of another model: {len(wrong)} tensors differ, {wrong[0]} among them")
        with self._lock, torch.no_grad():
            self.model.load_state_dict(dict(weights))
            self.runner.refresh()
            self.version = version

    def save(self, folder: str | Path) -> None:
        """Write the folder atomically; an old one is replaced."""
        settings = {"version": self.version, "prompt": dataclasses.asdict(self.prompter.config)}
        save_folder(folder, self.model, self.tokenizer, settings)

    @classmethod
    def load(cls, folder: str | Path, *, threads: int | None = None) -> LanguageModelPolicy:
        """Load a folder written by `save`. Raises ModelFolderError."""
        path = Path(folder)
        for name in ("config.json", "model.safetensors", "tokenizer.json", SETTINGS):
            if not (path / name).is_file():
                raise ModelFolderError(f"{path}: no {name}; give a checkpoint folder that Turnstile wrote")
        logging.disable_progress_bar()
        try:
            settings = json.loads((path / SETTINGS).read_text(encoding="utf-8"))
            prompt, version = PromptConfig(**settings["prompt"]), int(settings["version"])
            tokenizer = PreTrainedTokenizerFast.from_pretrained(path)
            model = LlamaForCausalLM.from_pretrained(path, dtype=torch.float32, use_safetensors=True)  # no pickles
        except Exception as e:  # a broken file can raise anything
            raise ModelFolderError(f"{path}: cannot be read as a model ({type(e).__name__}: {e})") from e
        return cls(model, tokenizer, prompt, version=version, threads=threads)


def save_folder(
    folder: str | Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    settings: dict[str, object],
    weights: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write a Hugging Face folder with a `turnstile.json`, atomically. `weights`: to save instead of the model's own, perhaps with
    those of a value head."""
    weights, head = (None, None) if weights is None else split_weights(weights)
    path = Path(folder).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        fresh = Path(scratch) / "new"
        fresh.mkdir()
        model.save_pretrained(fresh, state_dict=weights)
        tokenizer.save_pretrained(fresh)
        if head is not None:
            write_head(fresh, head)
        (fresh / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        old = Path(scratch) / "old"
        try:
            if path.exists():
                os.replace(path, old)
            os.replace(fresh, path)
        except BaseException:
            if old.exists():
                os.replace(old, path)
            raise
