"""What an evaluation tests: a baseline, or a checkpoint with what its run left beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.lean.theorem import Theorem
from prover.models.backends.serve import open_backend
from prover.models.manifest import find_checkpoint, read_manifest
from prover.solve.ledger import Ledger
from rl import config as config_module
from rl.config import ProverConfig, RunConfig

BASELINES = {
    "portfolio": "the fixed portfolio",
    "shuffled": "the explorer's search, its templates all alike",
    "explorer": "the explorer's search",
}
"""What learns nothing. The explorer's weights of templates were set by hand after training theorems, so that strictly the one before it
is the search that knows nothing."""


@dataclass(frozen=True)
class Candidate:
    """What is tested: one of `BASELINES`, or a checkpoint with the search settings of its run."""

    name: str
    """For people: `explorer`, or RUN/checkpoints/VERSION."""
    config: ProverConfig
    checkpoint: str = ""
    """Its folder; empty for a baseline."""
    weights: str = ""
    """Hash of the model's files."""
    ranker: str = ""
    """File with the learned ranker of tactics that stands beside the checkpoint."""
    retriever: str = ""
    """File with the learned retriever that stands beside the checkpoint."""
    template: str = ""
    """How a pretrained model is asked; empty for Turnstile's own prompts."""

    @property
    def kind(self) -> str:
        return "model" if self.checkpoint else self.name


def digest(files: Iterable[Path]) -> str:
    """Hash of what files hold, one after the other."""
    found = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                found.update(block)
    return found.hexdigest()[:12]


def _config_of(run: Path | None) -> RunConfig:
    """What a run was started with; the defaults where nothing says so."""
    return (
        config_module.load(run / "config.toml") if run is not None and (run / "config.toml").exists() else RunConfig()
    )


def candidate(searcher: str) -> Candidate:
    """One of `BASELINES`, a checkpoint's folder or a run's (its newest). Raises UserError."""
    if searcher in BASELINES:
        return Candidate(searcher, ProverConfig())
    path = find_checkpoint(Path(searcher), "eval:")
    weights = digest(sorted(path.glob("*.safetensors")))
    manifest = read_manifest(path)
    config = replace(_config_of(manifest.run).prover, use_value=manifest.value)
    name = "/".join(path.resolve().parts[-3:]) if manifest.run else path.name
    ranker, retriever = (str(f or "") for f in (manifest.ranker_file, manifest.retriever_file))
    return Candidate(name, config, str(path), weights, ranker, retriever, manifest.template)


def run_config(prover: Candidate) -> RunConfig:
    """The configuration of the run that the checkpoint comes from; the defaults for a baseline."""
    return _config_of(read_manifest(Path(prover.checkpoint)).run if prover.checkpoint else None)


def load(prover: Candidate) -> Any:
    """A checkpoint's model, served as its run served it; None for a baseline. Raises UserError for a folder that is no model."""
    if not prover.checkpoint:
        return None
    from transformers.utils import logging

    from prover.models.transformer import ModelFolderError

    logging.disable_progress_bar()
    try:
        return open_backend(prover.checkpoint, run_config(prover).serve, threads=1)
    except ModelFolderError as e:
        raise UserError(str(e)) from None


def trained_on(prover: Candidate, theorems: Sequence[Theorem]) -> int:
    """How many of the theorems the checkpoint's run made training attempts at: on those it measures memory too."""
    run = read_manifest(Path(prover.checkpoint)).run if prover.checkpoint else None
    if run is None:
        return 0
    ledger = Ledger.open(run, readonly=True)
    tried = {a.theorem.name for a in ledger.attempts() if a.phase.startswith("round")}
    ledger.close()
    return sum(t.name in tried for t in theorems)
