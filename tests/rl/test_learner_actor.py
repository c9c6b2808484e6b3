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
    settings: dict[str, Any] = {"start": str(folder), "template": "names", **serve}
    return RunConfig(learn=learn or LearnConfig(threads=1), serve=ServeConfig(**settings))


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


@pytest.mark.parametrize("computed", ["float32", "bfloat16"])
def test_the_reference_is_the_policy_before_training(tmp_path: Path, computed: Any) -> None:
    """In the dtype of the computation, whatever the folder's: else a policy that has not moved is away from its reference."""
    make_model(tmp_path / "model")
    stored = torch.bfloat16 if computed == "float32" else torch.float32
    LlamaForCausalLM.from_pretrained(tmp_path / "model", dtype=stored).save_pretrained(tmp_path / "model")
    learn = LearnConfig(algorithm="dpo", threads=1, dtype=computed)
    actor = Actor(config(tmp_path / "model", learn), str(tmp_path / "checkpoints"))
    actor.resume()
    reference = actor._reference_model(1)
    assert next(reference.parameters()).dtype == getattr(torch, computed)
    rows = [[((5, 6, 7), (8, 9, 10))]]
    own, other = (actor.learner.measure(rows, model)[0] for model in (None, reference))
    torch.testing.assert_close(own, other, atol=1e-6 if computed == "float32" else 2e-2, rtol=0)


def test_an_encoder_decoder_has_a_reference(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
    sizes |= {"vocab_size": 384, "decoder_start_token_id": 0}
    T5ForConditionalGeneration(T5Config(**sizes)).save_pretrained(tmp_path / "t5")
    ByT5Tokenizer(extra_ids=125).save_pretrained(tmp_path / "t5")
    learn = LearnConfig(algorithm="dpo", threads=1, max_epochs=1.0, value="none")
    actor = Actor(config(tmp_path / "t5", learn, template="reprover"), str(tmp_path / "checkpoints"))
    actor.resume()
    found = actor.learn([PreferencePair("⊢ 1 = 1", "rfl", "omega")], [], 60.0, 1)
    assert found["steps"] == 1 and found["loss"] == pytest.approx(0.6931, abs=1e-4), "log 2 before the policy moved"


@pytest.mark.parametrize(("template", "longest"), [("names", 2048), ("deepseek-prover-v2", 10240)])
def test_the_learner_reads_the_longest_answer(tmp_path: Path, template: str, longest: int) -> None:
    """Else a policy gradient would leave out the long attempts."""
    from rl.learner.algorithms import learner_settings

    settings = config(tmp_path / "model", template=template)
    assert learner_settings(settings).max_length == longest
    bounded = replace(settings, serve=replace(settings.serve, max_model_len=4096))
    assert learner_settings(bounded).max_length == 4096
