"""The plan of a run before it starts: placement, memory and downloads, and what it needs of this machine."""

from __future__ import annotations

import json
import re
from math import prod
from pathlib import Path
from typing import Any

from safetensors import safe_open

from prover.errors import UserError
from prover.models.backends.vllm import is_cpu_build
from prover.search.select import rule_named
from rl import needs as needed
from rl.algorithms.gradient_settings import PRESETS, settings_of
from rl.config import DPO, LearnConfig, RunConfig, ServeConfig, check
from rl.start import start_of
from rl.theorem_splits import Theorems

_TRAINED_BYTES = 16
"""Bytes of a trained weight in float32 with its gradient and Adam's two moments."""


def plan(config: RunConfig) -> dict[str, Any]:
    """The plan of a run as plain data. Raises UserError for a configuration that cannot work, naming the setting to change."""
    s, r = config.serve, config.ray
    _check(config)
    size = _size(config)
    parameters = size["parameters"]
    bytes_each = 4 if s.dtype == "float32" or not s.start else 2
    gpus_each = r.server_gpus
    if s.backend == "vllm" and not _vllm_on_cpus(config):
        gpus_each = s.tensor_parallel * s.pipeline_parallel
    weights = parameters * bytes_each / max(1, gpus_each)
    found: dict[str, Any] = {
        "model": s.start or config.model.start or "a small model from scratch",
        "parameters": parameters,
        "parameters_from": size["from"],
        "download": _download(s.start, parameters),
        "provers": {
            "count": "as many as the cluster has room for" if r.elastic else config.prover.provers,
            "searches_at_once": config.prover.concurrent,
            "memory_gb_each": 1.5,
        },
        "servers": {
            "copies": r.model_servers,
            "backend": s.backend,
            "gpus_each": gpus_each,
            "gpu_share": r.server_gpus or gpus_each,
            "placed": _placed(s, gpus_each),
            "weights_gb_a_gpu": _gb(weights),
            # For merged weights, in the dtype that they are trained from. Adapters that are served unmerged take far less.
            "update_gb": _gb(
                parameters * (2 if s.start and s.train == "lora" and config.learn.dtype == "bfloat16" else 4)
            ),
            "update_through": "the run's folder" if s.across else "Ray's object store",
        },
        "learner": _learner(config, parameters),
        "gpus": r.model_servers * (r.server_gpus or gpus_each) + r.learner_gpus * config.learn.ranks,
        "cluster": r.address or "this machine alone",
    }
    if gpus_each:
        room = s.gpu_gb * 1e9 * (s.memory if s.backend == "vllm" else 1.0) - weights
        found["servers"]["cache_gb_a_gpu"] = _gb(room)
        if room < 0.05 * s.gpu_gb * 1e9:
            raise UserError(
                f"serve: {_gb(weights)} GB of weights per GPU do not fit into {s.gpu_gb:g} GB: raise serve.tensor_parallel"
            )
    if r.learner_gpus and found["learner"]["memory_gb_a_process"] > 0.9 * s.gpu_gb * r.learner_gpus:
        raise UserError(
            f"the learner needs about {found['learner']['memory_gb_a_process']} GB per process and has "
            f"{s.gpu_gb * r.learner_gpus:g}: set serve.train=lora, serve.gradient_checkpointing=true, or learn.shard=true with "
            "more learn.ranks"
        )
    return found


def _check(config: RunConfig) -> None:
    s, r = check(config).serve, config.ray
    start_of(config)
    if s.start:
        _check_learning(config)
    if min(s.tensor_parallel, s.pipeline_parallel, r.model_servers) < 1 or not 0 < s.memory <= 1:
        raise UserError(
            "serve: tensor_parallel, pipeline_parallel and ray.model_servers must be at least 1, and memory is in (0, 1]"
        )
    if r.learner_gpus > 1:
        raise UserError(
            f"ray.learner_gpus={r.learner_gpus:g}: a learner process uses one GPU; for more, set learn.ranks and learn.shard=true"
        )
    if config.learn.retrain_every and config.learn.algorithm in PRESETS:
        raise UserError(
            "learn.retrain_every trains on the examples of earlier rounds, but a policy gradient learns only from the newest policy; "
            "set it to 0"
        )
    parts = s.tensor_parallel * s.pipeline_parallel
    shares_one = parts == 1 and 0 < r.server_gpus <= 1 and (r.server_gpus == 1 or s.memory <= r.server_gpus)
    if s.backend == "vllm" and r.server_gpus != parts and not shares_one and not _vllm_on_cpus(config):
        raise UserError(
            f"ray.server_gpus={r.server_gpus:g}: a copy of the model uses serve.tensor_parallel × serve.pipeline_parallel = "
            f"{parts} GPUs; make them equal, or share one GPU: server_gpus below 1 and serve.memory at most server_gpus "
            "(0 is for vLLM's build for CPUs)"
        )
    if s.dtype not in ("auto", "float32", "bfloat16", "float16"):
        raise UserError(f"serve.dtype={s.dtype}: must be auto, float32, bfloat16 or float16")
    if s.start and s.train == "lora" and s.lora_rank < 1:
        raise UserError(f"serve.lora_rank={s.lora_rank}: must be at least 1; to train all weights, set serve.train=all")
    if s.start:
        _check_pretrained(s, config.learn)
    elif config.learn.collect == "proofs":
        raise UserError('learn.collect="proofs" is for a pretrained model (serve.start)')
    if config.learn.infill and (config.learn.algorithm, config.learn.collect) != ("expert_iteration", "search"):
        raise UserError(
            'learn.infill learns from search trees: set learn.algorithm="expert_iteration" and learn.collect="search"'
        )
    _check_assessor(config)


def _vllm_on_cpus(config: RunConfig) -> bool:
    """Whether vLLM serves the model without GPUs, which only its build for CPUs can, on one machine. A cluster has the same packages as
    this machine."""
    return config.ray.server_gpus == 0 and not config.serve.across and is_cpu_build()


def _check_assessor(config: RunConfig) -> None:
    """Raise UserError for an assessor without searches that it can learn from, and for uses without an assessor."""
    c, start = config.learn, start_of(config)
    if c.assessor_seconds and (c.collect != "search" or not rule_named(config.prover.rule).counts_calls):
        raise UserError(
            'learn.assessor_seconds: the assessor learns from searches (learn.collect="search") whose rule selects from the root, such as '
            "puct; set it to 0"
        )
    trained = c.assessor_seconds or (start is not None and start.assessor_file is not None)
    if (config.prover.assess or config.matchmaker.assess) and not trained:
        raise UserError(
            "prover.assess and matchmaker.assess need an assessor: set learn.assessor_seconds, for example to 10"
        )


def _check_learning(config: RunConfig) -> None:
    """Raise UserError for learning settings that a pretrained model does not support."""
    c = config.learn
    if c.algorithm in PRESETS:
        if c.collect == "search":
            raise UserError(
                f'learn.algorithm="{c.algorithm}" learns from sampled trajectories: set learn.collect="rollouts", or "proofs" for a '
                "model that writes whole proofs"
            )
        if c.shard and settings_of(c.algorithm, config.gradient).kl_weight:
            raise UserError("gradient.kl_weight: the reference of the KL does not fit a sharded learner; set it to 0")
    if c.algorithm == DPO:
        if c.extracted:
            raise UserError(
                'learn.extracted: human proofs have no failed tactics, which learn.algorithm="dpo" needs: omit it'
            )
        if c.shard:
            raise UserError(
                'learn.algorithm="dpo": its reference does not fit a sharded learner; set learn.shard=false'
            )
        if c.collect != "search":
            raise UserError(
                'learn.algorithm="dpo" learns from the tactics that a search tried: set learn.collect="search"'
            )
    if c.value == "td_lambda" and c.collect != "search":
        raise UserError(
            'learn.value="td_lambda" learns from search trees: set learn.collect="search", or learn.value="monte_carlo"'
        )
    for name in ("kl", "ema", "warmup", "batch_tokens"):
        if getattr(c, name) != getattr(LearnConfig(), name):
            raise UserError(
                f"learn.{name} is for the model from scratch and has no effect on a pretrained one (serve.start): omit it"
            )


def _check_pretrained(s: ServeConfig, learn: LearnConfig) -> None:
    """Raise UserError if model, template and lengths contradict each other, as far as known before a download."""
    from prover.models.manifest import read_manifest
    from prover.models.templates import template_named

    answer = 64
    named = s.template or read_manifest(Path(s.start)).template
    if named or not (Path(s.start) / "turnstile.json").is_file():
        try:
            template = template_named(named)
        except ValueError as e:
            raise UserError(f"serve.template: {e}") from None
        if template.kind == "seq2seq" and s.backend == "vllm":
            raise UserError(f"serve.template={named}: vLLM serves causal models only")
        if template.kind == "seq2seq" and learn.algorithm in PRESETS:
            raise UserError(
                f'serve.template={named}: a policy gradient samples from causal models only; set learn.algorithm="expert_iteration"'
            )
        if (template.answers == "proof") != (learn.collect == "proofs"):
            needed = 'learn.collect="proofs"' if template.answers == "proof" else 'learn.collect="search" or "rollouts"'
            raise UserError(f"serve.template={named}: the model answers with {template.answers}s: set {needed}")
        if learn.infill and not template.shows_goal_to_reach:
            raise UserError(f"serve.template={named}: its prompt does not show the goal to reach; set learn.infill=0")
        if template.answers == "proof" and learn.algorithm not in PRESETS:
            names = ", ".join(PRESETS)
            raise UserError(f'learn.collect="proofs" learns by policy gradient: set learn.algorithm to one of {names}')
        answer = template.max_new_tokens
    context = _context_length(s.start)
    if s.max_model_len < 0 or 0 < s.max_model_len <= answer:
        raise UserError(
            f"serve.max_model_len={s.max_model_len}: must be 0, or more than an answer takes ({answer} tokens)"
        )
    if context and s.max_model_len > context:
        raise UserError(f"serve.max_model_len={s.max_model_len}: must be at most {context}, the context of {s.start}")


def _context_length(start: str) -> int | None:
    """A model's context length in tokens; None if its configuration is not on this machine."""
    path = Path(start) / "config.json" if Path(start).is_dir() else _cached(start)
    if path is None or not path.is_file():
        return None
    return json.loads(path.read_text(encoding="utf-8")).get("max_position_embeddings")


def _cached(start: str) -> Path | None:
    """The configuration of a model of the hub, if it is in the cache."""
    from huggingface_hub import try_to_load_from_cache

    try:
        path = try_to_load_from_cache(start, "config.json")
    except ValueError:  # not a valid name of the hub
        return None
    return Path(path) if isinstance(path, str) else None


def _size(config: RunConfig) -> dict[str, Any]:
    start = config.serve.start
    for checkpoint in sorted(config.folder.glob("checkpoints/[0-9]*"), reverse=True):
        if files := sorted(checkpoint.glob("*.safetensors")):
            return {"parameters": sum(_parameters(p) for p in files), "from": "the newest checkpoint"}
    if not start:
        m = config.model
        layer = 4 * m.hidden**2 + 3 * m.hidden * m.intermediate
        return {"parameters": m.vocabulary * m.hidden + m.layers * layer, "from": "[model]"}
    files = sorted(Path(start).glob("*.safetensors"))
    if files:
        return {"parameters": sum(_parameters(p) for p in files), "from": "the folder's weights"}
    if Path(start).exists() or start.startswith((".", "/")):
        raise UserError(f"serve.start={start}: no *.safetensors in this folder")
    named = re.findall(r"(?<![\w.])(\d+(?:\.\d+)?)[bB](?![a-zA-Z])", start.replace("_", "-"))
    if not named:
        raise UserError(
            f"serve.start={start}: no such folder; name one with a checkpoint, or a model of a hub whose name says how large it is (like -7B)"
        )
    return {"parameters": round(float(named[-1]) * 1e9), "from": "the name: an estimate"}


def _parameters(path: Path) -> int:
    """Number of parameters in a safetensors file, read from its header."""
    with safe_open(path, "np") as file:
        return sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def _download(start: str, parameters: int) -> str:
    if not start or Path(start).is_dir():
        return "nothing"
    if _cached(start):
        return f"{start} is in the Hugging Face cache (at least its configuration)"
    return f"{start} from the Hugging Face hub, about {_gb(parameters * 2)} GB, at the first start"


def _placed(s: ServeConfig, gpus_each: float) -> str:
    """Placement of a copy by Ray, as in rl/actors/fleet.py."""
    if s.across:
        return f"a placement group of {gpus_each:g} bundles of one GPU, on as few machines as possible, which share the run's folder"
    return f"one actor, its {gpus_each:g} GPUs on one machine" if gpus_each > 1 else "one actor"


def _learner(config: RunConfig, parameters: int) -> dict[str, Any]:
    s, ranks = config.serve, max(1, config.learn.ranks)
    if s.start and s.train == "lora":
        # Adapters on all linear layers of a 7 B model have about 2.5 M weights per unit of rank.
        adapters = round(parameters * s.lora_rank * 3.6e-4)
        memory = parameters * 2 + adapters * _TRAINED_BYTES
    else:
        adapters, memory = 0, parameters * _TRAINED_BYTES
    if config.learn.shard:
        # Besides its share, a process gathers one or two whole layers during computation: 5 % is generous.
        memory = memory / ranks + 0.05 * parameters * 4
    # Every process reads the whole model into host memory: in the folder's dtype if sharded, else in the dtype of training.
    as_stored = s.start and (config.learn.shard or (s.train == "lora" and config.learn.dtype == "bfloat16"))
    host = parameters * (2 if as_stored else 4)
    activations = parameters * (0.3 if s.gradient_checkpointing else 1.0)
    return {
        "processes": ranks,
        "sharded": config.learn.shard,
        "gpus_each": config.ray.learner_gpus,
        "trains": f"adapters of rank {s.lora_rank}, about {adapters:,} weights" if adapters else "all weights",
        "memory_gb_a_process": _gb(memory + activations),
        "host_gb_a_process": _gb(host),
        "memory_is": "weights, gradients, Adam and roughly estimated activations",
    }


def _gb(x: float) -> float:
    return round(x / 1e9, 2)


def needs(config: RunConfig, theorems: Theorems) -> dict[str, Any]:
    """Resources that a run, or the rest of it, needs here: theorems, rough minutes, disks, and `missing`, a line for each missing
    resource."""
    sizes = len(theorems.train), len(theorems.held_out), len(theorems.validation)
    parameters = _size(config)["parameters"]
    fetched = config.serve.start and not Path(config.serve.start).is_dir() and not _cached(config.serve.start)
    space = needed.spaces(config, parameters, 2 * parameters * bool(fetched), needed.attempts(config, *sizes))
    missing = needed.short_of_disk(space), needed.short_of_gpus(config)
    return {
        "theorems": dict(zip(("train", "held_out", "validation"), sizes, strict=True)),
        "minutes": round(needed.minutes(config, *sizes)),
        "max_minutes": config.max_minutes,
        "disks": needed.disks(space),
        "missing": [line for line in missing if line],
    }


def explain(found: dict[str, Any]) -> str:
    """The plan as text."""
    servers, learner, provers = found["servers"], found["learner"], found["provers"]
    cache = f", {servers['cache_gb_a_gpu']} GB of cache" if "cache_gb_a_gpu" in servers else ""
    where = f"{servers['gpu_share']:g} GPUs each" if servers["gpus_each"] else "the CPU"
    return "\n".join(
        [
            f"model     {found['model']}: {found['parameters']:,} parameters ({found['parameters_from']})",
            f"download  {found['download']}",
            f"provers   {provers['count']}, {provers['searches_at_once']} searches each, about {provers['memory_gb_each']} GB of "
            "memory each, no GPU",
            f"servers   {servers['copies']} × {servers['backend']} on {where} ({servers['placed']}): "
            f"{servers['weights_gb_a_gpu']} GB of weights per device{cache}",
            f"learner   {learner['processes']} × {learner['trains']}{', sharded (FSDP),' * learner['sharded']} on "
            f"{learner['gpus_each']:g} GPUs each: about {learner['memory_gb_a_process']} GB per process "
            f"({learner['memory_is']}), and {learner['host_gb_a_process']} GB of host memory to read the model",
            f"update    {servers['update_gb']} GB of weights to every copy after each round, through {servers['update_through']}",
            f"together  {found['gpus']:g} GPUs; cluster: {found['cluster']}",
            *_explain_needs(found),
        ]
    )


def _explain_needs(found: dict[str, Any]) -> list[str]:
    if "theorems" not in found:
        return []
    n = found["theorems"]
    return [
        f"theorems  {n['train']} to train on, {n['held_out']} held out, {n['validation']} for validation",
        f"time      roughly {found['minutes']} minutes at the speed of the small model on one core per prover; no round after the first "
        f"starts later than {found['max_minutes']:g}",
        *(
            f"disk      {d['needed_gb']:g} of the {d['free_gb']:g} GB free on {d['disk']}: {', '.join(d['for'])}"
            for d in found["disks"]
        ),
        *(f"missing   {line}" for line in found["missing"]),
    ]
