"""A causal LM as policy and value: beam search over tactics and a distribution over value tokens.

The folder is a Hugging Face one with a `turnstile.json` (prompt shape, version). `llama.py` runs the inference. Limits: Llama
architectures without biases, one device, no quantisation. vllm.py serves larger models.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

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
from prover.models.beam import DecodeConfig, beam_search
from prover.models.formats import SETTINGS, Answer, SlotFormat, suggestions
from prover.models.llama import LlamaRunner
from prover.models.prompt import PromptConfig, Prompter
from prover.models.tokenizer import TextCodec
from prover.models.value_head import split_weights, write_head


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
        decode: DecodeConfig | None = None,
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
        self.decode = decode or DecodeConfig()
        self.version = version
        self.model = model.eval()
        rows = model.config.vocab_size
        self._rows = codec.vocab_size
        if rows < codec.vocab_size:
            raise ModelFolderError(
                f"the tokenizer has {codec.vocab_size} tokens and the model {rows}; resize the model's embeddings"
            )
        self.runner = LlamaRunner(self.model)
        longest = self.prompter.config.max_prompt + self.decode.max_new_tokens
        if longest > self.runner.limit:
            raise ModelFolderError(f"prompt and tactic may take {longest} tokens, the model reads {self.runner.limit}")
        self._lock = threading.Lock()

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        """Up to `n` distinct tactics for each query, best first, with log p(tactic, <eos> | prompt)."""
        return [s for s, _ in self._run(queries, n, value=False)]

    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        """Distributions over steps-to-go: the softmax over the value tokens alone."""
        return [v for _, v in self._run(queries, 0, value=True)]

    def count_tokens(self, query: Query, suggestions: Sequence[Suggestion] = ()) -> int:
        """Tokens of the prompt with its marker, and of these answers, each with its <eos>."""
        prompter = self.prompter
        answers = (prompter.target(s.tactic, query.premises, query.types) for s in suggestions)
        written = sum(prompter.config.max_target if a is None else len(a) for a in answers)
        return len(prompter.prefix(query.state.text, query.premises, query.types, query.towards)) + 1 + written

    def _run(self, queries: Sequence[Query], n: int, *, value: bool) -> list[tuple[list[Suggestion], ValueEstimate]]:
        prefixes = [self.prompter.prefix(q.state.text, q.premises, q.types, q.towards) for q in queries]
        by_length = sorted(range(len(queries)), key=lambda i: -len(prefixes[i]))
        out: list[tuple[list[Suggestion], ValueEstimate] | None] = [None] * len(queries)
        size = max(1, self.decode.batch_rows // max(n, 4))
        with self._lock:
            for start in range(0, len(by_length), size):
                batch = by_length[start : start + size]
                results = self._batch([queries[i] for i in batch], [prefixes[i] for i in batch], n, value)
                for i, result in zip(batch, results, strict=True):
                    out[i] = result
        return [r for r in out if r is not None]

    @torch.inference_mode()
    def _batch(
        self, queries: list[Query], prefixes: list[list[int]], n: int, value: bool
    ) -> list[tuple[list[Suggestion], ValueEstimate]]:
        codec = self.prompter.codec
        cache = self.runner.prefill(prefixes, codec.pad)
        device = cache.lengths.device
        markers = [codec.tactic] * (n > 0) + [codec.value] * value
        first = self.runner.step(cache, torch.tensor(markers, device=device).expand(len(queries), -1))
        values = [ValueEstimate(())] * len(queries)
        if value:
            probs = first[:, -1, codec.bins].float().softmax(-1).tolist()
            values = [ValueEstimate(tuple(p)) for p in probs]
        if n == 0:
            return [([], v) for v in values]
        banned = torch.zeros(len(queries), first.shape[-1], device=device)
        banned[:, self._rows :] = float("-inf")
        for i, query in enumerate(queries):
            banned[i, self._format.banned(query)] = float("-inf")
        found = beam_search(
            self.runner,
            cache,
            first[:, 0],
            n,
            self.decode,
            eos=codec.eos,
            banned=banned,
            noise=[self._noise(q) for q in queries],
        )
        return [(self._suggestions(q, f, n), v) for q, f, v in zip(queries, found, values, strict=True)]

    def _noise(self, query: Query) -> torch.Generator | None:
        """Random generator of a sampled answer; None for a plain beam."""
        if self.decode.method != "stochastic" and query.attempt == 0:
            return None
        digest = hashlib.sha256(f"{self.decode.seed} {query.attempt} {query.state.shared}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def _suggestions(self, query: Query, found: list[tuple[float, list[int]]], n: int) -> list[Suggestion]:
        answers = [Answer("", tuple(ids), logprob, finished=True) for logprob, ids in found]
        return suggestions(self._format, query, answers, n)

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
    def load(
        cls, folder: str | Path, decode: DecodeConfig | None = None, *, threads: int | None = None
    ) -> LanguageModelPolicy:
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
        return cls(model, tokenizer, prompt, decode, version=version, threads=threads)


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
    fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        model.save_pretrained(fresh, state_dict=weights)
        tokenizer.save_pretrained(fresh)
        if head is not None:
            write_head(fresh, head)
        (fresh / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        fresh.chmod(0o755)
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            os.replace(path, old)
            os.replace(fresh, path)
            shutil.rmtree(old)
        else:
            os.replace(fresh, path)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
