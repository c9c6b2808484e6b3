"""Policy over any causal or sequence-to-sequence model, with `generate` of transformers and a prompt template, and its value head.

For models that vLLM does not serve (ReProver's ByT5) and machines without vLLM.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from prover.errors import UserError
from prover.models.backends.sampling import sample
from prover.models.base import Query, Sampled, Suggestion, ValueEstimate
from prover.models.formats import Answer, TemplateFormat, check_folder, render_prompt, suggestions
from prover.models.templates import template_named
from prover.models.token_counts import TokenCounts
from prover.models.value_head import output_inputs, read_head, split_weights

ROWS = 128
"""Maximum number of answers sampled at once, over all goals. Each needs a cache of keys and values."""
VALUED = 32
"""Maximum number of goals valued at once."""
SCORED = 8
"""Maximum number of answers scored at once. Each needs its tokens times the vocabulary in float32, 0.3 GB for 500 tokens of 150,000."""
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
"""The settings for generation that are kept from the model's own."""


class HuggingFacePolicy:
    """Tactics by sampling, or by beam search if the template asks for it. Thread-safe: calls are serialised."""

    def __init__(
        self, folder: str | Path, template: str, *, device: str = "cpu", dtype: str = "auto", seed: int = 0
    ) -> None:
        """`folder`: a folder or a model's name on the Hugging Face hub. `dtype`: "auto", "float32", "bfloat16" …

        Raises UserError if transformers cannot load the folder or the template does not fit it.
        """
        from transformers import AutoConfig, AutoTokenizer, GenerationConfig
        from transformers.models.auto import AutoModelForCausalLM, AutoModelForSeq2SeqLM
        from transformers.utils import logging

        try:
            self.format = TemplateFormat(template_named(template))
            check_folder(folder)
            if Path(folder).is_dir():  # a download keeps its progress bar
                logging.disable_progress_bar()
            both = bool(AutoConfig.from_pretrained(folder, trust_remote_code=False).is_encoder_decoder)
            kind = "seq2seq" if both else "causal"
            if kind != self.format.template.kind:
                raise ValueError(
                    f"{folder} is a {kind} model and template {template} is for {self.format.template.kind} models"
                )
            maker: Any = AutoModelForSeq2SeqLM if both else AutoModelForCausalLM
            self.model: Any = maker.from_pretrained(folder, dtype=dtype, trust_remote_code=False).to(device).eval()
            # The template says how to sample. A folder may ask for penalties or beams, which change the log-probabilities.
            own = self.model.generation_config
            self.model.generation_config = GenerationConfig(**{name: getattr(own, name) for name in _TOKENS})
            self._eos = set(torch.as_tensor(self.model.generation_config.eos_token_id).reshape(-1).tolist())
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            head = read_head(folder)
            self.head = head.to(device) if head is not None else None
        except UserError:
            raise
        except Exception as e:  # a broken folder or a device that is missing or too small can raise anything
            raise UserError(f"{folder} cannot be used as a policy: {e}") from None
        self.seq2seq = both
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token_id = self.tokenizer.eos_token_id
        self.tokenizer.padding_side = "right" if both else "left"
        self.version = 0
        self.generated_tokens = 0
        """Total number of generated tokens, for measurements."""
        self.token_counts = TokenCounts()
        self.count_tokens = self.token_counts.count
        self._noise = torch.Generator().manual_seed(seed)
        self._lock = threading.Lock()

    def reseed(self, seed: int) -> None:
        self._noise.manual_seed(seed)

    def load_weights(self, weights: Mapping[str, torch.Tensor], version: int) -> None:
        """Replace the weights by a state_dict, in which tied weights and a value head are optional. Raises ValueError, without a
        change, if it does not fit."""
        weights, head = split_weights(weights)
        own = self.model.state_dict()
        tied = {k for k, v in own.items() if any(v.data_ptr() == own[o].data_ptr() for o in weights if o in own)}
        wrong = [k for k in own if k not in weights and k not in tied]
        wrong += [k for k in weights if k not in own or own[k].shape != weights[k].shape]
        if wrong:
            raise ValueError(f"weights of another model: {len(wrong)} tensors differ, {wrong[:1]} among them")
        with self._lock, torch.no_grad():
            self.model.load_state_dict(weights, strict=False)
            self.head = head.to(self.model.device) if head is not None else None
            self.version = version

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        """Up to `n` distinct tactics for each query, most probable first, with the untempered model's log-probabilities."""
        if not queries:
            return []
        beam = self.format.template.decode == "beam" and all(q.attempt == 0 for q in queries)
        single = n == 1 and not self.seq2seq  # for learning
        with self._lock:
            answers, tokens = self.generate([self.format.prompt(q) for q in queries], n, beam, tokens=single)
        for q, took in zip(queries, tokens, strict=True):
            self.token_counts.record(q, took)
        return [suggestions(self.format, q, mine, n) for q, mine in zip(queries, answers, strict=True)]

    @property
    def has_value(self) -> bool:
        """Whether `evaluate` works."""
        return self.head is not None

    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        """Distributions over steps-to-go, by the value head. Raises ValueError if the model has none."""
        if self.head is None:
            raise ValueError("the model has no value head; use it as policy only")
        found: list[ValueEstimate] = []
        for i in range(0, len(queries), VALUED):
            some = queries[i : i + VALUED]
            with self._lock:
                given = self._given([self.format.prompt(q) for q in some])
                found += [ValueEstimate(tuple(p)) for p in self._values(given).tolist()]
            for q, mask in zip(some, given["attention_mask"], strict=True):
                self.token_counts.record(q, int(mask.sum()))
        return found

    @torch.inference_mode()
    def _values(self, given: Any) -> torch.Tensor:
        """[rows, N_BINS], probabilities."""
        assert self.head is not None
        ids, mask = given["input_ids"], given["attention_mask"]
        if self.seq2seq:
            first = torch.full_like(ids[:, :1], self.model.config.decoder_start_token_id)
            more: dict[str, Any] = {"decoder_input_ids": first}
        else:
            more = {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
        with output_inputs(self.model, lambda x: x[:, -1:]) as seen:
            self.model(input_ids=ids, attention_mask=mask, use_cache=False, **more)
        return self.head(seen[0][:, 0]).softmax(-1)

    def texts(self, prompt: Any, n: int) -> tuple[list[str], int]:
        """n sampled answers, for whole proofs, without truncated ones, and the tokens of the prompt and of all n."""
        with self._lock:
            [answers], [tokens] = self.generate([prompt], n, beam=False, priors=False)
        return [a.text for a in answers if a.finished], tokens

    def draw(self, prompts: Sequence[Any], n: int) -> list[list[Answer]]:
        """n answers to each prompt, sampled at temperature 1, with their tokens."""
        with self._lock:
            return self.generate(prompts, n, beam=False, tokens=True)[0]

    def generate(
        self, prompts: Sequence[Any], n: int, beam: bool, priors: bool = True, tokens: bool = False
    ) -> tuple[list[list[Answer]], list[int]]:
        """n answers to each prompt, and the tokens of each prompt with its answers. Without `priors` log-probabilities may be 0:
        scoring long answers takes more memory than sampling them. `tokens`: sample at temperature 1 and record the tokens."""
        at_once, answers, took = max(1, ROWS // n), list[list[Answer]](), list[int]()
        for i in range(0, len(prompts), at_once):
            some, lengths = self._generate_at_once(prompts[i : i + at_once], n, beam, priors, tokens)
            answers += some
            took += lengths
        return answers, took

    @torch.inference_mode()
    def _generate_at_once(
        self, prompts: Sequence[Any], n: int, beam: bool, priors: bool, tokens: bool
    ) -> tuple[list[list[Answer]], list[int]]:
        f = self.format
        given = self._given(prompts)
        sampling = {"temperature": 1.0, "top_p": 1.0} if tokens else f.sampling
        inputs = None if self.seq2seq or beam else self._with_cache(given, n)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(1 << 31, (1,), generator=self._noise)))
            if inputs is not None:
                answers, logprobs = sample(self.model, inputs, f.max_new_tokens, self._has_ended, **sampling)
            else:
                answers, logprobs = self._generated(given, n, beam, priors, sampling)
        read = [ids[m.bool()].tolist() for ids, m in zip(given["input_ids"], given["attention_mask"], strict=True)]
        rows = []
        for i, (row, steps) in enumerate(zip(answers, logprobs, strict=True)):
            length, ended = self._end(row)
            ids = tuple(row[:length])
            text = self.tokenizer.decode(ids, skip_special_tokens=True)
            cut = [text.find(s) for s in f.stop if s in text]
            sampled = Sampled(tuple(read[i // n]), ids, tuple(steps[:length])) if tokens and not beam else None
            rows.append(Answer(text[: min(cut)] if cut else text, ids, sum(steps[:length]), ended, sampled))
        grouped = [rows[i : i + n] for i in range(0, len(rows), n)]
        written = [sum(len(a.ids) for a in mine) for mine in grouped]
        self.generated_tokens += sum(written)
        return grouped, [len(r) + w for r, w in zip(read, written, strict=True)]

    def _generated(
        self, given: Any, n: int, beam: bool, priors: bool, sampling: Mapping[str, float]
    ) -> tuple[list[list[int]], list[list[float]]]:
        """(token ids, log-probabilities) of n answers to each row of `given`, with padding, by `generate`."""
        f = self.format
        recorder = None if beam or not priors else _LogProbabilities()
        how: dict[str, Any] = {"max_new_tokens": f.max_new_tokens, "use_cache": True, "num_return_sequences": n}
        if recorder is not None:
            how["logits_processor"] = [recorder]
        if beam:
            how |= {"num_beams": n, "do_sample": False, "early_stopping": False, "length_penalty": 0.0}
        else:
            # The default top_k of `generate` is 50.
            how |= {"do_sample": True, "top_k": 0, **sampling}
        if f.stop and not self.seq2seq:
            how |= {"stop_strings": list(f.stop), "tokenizer": self.tokenizer}
        out = self.model.generate(**given, **how, pad_token_id=self.tokenizer.pad_token_id)
        # The output starts with the start token (encoder-decoder) or the prompt (causal).
        skip = 1 if self.seq2seq else given["input_ids"].shape[1]
        answers = out[:, skip:]
        if recorder is not None:
            logprobs = recorder.of(answers)
        elif priors:
            lengths = torch.tensor([self._end(ids)[0] for ids in answers.tolist()], device=out.device)
            logprobs = self._score(given, out, skip, lengths, n)
        else:
            logprobs = torch.zeros(answers.shape)
        return answers.tolist(), logprobs.tolist()

    def _given(self, prompts: Sequence[Any]) -> Any:
        """The model's inputs for prompts of the format: `input_ids` and `attention_mask`, padded."""
        texts = [render_prompt(p, self.tokenizer) for p in prompts]
        chat = any(not isinstance(p, str) for p in prompts)
        given = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=not chat)
        given.pop("token_type_ids", None)
        return given.to(self.model.device)

    def _with_cache(self, given: Any, n: int) -> dict[str, Any] | None:
        """The inputs of `sample` for n answers to each prompt. Each prompt is computed once. None for a model whose cache rows cannot be
        copied, and for prompts of one token."""
        both = torch.cat([given["input_ids"], given["attention_mask"]], 1)
        distinct, rows = both.unique(dim=0, return_inverse=True)
        rows = rows.repeat_interleave(n)
        ids, mask = distinct.chunk(2, 1)
        # The state of a recurrent layer cannot be copied to several rows.
        if ids.shape[1] < 2 or getattr(self.model, "_is_stateful", False):
            return None
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        begun, seen, at = ids[:, :-1], mask[:, :-1], positions[:, :-1]
        made = self.model.base_model(input_ids=begun, attention_mask=seen, position_ids=at, use_cache=True)
        cache: Any = getattr(made, "past_key_values", None)
        if not hasattr(cache, "batch_select_indices"):  # e.g. XLNet
            return None
        if any(hasattr(layer, "conv_states") for layer in getattr(cache, "layers", ())):  # as LFM2's
            return None
        cache.batch_select_indices(rows)
        return {"input_ids": ids[rows], "attention_mask": mask[rows], "past_key_values": cache}

    def _has_ended(self, ids: Sequence[int]) -> bool:
        """Whether an answer ends with its last token."""
        stop = self.format.stop
        if ids[-1] in self._eos:
            return True
        # A character may take several tokens.
        tail = self.tokenizer.decode(ids[-4 * max(map(len, stop)) :]) if stop else ""
        return any(s in tail for s in stop)

    def _end(self, ids: Sequence[int]) -> tuple[int, bool]:
        """(length of an answer with its <eos> or stop string but without padding, whether it ended by itself)."""
        length = next((k for k, token in enumerate(ids, 1) if token in self._eos), 0)
        ended, length = length > 0, length or len(ids)
        if any(s in self.tokenizer.decode(ids[:length]) for s in self.format.stop):
            # A stop string may end within a token: find the shortest prefix that contains it.
            for k in range(1, length + 1):
                if any(s in self.tokenizer.decode(ids[:k]) for s in self.format.stop):
                    return k, True
        return length, ended

    def _score(self, given: Any, out: torch.Tensor, skip: int, lengths: torch.Tensor, n: int) -> torch.Tensor:
        """Log-probabilities [rows, tokens] of a beam search's answers of these lengths, 0 after their ends. By one forward pass, because
        the scores of `generate` have penalties."""
        answers = out[:, skip:]
        inside = torch.arange(answers.shape[1], device=out.device) < lengths[:, None]
        mask = given["attention_mask"].repeat_interleave(n, 0)
        source = given["input_ids"].repeat_interleave(n, 0)
        found = []
        for some in torch.arange(len(out), device=out.device).split(SCORED):
            if self.seq2seq:
                logits = self.model(
                    input_ids=source[some], attention_mask=mask[some], decoder_input_ids=out[some, :-1]
                ).logits
            else:
                whole = torch.cat([mask[some], inside[some].long()], 1)
                positions = (whole.cumsum(-1) - 1).clamp(min=0)
                logits = self.model(input_ids=out[some], attention_mask=whole, position_ids=positions).logits[
                    :, skip - 1 : -1
                ]
            steps = logits.float().log_softmax(-1).gather(-1, answers[some][..., None])[..., 0]
            found.append(steps * inside[some])
        return torch.cat(found)


class _LogProbabilities:
    """Records the untempered model's log-probability of each sampled token. `generate` calls it before temperature and top-p."""

    def __init__(self) -> None:
        self._steps: list[torch.Tensor] = []
        """[rows], for each token but the last."""
        self._last: torch.Tensor | None = None
        """[rows, vocabulary], for the next token."""

    def __call__(self, ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """`ids`: [rows, tokens], with what was sampled so far."""
        self._take(ids[:, -1])
        self._last = logits.float().log_softmax(-1)
        return logits

    def _take(self, sampled: torch.Tensor) -> None:
        if self._last is not None:
            self._steps.append(self._last.gather(-1, sampled[:, None])[:, 0])

    def of(self, answers: torch.Tensor) -> torch.Tensor:
        """[rows, tokens], for the answers [rows, tokens]. Meaningless after an answer's end."""
        if len(self._steps) < answers.shape[1]:
            self._take(answers[:, -1])
        return torch.stack(self._steps[: answers.shape[1]], 1)
