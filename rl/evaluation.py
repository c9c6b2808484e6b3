"""An evaluation as users ask for it: a prover and a theorem set by name, and the run whose ledger stores the results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from curricula.sets import load_set, open_set
from prover.console import say
from prover.errors import UserError
from prover.lean.runtime import find_runtime
from prover.lean.server import Limits
from prover.lean.theorem import Theorem
from prover.models.fresh_names import FreshNamesPolicy
from prover.models.manifest import read_manifest
from prover.premises.index import library_index
from prover.solve.ledger import Attempt, Ledger
from prover.solve.ray_start import check_cluster
from rl import candidate as c
from rl import config as config_module
from rl import evaluate as e
from rl.config import ProverConfig
from rl.eval_options import EvalOptions


@dataclass(frozen=True)
class Evaluation:
    """A prover, a test, and the ledger that stores the attempts."""

    candidate: c.Candidate
    test: e.Test
    theorems: Sequence[Theorem]
    ledger: Ledger
    seeds: Sequence[int]
    processes: int
    ray: str | None
    loaded: Any
    """The model; None for a baseline, and on Ray."""
    wrap: e.Wrap | None

    @classmethod
    def prepare(cls, options: EvalOptions) -> Evaluation:
        """Open the theorems, the model and the ledger. Raises UserError for invalid options."""
        options.check()
        prover, rollouts, ray = options.prover, options.rollouts, options.ray
        candidate = with_settings(c.candidate(prover), options.set)
        if rollouts < 0:
            raise UserError(f"--rollouts {rollouts}: must be the number of proofs to sample of each theorem")
        if rollouts and not candidate.checkpoint:
            raise UserError(f"--rollouts samples from a model: name a checkpoint or a run instead of {prover}")
        if rollouts:  # the fleet samples, as in training
            ray = ray or "local"
        if ray is not None:
            check_cluster(ray, "--ray")
        described = load_set(options.theorems, options.fields)
        chosen = open_set(described)[: options.limit]
        fresh = options.fresh_names or described.fresh_names
        if fresh and ray is not None:
            raise UserError("--fresh-names (which the set library-new implies) does not work with --ray")
        loaded = c.load(candidate) if ray is None else None
        wrap = _fresh_names(loaded) if fresh else None
        standard = ProverConfig()
        limits = Limits(heartbeats=standard.heartbeats, seconds=standard.step_seconds)
        wrapper = "fresh names" if wrap else ""
        test = e.make_test(described.name, chosen, options.budget, limits, find_runtime().name, wrapper, rollouts)
        folder = (
            options.run or (candidate.checkpoint and read_manifest(Path(candidate.checkpoint)).run) or Path("runs/eval")
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: {error.strerror}: name a run folder with --run") from None
        ledger, seeds = Ledger(folder / "ledger.sqlite"), range(options.seeds)
        return cls(candidate, test, chosen, ledger, seeds, options.processes, ray, loaded, wrap)

    def earlier(self) -> list[Attempt]:
        """The attempts of this test that the ledger already has."""
        phases = {e.phase_of(self.test, self.candidate, seed) for seed in self.seeds}
        return [a for a in self.ledger.attempts() if a.phase in phases]

    def run(self, progress: Callable[[Attempt], None] = lambda attempt: None) -> dict[str, Any]:
        """Make the remaining attempts. Returns the figures of `rl.evaluate.summary`."""
        where = (self.candidate, self.test, self.theorems, self.ledger, self.seeds)
        more: dict[str, Any] = {"processes": self.processes, "progress": progress}
        if self.ray is not None:
            return e.evaluate_on_ray(*where, self.ray, say=say, **more)
        candidate, test, theorems, ledger, seeds = where
        index = library_index()
        return asyncio.run(
            e.evaluate(candidate, self.loaded, test, theorems, index, ledger, seeds, wrap=self.wrap, **more)
        )


def with_settings(candidate: c.Candidate, settings: tuple[str, ...]) -> c.Candidate:
    """The candidate with these settings of `prover`, named by them. Raises UserError for others."""
    if not settings:
        return candidate
    if other := next((s for s in settings if not s.startswith("prover.")), None):
        raise UserError(f"--set {other}: an evaluation takes the settings of the table `prover` only")
    config = config_module.check(config_module.override(config_module.RunConfig(prover=candidate.config), settings))
    return replace(candidate, config=config.prover, name=" ".join([candidate.name, *settings]))


def _fresh_names(model: Any) -> e.Wrap:
    # Templates of pretrained models show premises by name only.
    return partial(FreshNamesPolicy, types=hasattr(model, "prompter") and model.prompter.config.show_types)
