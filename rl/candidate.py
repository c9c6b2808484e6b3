"""The prover that an evaluation tests: a baseline, or a checkpoint with the small models of its run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curricula.settings import convert
from prover.errors import UserError
from prover.lean.theorem import Theorem
from prover.models.backends.serve import open_backend
from prover.models.manifest import find_checkpoint, read_manifest
from prover.solve.ledger import Ledger
from rl import config as config_module
from rl.config import ProverConfig, RunConfig
from rl.learned import Learned

BASELINES = {
    "portfolio": "the fixed portfolio",
    "shuffled": "the explorer with uniform template weights",
    "explorer": "the explorer's search",
}
"""Provers without training. The explorer's template weights were set by hand from training theorems, so only `shuffled` is an
uninformed search."""
MEASURED = {**{name: name for name in BASELINES}, "trained": "model"}
"""The provers that a run measures on held-out theorems, in the order of tables: label and policy."""


@dataclass(frozen=True)
class Candidate:
    """One of `BASELINES`, or a checkpoint with the search settings of its run."""

    name: str
    """Display name: a baseline, or RUN/checkpoints/VERSION."""
    config: ProverConfig
    checkpoint: str = ""
    """The checkpoint folder; empty for a baseline."""
    weights: str = ""
    """Hash of the model's files."""
    ranker: str = ""
    """File of the trained tactic ranker, or empty."""
    retriever: str = ""
    """File of the trained retriever, or empty."""
    assessor: str = ""
    """File of the trained assessor, or empty."""
    template: str = ""
    """Prompt template of a pretrained model; empty for Turnstile's own format."""

    def learned(self) -> Learned:
        """The ranker, retriever and assessor of its run."""
        return Learned.load(self.ranker, self.retriever, self.assessor)

    @property
    def kind(self) -> str:
        """The policy: `model`, or a baseline."""
        return "model" if self.checkpoint else self.name.split(" ")[0]  # changed settings may follow the name


def digest(files: Iterable[Path]) -> str:
    """Hash of the contents of files, in order."""
    found = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                found.update(block)
    return found.hexdigest()[:12]


def _config_of(run: Path | None) -> RunConfig:
    """The configuration of a run; the defaults if there is none."""
    return (
        config_module.load(run / "config.toml") if run is not None and (run / "config.toml").exists() else RunConfig()
    )


def candidate(searcher: str) -> Candidate:
    """The candidate for one of `BASELINES`, a checkpoint folder or a run folder (newest checkpoint). Raises UserError."""
    if searcher in BASELINES:
        return Candidate(searcher, ProverConfig())
    path = find_checkpoint(Path(searcher), "eval:")
    weights = digest(sorted(path.rglob("*.safetensors")))  # with a value head
    manifest = read_manifest(path)
    # Also of a checkpoint outside of its run, as in `turnstile prove`.
    settings = convert(dict(manifest.settings), ProverConfig, f"{path}: its search settings: ")
    config = replace(settings, use_value=manifest.value)
    name = "/".join(path.resolve().parts[-3:]) if manifest.run else path.name
    found = (manifest.ranker_file, manifest.retriever_file, manifest.assessor_file)
    ranker, retriever, assessor = (str(f or "") for f in found)
    return Candidate(name, config, str(path), weights, ranker, retriever, assessor, manifest.template)


def run_config(prover: Candidate) -> RunConfig:
    """The configuration of the checkpoint's run; the defaults for a baseline."""
    return _config_of(read_manifest(Path(prover.checkpoint)).run if prover.checkpoint else None)


def load(prover: Candidate) -> Any:
    """The checkpoint's model with the backend of its run; None for a baseline. Raises UserError for an invalid model folder."""
    if not prover.checkpoint:
        return None
    from prover.models.transformer import ModelFolderError

    try:
        return open_backend(prover.checkpoint, run_config(prover).serve, threads=1)
    except ModelFolderError as e:
        raise UserError(str(e)) from None


def trained_on(prover: Candidate, theorems: Sequence[Theorem]) -> int:
    """Number of these theorems that the checkpoint's run trained on. Results on them also measure memorisation."""
    run = read_manifest(Path(prover.checkpoint)).run if prover.checkpoint else None
    if run is None:
        return 0
    with Ledger.open(run, readonly=True) as ledger:
        tried = {a.theorem.name for a in ledger.attempts() if a.phase.startswith("round")}
    return sum(t.name in tried for t in theorems)
