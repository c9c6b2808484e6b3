"""An evaluation as users ask for it: a prover and a theorem set by name, and the run whose ledger stores the results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from curricula.sets import load_set, open_set
from prover.concurrency import each
from prover.console import say
from prover.errors import UserError
from prover.lean.audit import Auditor
from prover.lean.pool import LeanPool
from prover.lean.runtime import find_runtime
from prover.lean.server import LeanDied, LeanError, Limits
from prover.lean.theorem import Theorem, Verdict
from prover.models.fresh_names import FreshNamesPolicy
from prover.models.inference_client import InferenceClient, LocalModel
from prover.models.manifest import read_manifest
from prover.models.tactic_templates import Explorer
from prover.premises.index import LibraryIndex, library_index
from prover.premises.retrieve import PremiseSource
from prover.solve.executor import audited
from prover.solve.job import Found
from prover.solve.ledger import Attempt, Ledger
from prover.solve.ray_start import check_cluster
from rl import candidate as c
from rl import config as config_module
from rl import evaluation_results as e
from rl.actors.dispatch import Finished, attempt_of
from rl.actors.fleet import Fleet
from rl.attempt import Task, Workbench, collect, premise_source
from rl.config import ProverConfig
from rl.curriculum import whole_proofs
from rl.learned import Learned

MAX_TRIES = 2
"""Attempts at a theorem before an error is accepted as its result."""
CONCURRENT = 8
"""Concurrent attempts without Ray."""
ROLLOUT_TACTICS = 32
"""Maximum length of a rollout, the same for every prover."""

FRESH = "fresh names"
"""The wrapper of tests that show a checkpoint made-up names. The explorer and the portfolio are not wrapped."""
_WITHOUT_EFFECT = {
    "explorer_weight": "set prover.eval_explorer_weight",
    "heartbeats": "the limits of a step belong to the test, which is the same for every prover; remove it",
    "step_seconds": "the limits of a step belong to the test, which is the same for every prover; remove it",
    "provers": "use --processes",
}
"""Settings of the table `prover` that an evaluation does not use, and what to do instead."""
_OF_A_MODEL = ("assess", "eval_explorer_weight", "suggestions", "use_ranker", "use_value")
"""Settings that baselines do not use."""
Work = Sequence[tuple[int, Sequence[Task]]]
"""The tasks of each seed."""


@dataclass(frozen=True)
class Evaluation:
    """A prover, a test, and the ledger that stores the attempts."""

    candidate: c.Candidate
    test: e.Test
    theorems: Sequence[Theorem]
    ledger: Ledger
    seeds: Sequence[int]
    processes: int = 2
    ray: str | None = None
    """Address of the cluster that does the work; `local` starts one here."""
    loaded: Any = None
    """The model; None for a baseline, and on Ray."""

    @classmethod
    def prepare(cls, options: e.EvalOptions) -> Evaluation:
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
        if fresh and (used := {"premises", "goals"} & {*candidate.config.assess}):
            # The assessor reads true names there, so it would remember the library.
            raise UserError(
                f"--fresh-names (which the set library-new implies) does not work with prover.assess={sorted(used)}; add --set prover.assess=[]"
            )
        loaded = c.load(candidate) if ray is None else None
        standard = ProverConfig()
        limits = Limits(heartbeats=standard.heartbeats, seconds=standard.step_seconds)
        wrapper, lean = FRESH * fresh, find_runtime().name
        test = e.make_test(described.name, chosen, options.budget, limits, lean, wrapper, rollouts)
        folder = (
            options.run or (candidate.checkpoint and read_manifest(Path(candidate.checkpoint)).run) or Path("runs/eval")
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: {error.strerror}: name a run folder with --run") from None
        ledger, seeds = Ledger(folder / "ledger.sqlite"), range(options.seeds)
        return cls(candidate, test, chosen, ledger, seeds, options.processes, ray, loaded)

    def earlier(self) -> list[Attempt]:
        """The attempts of this test that the ledger already has."""
        phases = {self._phase(seed) for seed in self.seeds}
        return [a for a in self.ledger.attempts() if a.phase in phases]

    def run(self, progress: Callable[[Attempt], None] = lambda attempt: None) -> dict[str, Any]:
        """Make the attempts that the ledger lacks. `progress` is called with each one after it is recorded. Returns the figures of
        `rl.evaluation_results.summary`. Equal seeds do not repeat exactly, because searches share a model in no fixed order. Raises UserError if
        the cluster cannot be joined."""

        def record(attempt: Attempt) -> None:
            self.ledger.record(attempt)
            progress(attempt)

        self.ledger.set(
            f"eval {e.key_of(self.test, self.candidate)}", {"test": asdict(self.test), "prover": asdict(self.candidate)}
        )
        if work := [(seed, tasks) for seed in self.seeds if (tasks := self._tasks(seed))]:
            self._on_ray(work, record) if self.ray is not None else asyncio.run(
                self._here(work, record, library_index())
            )
        return e.summary(self.ledger, self.test, self.candidate, self.seeds)

    def _phase(self, seed: int) -> str:
        return e.phase_of(self.test, self.candidate, seed)

    def _tasks(self, seed: int) -> list[Task]:
        """The tasks of a seed that the ledger lacks."""
        prover, test = self.candidate, self.test
        done = self.ledger.done(self._phase(seed))
        # Sorted by imports, so that each Lean process loads few environments.
        todo = sorted((t for t in self.theorems if t.name not in done), key=lambda t: t.imports)
        sampling: dict[str, Any] = {}
        if test.rollouts:
            turns = whole_proofs(c.run_config(prover))
            sampling = {"rollouts": test.rollouts, "max_tactics": ROLLOUT_TACTICS, "turns": turns, "draw": seed}
        return [Task(t, prover.kind, test.lean_calls, prover.config.eval_explorer_weight, **sampling) for t in todo]

    async def _here(self, work: Work, record: Callable[[Attempt], None], index: LibraryIndex) -> None:
        limits = Limits(heartbeats=self.test.heartbeats, seconds=self.test.step_seconds)
        learned = self.candidate.learned()
        source = premise_source(index, self.candidate.config, learned.retriever)
        async with LeanPool(self.processes, limits=limits, constants=True, terse=True) as pool, Auditor() as auditor:

            async def one(task: Task, seed: int, bench: Workbench) -> None:
                finished = await _audited_attempt(task, bench, auditor)
                record(attempt_of(self._phase(seed), finished, pool.runtime.name))

            for seed, tasks in work:
                bench, value = self._workbench(pool, source, index, seed, learned)
                tasks = [replace(task, value=value) for task in tasks]
                await each(tasks, partial(one, seed=seed, bench=bench), CONCURRENT)

    def _workbench(
        self, pool: LeanPool, source: PremiseSource, index: LibraryIndex, seed: int, learned: Learned
    ) -> tuple[Workbench, bool]:
        """(the workbench of a seed, whether to search with a value)."""
        config = self.candidate.config
        model, value, obfuscator = None, False, None
        if (policy := self.loaded) is not None:
            if hasattr(policy, "reseed"):  # backends with a random state of their own
                policy.reseed(seed)
            shown = policy
            if self.test.wrapper == FRESH:
                # Templates of pretrained models show premises by name only.
                types = hasattr(policy, "prompter") and policy.prompter.config.show_types
                shown = FreshNamesPolicy(policy, types=types)
                obfuscator = shown.obfuscator
                source = source.renamed(obfuscator.translation.name)
            model = InferenceClient(LocalModel(shown, shown, version=policy.version), config.suggestions)
            value = config.use_value and hasattr(shown, "evaluate") and getattr(policy, "has_value", True)
        explorer = Explorer(index, seed, config.premises, actions=config.actions)
        trained = learned.explorer(index, seed, config, obfuscator)
        # The assessor reads true names, so it would remember the library.
        assessor = learned.assessor if obfuscator is None else None
        return Workbench(pool, source, config, seed, explorer, trained, model, assessor=assessor), value

    def _on_ray(self, work: Work, record: Callable[[Attempt], None]) -> None:
        """Run provers, model and audit as Ray actors. Every machine must be able to read the checkpoint."""
        prover, test = self.candidate, self.test
        limits = {"heartbeats": test.heartbeats, "step_seconds": test.step_seconds}
        config = replace(c.run_config(prover), prover=replace(prover.config, provers=self.processes, **limits))
        config = replace(config, ray=replace(config.ray, address="" if self.ray == "local" else self.ray or ""))
        for seed, tasks in work:
            fleet = Fleet(replace(config, seed=seed), self.ledger.path.parent, say, learns=False)
            fleet.models = prover.learned()
            try:
                fleet.start()
                if prover.checkpoint:
                    fleet.serve(Path(prover.checkpoint))
                for finished in fleet.run([replace(task, value=prover.config.use_value) for task in tasks]):
                    record(attempt_of(self._phase(seed), finished, test.lean))
            finally:
                fleet.close()


async def _audited_attempt(task: Task, bench: Workbench, auditor: Auditor) -> Finished:
    """Attempt a theorem and audit its proof. Retries after an error, unless the theorem itself cannot be opened."""
    found = Found("error", reason="not attempted")
    for _ in range(MAX_TRIES):
        found = await collect(task, bench)
        if found.outcome != "error" or found.reason.startswith("open"):
            break
    verdicts: dict[str, Verdict] = {}
    if found.script:
        try:
            verdicts[found.script] = await audited(auditor, task.theorem, found.script)
        except (LeanError, LeanDied) as error:
            verdicts[found.script] = Verdict(task.theorem.name, "error", f"audit: {error}")
    return Finished(task, found, verdicts)


def with_settings(candidate: c.Candidate, settings: tuple[str, ...]) -> c.Candidate:
    """The candidate with these settings of the table `prover`, which its name lists. Raises UserError for other tables."""
    if not settings:
        return candidate
    if other := next((s for s in settings if not s.startswith("prover.")), None):
        raise UserError(f"--set {other}: an evaluation takes the settings of the table `prover` only")
    config = config_module.check(config_module.override(config_module.RunConfig(prover=candidate.config), settings))
    changed = replace(candidate, config=config.prover, name=" ".join([candidate.name, *settings]))
    for setting in settings:
        if reason := _without_effect(setting.partition("=")[0].strip().removeprefix("prover."), candidate, changed):
            raise UserError(f"--set {setting}: {reason}")
    return changed


def _without_effect(name: str, candidate: c.Candidate, changed: c.Candidate) -> str:
    """The reason why a setting changes nothing but the prover's name, and what to do; empty if it has an effect."""
    if name in _WITHOUT_EFFECT:
        return f"an evaluation does not use it; {_WITHOUT_EFFECT[name]}"
    if name in _OF_A_MODEL and not candidate.checkpoint:
        return f"{candidate.name} has no model; name the folder of a run or checkpoint"
    if name == "use_ranker" and not candidate.ranker:
        return f"{candidate.name} has no ranker; remove it"
    if name != "assess":
        return ""
    uses = {*changed.config.assess}
    if uses and not candidate.assessor:
        return f"{candidate.name} has no assessor; train one with learn.assessor_seconds, or remove it"
    if "batches" in uses:
        return "an evaluation makes no batches; remove batches"
    if "goals" in uses and changed.config.use_value:
        return "goals are assessed only in searches without the model's value; add prover.use_value=false"
    return ""
