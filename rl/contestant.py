"""What an evaluation tests: a baseline, or a checkpoint with what its run left beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.files import learned_beside
from prover.lean.theorem import Theorem
from rl import config as config_module
from rl.config import ProverConfig, RunConfig
from rl.ledger import Ledger

BASELINES = {
    "portfolio": "the fixed portfolio",
    "shuffled": "the explorer's search, its templates all alike",
    "explorer": "the explorer's search",
}
"""What learns nothing. The explorer's weights of templates were set by hand after training theorems, so that strictly the one before it
is the search that knows nothing."""


@dataclass(frozen=True)
class Contestant:
    """What is tested: one of `BASELINES`, or a checkpoint with the search settings of its run."""

    name: str
    """For people: `explorer`, or RUN/checkpoints/VERSION."""
    config: ProverConfig
    checkpoint: str = ""
    """Its folder; empty for a baseline."""
    weights: str = ""
    """Hash of the model's file."""
    ranker: str = ""
    """File with the learned ranker of tactics that stands beside the checkpoint."""
    retriever: str = ""
    """File with the learned retriever that stands beside the checkpoint."""

    @property
    def kind(self) -> str:
        return "model" if self.checkpoint else self.name


def find_checkpoint(path: Path) -> Path:
    """A checkpoint's folder, from itself or from a run's (its newest). Raises UserError."""
    if (path / "model.safetensors").exists():
        return path
    folders = sorted(p for p in (path / "checkpoints").glob("[0-9]*") if (p / "model.safetensors").exists())
    if not folders:
        raise UserError(f"{path}: neither a checkpoint (model.safetensors) nor a run with checkpoints/")
    return folders[-1]


def run_of(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint lies in, if it does."""
    folder = checkpoint.resolve().parent.parent
    return folder if (folder / "ledger.sqlite").exists() else None


def contestant(searcher: str) -> Contestant:
    """One of `BASELINES`, a checkpoint's folder or a run's (its newest). Raises UserError."""
    if searcher in BASELINES:
        return Contestant(searcher, ProverConfig())
    path = find_checkpoint(Path(searcher))
    with (path / "model.safetensors").open("rb") as file:
        weights = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    run = run_of(path)
    if run is None:
        return Contestant(path.name, ProverConfig(), str(path), weights)
    whole = config_module.load(run / "config.toml") if (run / "config.toml").exists() else RunConfig()
    # A pretrained model's run learns no value.
    use_value = whole.prover.use_value and whole.learn.value != "none" and not whole.serve.start
    config = replace(whole.prover, use_value=use_value)
    name = "/".join(path.resolve().parts[-3:])
    ranker, retriever = (str(learned_beside(path, kind) or "") for kind in ("rankers", "retrievers"))
    return Contestant(name, config, str(path), weights, ranker, retriever)


def load(prover: Contestant) -> Any:
    """A checkpoint's model, served as its run served it; None for a baseline. Raises UserError for a folder that is no model."""
    if not prover.checkpoint:
        return None
    from transformers.utils import logging

    from prover.models.backend import ServeConfig, open_backend
    from prover.models.transformer import ModelFolderError

    logging.disable_progress_bar()
    run = run_of(Path(prover.checkpoint))
    saved = run is not None and (run / "config.toml").exists()
    serve = config_module.load(run / "config.toml").serve if run is not None and saved else ServeConfig()
    try:
        return open_backend(prover.checkpoint, serve, threads=1)
    except ModelFolderError as e:
        raise UserError(str(e)) from None


def trained_on(prover: Contestant, theorems: Sequence[Theorem]) -> int:
    """How many of the theorems the checkpoint's run made training attempts at: on those it measures memory too."""
    run = run_of(Path(prover.checkpoint)) if prover.checkpoint else None
    if run is None:
        return 0
    ledger = Ledger.open(run, readonly=True)
    tried = {a.theorem.name for a in ledger.attempts() if a.phase.startswith("round")}
    ledger.close()
    return sum(t.name in tried for t in theorems)
