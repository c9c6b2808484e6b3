"""What an evaluation tests: a baseline, or a checkpoint with what its run left beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.files import holds_model, learned_beside
from prover.lean.theorem import Theorem
from prover.models.backends.serve import open_backend, template_of
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
class Contestant:
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


def find_checkpoint(path: Path) -> Path:
    """A checkpoint's folder, from itself or from a run's (its newest). Raises UserError."""
    if holds_model(path):
        return path
    folders = sorted(p for p in (path / "checkpoints").glob("[0-9]*") if holds_model(p))
    if not folders:
        raise UserError(f"{path}: neither a checkpoint (model.safetensors) nor a run with checkpoints/")
    return folders[-1]


def digest(files: Iterable[Path]) -> str:
    """Hash of what files hold, one after the other."""
    found = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                found.update(block)
    return found.hexdigest()[:12]


def run_of(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint lies in, if it does."""
    folder = checkpoint.resolve().parent.parent
    return folder if (folder / "ledger.sqlite").exists() else None


def _config_of(run: Path | None) -> RunConfig:
    """What a run was started with; the defaults where nothing says so."""
    return (
        config_module.load(run / "config.toml") if run is not None and (run / "config.toml").exists() else RunConfig()
    )


def contestant(searcher: str) -> Contestant:
    """One of `BASELINES`, a checkpoint's folder or a run's (its newest). Raises UserError."""
    if searcher in BASELINES:
        return Contestant(searcher, ProverConfig())
    path = find_checkpoint(Path(searcher))
    weights = digest(sorted(path.glob("*.safetensors")))
    try:
        named = template_of(path)
    except (ValueError, AttributeError) as e:
        raise UserError(f"{path}: turnstile.json cannot be read as a model's settings: {e}") from None
    run = run_of(path)
    whole = _config_of(run)
    template = whole.serve.template or named
    # A pretrained model's run learns no value.
    use_value = whole.prover.use_value and whole.learn.value != "none" and not whole.serve.start and not template
    config = replace(whole.prover, use_value=use_value)
    if run is None:
        return Contestant(path.name, config, str(path), weights, template=template)
    name = "/".join(path.resolve().parts[-3:])
    ranker, retriever = (str(learned_beside(path, kind) or "") for kind in ("rankers", "retrievers"))
    return Contestant(name, config, str(path), weights, ranker, retriever, template)


def load(prover: Contestant) -> Any:
    """A checkpoint's model, served as its run served it; None for a baseline. Raises UserError for a folder that is no model."""
    if not prover.checkpoint:
        return None
    from transformers.utils import logging

    from prover.models.transformer import ModelFolderError

    logging.disable_progress_bar()
    try:
        return open_backend(prover.checkpoint, _config_of(run_of(Path(prover.checkpoint))).serve, threads=1)
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
