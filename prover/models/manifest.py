"""The manifest of a checkpoint: the settings with which its run used the model.

A checkpoint is a Hugging Face folder `RUN/checkpoints/VERSION/`. Its `turnstile.json` holds the version, the prompt format and, under
`prover`, the run's search settings. Older checkpoints lack `prover`: the settings then come from the run's `config.toml`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.files import MAX_SETTINGS_BYTES, holds_model, read_file
from prover.models.elementary import Actions

SETTINGS = "turnstile.json"
VALUE_HEAD = "value/head.safetensors"
"""Weights of a pretrained model's value, in the checkpoint folder."""
LEDGER = "ledger.sqlite"


@dataclass(frozen=True)
class Manifest:
    """The settings and files of a checkpoint's folder."""

    folder: Path
    version: int = 0
    template: str = ""
    """Prompt template of a pretrained model; empty for Turnstile's own format."""
    value: bool = True
    """Whether the model has a value and searches use it."""
    rule: str = "puct"
    """Selection rule of its searches."""
    temperature: float | None = None
    """Temperature of the priors in its searches; None if unknown."""
    root_breadth: float | None = None
    """Breadth of its searches at the root; None if unknown."""
    retriever: str = ""
    """Name of the retriever that its searches used; empty if unknown."""
    premises: int = 8
    """Premises offered for each goal, and those that its template policy uses one by one."""
    suggestions: int = 16
    """Tactics requested from the model at each expansion."""
    explorer_weight: float | None = None
    """Weight of the template policy in its mixture with the model, outside of training; None if unknown."""
    actions: Actions = "full"
    """The moves of its template policy."""
    strict: bool = False
    """Whether all moves outside `actions` are refused before they reach Lean."""
    ranker_file: Path | None = None
    """Weights of the tactic ranker that was learned with it."""
    retriever_file: Path | None = None
    """Weights of the retriever that was learned with it."""
    assess: tuple[str, ...] = ()
    """Uses of the assessor."""
    assessor_file: Path | None = None
    """Weights of the assessor that was learned with it."""
    run: Path | None = None
    """The run's folder, if the checkpoint lies in one."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """All search settings of its run, as they are stored; empty if unknown."""


def find_checkpoint(folder: Path, option: str = "--policy") -> Path:
    """The model folder that a path stands for: itself, or the newest checkpoint of a run (the highest version).

    `option`: names the path in errors. Raises UserError.
    """
    if holds_model(folder):
        return folder
    found = [p for p in (folder / "checkpoints").glob("[0-9]*") if holds_model(p)]
    found = found or [p for some in ("checkpoints/*/*", "*") for p in folder.glob(some) if holds_model(p)]
    if not found:
        raise UserError(f"{option} {folder}: no checkpoint in it (looked for model.safetensors)")
    return max(found, key=lambda p: (int(p.name) if p.name.isdecimal() else -1, p.name))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint's folder. Raises UserError if it cannot be read."""
    path = folder / SETTINGS
    try:
        said: dict[str, Any] = json.loads(read_file(path, MAX_SETTINGS_BYTES)) if path.is_file() else {}
        template, version = said.get("template", ""), int(said.get("version", 0))
    except (ValueError, TypeError, AttributeError, RecursionError) as e:
        raise UserError(f"{path}: cannot be read as a model's settings: {e}") from None
    above = folder.resolve().parent.parent
    configuration = run_configuration(above)
    serve, prover = configuration.get("serve", {}), said.get("prover") or configuration.get("prover", {})
    template = serve.get("template") or template
    value = prover.get("use_value", True) and configuration.get("learn", {}).get("value") != "none"
    # A template has no value tokens: such a model has a value only in a head.
    has_value = not template or (folder / VALUE_HEAD).is_file()
    return Manifest(
        folder,
        version,
        template,
        value and has_value,
        prover.get("rule", "puct"),
        _number(folder, prover, "temperature"),
        _number(folder, prover, "root_breadth"),
        prover.get("retriever", ""),
        int(_number(folder, {"premises": Manifest.premises, **prover}, "premises", zero=True) or 0),
        int(_number(folder, prover, "suggestions") or Manifest.suggestions),
        _number(folder, prover, "eval_explorer_weight", zero=True),
        prover.get("actions", "full"),
        prover.get("strict", False),
        _learned(folder, "rankers"),
        _learned(folder, "retrievers"),
        tuple(assess) if isinstance(assess := prover.get("assess"), list) else (),
        _learned(folder, "assessors"),
        above if (above / LEDGER).exists() else None,
        prover,
    )


def _number(folder: Path, prover: Mapping[str, Any], name: str, zero: bool = False) -> float | None:
    """A number among the search settings, or None. Raises UserError if it is negative, or 0 unless `zero`."""
    value = prover.get(name)
    if value is not None and not (isinstance(value, float | int) and (value > 0 or (zero and value == 0))):
        raise UserError(
            f"{folder}: its setting {name}={value!r} is not a {'number of at least 0' if zero else 'positive number'}"
        )
    return value


def search_settings(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The entry `prover` of a new checkpoint's `turnstile.json`, from the run's whole configuration."""
    settings = dict(configuration["prover"])
    settings["use_value"] = settings["use_value"] and configuration["learn"]["value"] != "none"
    return settings


def run_configuration(run: Path) -> dict[str, Any]:
    """A run's `config.toml`; empty if there is none. Raises UserError if it is not TOML."""
    file = run / "config.toml"
    if not file.is_file():
        return {}
    try:
        return tomllib.loads(read_file(file, MAX_SETTINGS_BYTES).decode())
    except (ValueError, RecursionError) as e:
        raise UserError(f"{file}: not TOML: {e}") from None


def _learned(checkpoint: Path, kind: str) -> Path | None:
    """RUN/`kind`/VERSION.npz, which was learned along with RUN/checkpoints/VERSION, if there is one."""
    path = checkpoint.resolve().parent.parent / kind / f"{checkpoint.name}.npz"
    return path if path.exists() else None
