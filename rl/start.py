"""The model that a run begins with (`model.start`, `serve.start`)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from prover.errors import UserError
from prover.files import MAX_SETTINGS_BYTES, read_file
from prover.models.manifest import SETTINGS, Manifest, find_checkpoint, read_manifest
from rl.config import RunConfig

_SIZES = {
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
}
"""Settings of the table [model] and their names in a checkpoint's `config.json`."""


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The configuration with absolute paths of models and templates. Actors of a cluster that was started elsewhere have another working
    directory."""

    def absolute(name: str) -> str:
        return str(Path(name).resolve()) if name and Path(name).exists() else name  # or the name of a model on a hub

    start, template = config.serve.start, config.serve.template
    template = absolute(template) if template.endswith(".toml") else template
    serve = replace(config.serve, start=absolute(start), template=template)
    return replace(config, serve=serve, model=replace(config.model, start=absolute(config.model.start)))


def start_of(config: RunConfig) -> Manifest | None:
    """The manifest of the checkpoint `model.start`; None if it is not set. Raises UserError if that is not a model from scratch, or if
    [model] has other sizes."""
    if not config.model.start:
        return None
    manifest = read_manifest(find_checkpoint(Path(config.model.start), "model.start"))
    if manifest.template:
        raise UserError(f"model.start={config.model.start}: is a pretrained model; set serve.start instead")
    for name, here in sizes_of(manifest.folder).items():
        if (asked := getattr(config.model, name)) != here:
            raise UserError(f"model.{name}={asked}: the model of model.start has {here}; set model.{name}={here}")
    return manifest


def sizes_of(checkpoint: Path) -> dict[str, int]:
    """The settings of [model] that a checkpoint's model has. Raises UserError if it is not a model that a run trained from scratch."""
    try:
        found = json.loads(read_file(checkpoint / "config.json", MAX_SETTINGS_BYTES))
        prompt = json.loads(read_file(checkpoint / SETTINGS, MAX_SETTINGS_BYTES))["prompt"]
        return {name: int(found[key]) for name, key in _SIZES.items()} | {"max_prompt": int(prompt["max_prompt"])}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{checkpoint}: is not a model that a run of Turnstile trained from scratch") from None
