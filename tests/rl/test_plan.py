"""The recipes are valid and explained; impossible settings are refused before anything starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from prover.errors import UserError
from rl import config as config_module
from rl.config import RunConfig, ServeConfig
from rl.plan import explain, plan

STAGES = Path(__file__).parents[2] / "curricula" / "stages"


@pytest.mark.parametrize(
    ("recipe", "gpus", "parameters"), [("one-gpu", 1, 1.5e9), ("eight-gpus", 8, 7e9), ("cluster", 24, 32e9)]
)
def test_recipes(recipe: str, gpus: float, parameters: float) -> None:
    found = plan(config_module.load(STAGES / f"{recipe}.toml"))
    assert found["gpus"] == pytest.approx(gpus) and found["parameters"] == parameters
    assert "Hugging Face" in found["download"] and found["servers"]["cache_gb_a_gpu"] > 10
    text = explain(found)
    assert all(word in text for word in ("download", "servers", "learner", "provers", "estimate", "update"))
    # Adapters are merged: whole weights in bfloat16 travel.
    assert found["servers"]["update_gb"] == pytest.approx(2 * parameters / 1e9)


@pytest.mark.parametrize("path", sorted(STAGES.glob("*.toml")), ids=lambda p: p.stem)
def test_every_stage_can_be_started(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # policy-gradient.toml starts from a model that its user makes
    (tmp_path / "runs/warm").mkdir(parents=True)
    save_file({"a": torch.zeros(30, 4)}, tmp_path / "runs/warm/model.safetensors")
    assert plan(config_module.load(path))["learner"]["processes"] >= 1


def test_a_pretrained_model_without_a_value_and_with_epochs() -> None:
    settings = ('learn.value="none"', "learn.max_epochs=1.0")
    plan(config_module.override(config_module.load(STAGES / "one-gpu.toml"), settings))


def test_the_demonstration_downloads_nothing() -> None:
    found = plan(RunConfig())
    assert found["download"] == "nothing" and found["gpus"] == 0


def test_a_folder_is_measured(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(30, 4), "b": torch.zeros(7)}, tmp_path / "model.safetensors")
    config = RunConfig()
    serve = replace(config.serve, backend="vllm", start=str(tmp_path), template="names")
    config = replace(config, serve=serve, ray=replace(config.ray, server_gpus=1.0))
    found = plan(config)
    assert found["parameters"] == 127 and found["download"] == "nothing"
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 4096}')
    longer = replace(config, serve=replace(serve, max_model_len=8192))
    with pytest.raises(UserError, match="must be at most 4096"):
        plan(longer)


def test_vllm_without_gpus_is_its_build_for_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(serve=ServeConfig(backend="vllm"))
    monkeypatch.setattr("rl.plan.is_cpu_build", lambda: False)
    with pytest.raises(UserError, match="0 is for vLLM's build for CPUs"):
        plan(config)
    monkeypatch.setattr("rl.plan.is_cpu_build", lambda: True)
    assert plan(config)["gpus"] == 0
    for wrong in (
        replace(config, ray=replace(config.ray, server_gpus=2.0)),
        replace(
            config, serve=replace(config.serve, pipeline_parallel=2)
        ),  # across machines, Ray places each part on a GPU
    ):
        with pytest.raises(UserError, match="make them equal"):
            plan(wrong)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("serve.tensor_parallel=2",), "make them equal"),
        (('serve.template="nonsense"',), "serve.template: no template"),
        (('serve.template="reprover"',), "vLLM serves causal models only"),
        (
            (
                'serve.template="reprover"',
                'serve.backend="transformers"',
                'learn.algorithm="dapo"',
                'learn.collect="rollouts"',
            ),
            "samples from causal models only",
        ),
        (('serve.start="nobody/nothing"',), "no such folder; name one with a checkpoint"),
        (('serve.start="./nowhere"',), "no \\*.safetensors"),
        (('serve.start="x/y-70B"',), "raise serve.tensor_parallel"),
        (('serve.train="all"', "ray.learner_gpus=1.0"), "the learner needs about"),
        (("serve.memory=1.5",), "memory is in"),
        (("serve.lora_rank=0",), "serve.lora_rank=0: must be at least 1"),
        (('serve.dtype="float8"',), "serve.dtype=float8: must be auto"),
        (("serve.max_model_len=-5",), "serve.max_model_len=-5: must be 0, or more"),
        (("serve.max_model_len=256",), "more than an answer takes \\(256 tokens\\)"),
        (("learn.kl=0.04",), "learn.kl is for the model from scratch"),
        (("learn.warmup=5",), "learn.warmup is for"),
        (("learn.ema=0.99",), "learn.ema is for"),
        (("learn.batch_tokens=1024",), "learn.batch_tokens is for"),
        (('learn.value="td_lambda"', 'learn.algorithm="dapo"', 'learn.collect="rollouts"'), "learns from search trees"),
        (("learn.retrain_every=2", 'learn.algorithm="dapo"', 'learn.collect="rollouts"'), "learn.retrain_every"),
        (('learn.algorithm="dpo"', 'learn.collect="rollouts"'), "the tactics that a search tried"),
        (('learn.algorithm="dpo"', "learn.ranks=2", "learn.shard=true"), "does not fit a sharded learner"),
        (('learn.algorithm="dpo"', 'learn.extracted="pairs"'), "have no failed tactics"),
        (('learn.algorithm="dpo"', "dpo.beta=0.0"), "dpo.beta"),
        (('serve.template="kimina-prover"',), 'answers with proofs: set learn.collect="proofs"'),
        (('serve.template="kimina-prover"', 'learn.collect="proofs"'), "set learn.algorithm to one of grpo, dr_grpo"),
        (('learn.collect="proofs"', 'learn.algorithm="dapo"'), "answers with tactics: set learn.collect="),
        (('learn.algorithm="dapo"',), 'set learn.collect="rollouts"'),
        (('learn.algorithm="dapo"', 'learn.collect="rollouts"', "gradient.clip_low=2.0"), "gradient.clip_low must be"),
        (('prover.assess=["tactics"]',), "need an assessor: set learn.assessor_seconds"),
        (('prover.rule="best_first"', "learn.assessor_seconds=5.0"), "whose rule selects from the root"),
        (("learn.ranks=0",), "learn.ranks must be an integer of at least 1"),
        (("learn.ranks=1", "learn.shard=true"), "learn.shard splits"),
    ],
)
def test_impossible_settings_are_refused(settings: tuple[str, ...], message: str) -> None:
    config = config_module.load(STAGES / "eight-gpus.toml")
    with pytest.raises(UserError, match=message):
        plan(config_module.override(config, settings))
