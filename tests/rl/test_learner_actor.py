"""The learner's actor, without Ray: its checkpoints, what it publishes, its reference and its limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from transformers import ByT5Tokenizer, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from prover.models.backends.serve import ServeConfig
from rl.actors.learner import LearnerActor
from rl.config import LearnConfig, RunConfig
from rl.examples import PreferencePair
from tests.rl.test_pretrained import make_model

Actor: Any = LearnerActor.__ray_metadata__.modified_class  # type: ignore[attr-defined]


def config(folder: Path, learn: LearnConfig | None = None, **serve: Any) -> RunConfig:
    return RunConfig(
        learn=learn or LearnConfig(threads=1), serve=ServeConfig(**{"start": str(folder), "template": "names"} | serve)
    )


def test_a_killed_save_leaves_nothing_behind(tmp_path: Path) -> None:
    """A checkpoint is written into a hidden folder first. A learner that is killed meanwhile cannot remove it."""
    make_model(tmp_path / "model")
    left = [tmp_path / "checkpoints" / name for name in (".000003.k1ll3d", ".000002.old.k1ll3d")]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"half")
    other = Actor(config(tmp_path / "model"), str(tmp_path / "checkpoints"), 1)
    other._remove_unfinished()
    assert all(folder.exists() for folder in left), "rank 0 alone writes and removes"
    actor = Actor(config(tmp_path / "model"), str(tmp_path / "checkpoints"))
    assert actor.resume() == 0
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["000000"]
    assert Actor(config(tmp_path / "model"), str(tmp_path / "checkpoints")).resume() == 0


def test_replicas_across_machines_get_no_weights_through_the_object_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They read the checkpoint's folder."""
    make_model(tmp_path / "model")
    monkeypatch.setattr(ray, "put", lambda x: x)
    for across, weights in ((1, True), (2, False)):
        settings = config(tmp_path / "model", backend="vllm", pipeline_parallel=across)
        actor = Actor(settings, str(tmp_path / "checkpoints"))
        actor.resume()
        (published,) = actor.publish()
        assert bool(published.weights) == weights
        assert (Path(published.folder) / "model.safetensors").is_file() and "config.json" in published.files
