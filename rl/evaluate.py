"""Evaluates a prover on a theorem set over seeds. Every attempt is audited and recorded in a ledger.

Results are comparable if their tests are equal: theorems, Lean calls, limits, Lean, policy wrapper. The prover (weights, search
settings, explorer share) may differ.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.lean.audit import Auditor
from prover.lean.pool import LeanPool
from prover.lean.server import LeanDied, LeanError, Limits
from prover.lean.theorem import Theorem, Verdict
from prover.models.fresh_names import FreshNamesPolicy
from prover.models.inference_client import InferenceClient, LocalModel
from prover.models.tactic_templates import Explorer
from prover.premises.index import LibraryIndex
from prover.premises.retrieve import PremiseSource
from prover.search import SearchConfig
from prover.solve.executor import audited
from prover.solve.job import Found
from prover.solve.ledger import Attempt, Ledger
from rl.actors.dispatch import Finished, attempt_of
from rl.actors.fleet import Fleet
from rl.attempt import Task, Workbench, collect, premise_source
from rl.candidate import Candidate, digest, run_config
from rl.config import ProverConfig
from rl.curriculum import whole_proofs
from rl.learned import Learned
from rl.metrics import curves
from rl.metrics.intervals import wilson_over_seeds

CHANCES = 2
"""Attempts at a theorem before an error is accepted as its result."""
ROLLOUT_TACTICS = 32
"""Maximum length of a rollout, the same for every prover."""

Wrap = Callable[[Any], Any]
"""Wraps a checkpoint's policy to transform queries and answers, e.g. with fresh names. The value is used only if the wrapper has
`evaluate`. The explorer and the portfolio are not wrapped."""


@dataclass(frozen=True)
class Test:
    """Conditions of an evaluation. Results of equal tests are comparable."""

    __test__ = False  # tells pytest that this is not a test class

    set: str
    theorems: str
    """Hash of the theorems, independent of their order."""
    count: int
    lean_calls: int
    heartbeats: int
    step_seconds: float
    lean: str
    wrapper: str = ""
    rollouts: int = 0
    """Samples of each theorem without search, for pass@k. 0: one search of `lean_calls`."""


def make_test(
    label: str,
    theorems: Sequence[Theorem],
    lean_calls: int,
    limits: Limits,
    lean: str,
    wrapper: str = "",
    rollouts: int = 0,
) -> Test:
    """The test on these theorems. Raises UserError for an empty set, repeated names or no Lean calls."""
    if not theorems:
        raise UserError(f"{label}: no theorems to evaluate; choose another set")
    if lean_calls < 1:
        raise UserError("--budget must be at least 1 Lean call per theorem")
    rows = sorted(repr((t.name, t.statement, t.library, t.imports, t.context, *t.before)) for t in theorems)
    if len({t.name for t in theorems}) < len(theorems):
        raise UserError(f"{label}: two theorems have the same name; rename one, because results are stored by name")
    seconds = float(limits.seconds)
    return Test(label, _hash(rows), len(theorems), lean_calls, limits.heartbeats, seconds, lean, wrapper, rollouts)


def _hash(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, ensure_ascii=False, sort_keys=True).encode()).hexdigest()[:12]


def key_of(test: Test, prover: Candidate) -> str:
    """Hash of everything a result depends on except the seed. Independent of file locations."""
    settings = asdict(prover)
    del settings["name"], settings["checkpoint"]
    if not prover.config.assess:
        settings["assessor"] = ""
    for kind in ("ranker", "retriever", "assessor", "template"):  # a template is a name or a file
        if Path(settings[kind]).is_file():
            settings[kind] = digest([Path(settings[kind])])
    for kind in ("assessor", "template"):
        if not settings[kind]:
            del settings[kind]  # keeps the keys of results from before this field existed
    search = settings["config"]
    standard = asdict(ProverConfig())
    # Keeps the keys of earlier results.
    for field in ("actions", "strict", "rule", "temperature", "root_breadth", "assess"):
        if search[field] == standard[field]:
            del search[field]
    # Settings without effect on results, or set by the test.
    for field in ("provers", "concurrent", "heartbeats", "step_seconds", "explorer_weight"):
        search.pop(field, None)
    conditions = asdict(test)
    if not test.rollouts:
        del conditions["rollouts"]  # keeps the keys of results from before this field existed
    return _hash([conditions, prover.kind, settings, asdict(SearchConfig())])


def phase_of(test: Test, prover: Candidate, seed: int) -> str:
    """The phase in the ledger. Its last word is the key."""
    spent = f"{test.rollouts} rollouts" if test.rollouts else f"{test.lean_calls} calls"
    return f"eval {test.set}, {prover.kind}, {spent}, seed {seed}, {key_of(test, prover)}"


async def evaluate(
    prover: Candidate,
    loaded: Any,
    test: Test,
    theorems: Sequence[Theorem],
    index: LibraryIndex,
    ledger: Ledger,
    seeds: Sequence[int],
    *,
    wrap: Wrap | None = None,
    processes: int = 2,
    concurrent: int = 8,
    progress: Callable[[Attempt], None] = lambda attempt: None,
) -> dict[str, Any]:
    """Attempt every theorem with every seed and record it. Skips attempts that the ledger contains.

    Returns the figures of `summary`. `loaded`: the model from `load`. `progress` is called with each recorded attempt. Searches
    share a model in no fixed order, so equal seeds do not repeat exactly.
    """
    if not (work := list(_remaining(prover, test, theorems, ledger, seeds))):
        return summary(ledger, test, prover, seeds)
    limits = Limits(heartbeats=test.heartbeats, seconds=test.step_seconds)
    learned = Learned.load(prover.ranker, prover.retriever, prover.assessor)
    source = premise_source(index, prover.config, learned.retriever)
    async with LeanPool(processes, limits=limits, constants=True, terse=True) as pool, Auditor() as auditor:
        for seed, tasks in work:
            bench, value = _workbench(prover, loaded, pool, source, index, seed, wrap, learned)
            tasks = [replace(task, value=value) for task in tasks]
            await _attempt_all(tasks, phase_of(test, prover, seed), bench, auditor, ledger, concurrent, progress)
    return summary(ledger, test, prover, seeds)


def evaluate_on_ray(
    prover: Candidate,
    test: Test,
    theorems: Sequence[Theorem],
    ledger: Ledger,
    seeds: Sequence[int],
    address: str,
    *,
    processes: int = 2,
    progress: Callable[[Attempt], None] = lambda attempt: None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """As `evaluate`, with the provers, the model and the audit as Ray actors.

    `address`: of the cluster; `local` starts one here. Every machine must be able to read the checkpoint. Raises UserError if
    the cluster cannot be joined.
    """
    limits = {"heartbeats": test.heartbeats, "step_seconds": test.step_seconds}
    config = replace(run_config(prover), prover=replace(prover.config, provers=processes, **limits))
    config = replace(config, ray=replace(config.ray, address="" if address == "local" else address))
    for seed, tasks in _remaining(prover, test, theorems, ledger, seeds):
        fleet = Fleet(replace(config, seed=seed), ledger.path.parent, say, learns=False)
        fleet.models = Learned.load(prover.ranker, prover.retriever, prover.assessor)
        try:
            fleet.start()
            if prover.checkpoint:
                fleet.serve(Path(prover.checkpoint))
            for finished in fleet.run([replace(task, value=prover.config.use_value) for task in tasks]):
                attempt = attempt_of(phase_of(test, prover, seed), finished, test.lean)
                ledger.record(attempt)
                progress(attempt)
        finally:
            fleet.close()
    return summary(ledger, test, prover, seeds)


def _remaining(
    prover: Candidate, test: Test, theorems: Sequence[Theorem], ledger: Ledger, seeds: Sequence[int]
) -> Iterator[tuple[int, list[Task]]]:
    """The tasks of each seed that the ledger lacks."""
    ledger.set(f"eval {key_of(test, prover)}", {"test": asdict(test), "prover": asdict(prover)})
    weight = prover.config.eval_explorer_weight
    for seed in seeds:
        done = ledger.done(phase_of(test, prover, seed))
        # Sorted by imports, so that each Lean process loads few environments.
        todo = sorted((t for t in theorems if t.name not in done), key=lambda t: t.imports)
        if todo:
            tasks = [Task(t, prover.kind, test.lean_calls, weight) for t in todo]
            if test.rollouts:
                turns = whole_proofs(run_config(prover))
                sampling = {"rollouts": test.rollouts, "max_tactics": ROLLOUT_TACTICS, "turns": turns, "draw": seed}
                tasks = [replace(task, **sampling) for task in tasks]
            yield seed, tasks


async def _attempt_all(
    tasks: Sequence[Task],
    phase: str,
    bench: Workbench,
    auditor: Auditor,
    ledger: Ledger,
    concurrent: int,
    progress: Callable[[Attempt], None],
) -> None:
    gate = asyncio.Semaphore(concurrent)

    async def one(task: Task) -> None:
        async with gate:
            judged = await _audited_attempt(phase, task, bench, auditor, bench.pool.runtime.name)
        ledger.record(judged)
        progress(judged)

    try:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(one(task))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _workbench(
    prover: Candidate,
    loaded: Any,
    pool: LeanPool,
    source: PremiseSource,
    index: LibraryIndex,
    seed: int,
    wrap: Wrap | None,
    learned: Learned,
) -> tuple[Workbench, bool]:
    """Returns (the workbench of a seed, whether to search with a value)."""
    model, value, obfuscator = None, False, None
    if loaded is not None:
        from prover.models.beam import DecodeConfig
        from prover.models.transformer import LanguageModelPolicy

        policy = loaded
        if isinstance(loaded, LanguageModelPolicy):  # same weights, random state of this seed
            policy = LanguageModelPolicy(
                loaded.model, loaded.tokenizer, loaded.prompter.config, DecodeConfig(seed=seed), version=loaded.version
            )
        elif hasattr(loaded, "reseed"):  # backends with a random state of their own
            loaded.reseed(seed)
        wrapped = wrap(policy) if wrap is not None else policy
        if isinstance(wrapped, FreshNamesPolicy):
            obfuscator = wrapped.obfuscator
            source = source.renamed(obfuscator.translation.name)
        model = InferenceClient(LocalModel(wrapped, wrapped, version=policy.version), prover.config.suggestions)
        value = prover.config.use_value and hasattr(wrapped, "evaluate") and getattr(policy, "has_value", True)
    explorer = Explorer(index, seed, prover.config.premises, actions=prover.config.actions)
    trained = learned.explorer(index, seed, prover.config, obfuscator)
    # Its estimates of goals read the true names, which remember the library.
    assessor = learned.assessor if obfuscator is None else None
    return Workbench(pool, source, prover.config, seed, explorer, trained, model, assessor=assessor), value


async def _audited_attempt(phase: str, task: Task, bench: Workbench, auditor: Auditor, lean: str) -> Attempt:
    """An audited attempt. Retries after an error, unless the theorem itself cannot be opened."""
    found = Found("error", reason="not attempted")
    for _ in range(CHANCES):
        found = await collect(task, bench)
        if found.outcome != "error" or found.reason.startswith("open"):
            break
    verdicts: dict[str, Verdict] = {}
    if found.script:
        try:
            verdicts[found.script] = await audited(auditor, task.theorem, found.script)
        except (LeanError, LeanDied) as e:
            verdicts[found.script] = Verdict(task.theorem.name, "error", f"audit: {e}")
    return attempt_of(phase, Finished(task, found, verdicts), lean)


# -- results ---------------------------------------------------------------------------------------------------------


def summary(ledger: Ledger, test: Test, prover: Candidate, seeds: Sequence[int]) -> dict[str, Any]:
    """Figures of an evaluation from the ledger: per seed as in `curves.summarise`, and over all seeds as in `together`."""
    by_seed = {s: list(ledger.attempts(phase_of(test, prover, s))) for s in seeds}
    figures = {
        "key": key_of(test, prover),
        "prover": asdict(prover),
        "test": asdict(test),
        "by_seed": {str(s): curves.summarise(a, test.lean_calls, test.count) for s, a in by_seed.items()},
        "all": together(list(by_seed.values()), test),
    }
    return figures | ({"pass_at_k": curves.sampled(list(by_seed.values()), test.rollouts)} if test.rollouts else {})


def together(by_seed: Sequence[Sequence[Attempt]], test: Test) -> dict[str, Any]:
    """`rate`, `low`, `high` at the full budget, `curve` (Lean calls → {rate, low, high}), `spread` (standard deviation of the
    rate over seeds; None for one seed), `outcomes`, `lean_calls`, `seeds`. Raises ValueError for an incomplete seed."""
    for attempts in by_seed:
        if len(attempts) != test.count:
            raise ValueError(f"{len(attempts)} of {test.count} theorems attempted")
    solving: dict[str, list[int]] = {a.theorem.name: [] for attempts in by_seed for a in attempts}
    outcomes: dict[str, int] = {}
    for a in (a for attempts in by_seed for a in attempts):
        outcomes[a.outcome] = outcomes.get(a.outcome, 0) + 1
        if a.outcome == "proved":
            solving[a.theorem.name].append(a.calls_to_solve or 0)
    curve = {}
    for budget in curves.budgets(test.lean_calls):
        counts = [sum(c <= budget for c in calls) for calls in solving.values()]
        low, high = wilson_over_seeds(counts, len(by_seed))
        curve[str(budget)] = {"rate": sum(counts) / (test.count * len(by_seed)), "low": low, "high": high}
    rates = [sum(a.outcome == "proved" for a in attempts) / test.count for attempts in by_seed]
    mean = sum(rates) / len(rates)
    spread = (sum((r - mean) ** 2 for r in rates) / (len(rates) - 1)) ** 0.5 if len(rates) > 1 else None
    return {
        **curve[str(test.lean_calls)],
        "curve": curve,
        "spread": spread,
        "outcomes": outcomes,
        "lean_calls": sum(a.lean_calls for attempts in by_seed for a in attempts),
        "seeds": len(by_seed),
    }


def results(ledger: Ledger) -> list[dict[str, Any]]:
    """Every evaluation in a ledger over its complete seeds, oldest first: `key`, `name`, `test`, `all`, and `pass_at_k` of rollouts."""
    phases: dict[str, dict[str, list[Attempt]]] = {}
    for a in ledger.attempts():
        if a.phase.startswith("eval "):
            phases.setdefault(a.phase.rsplit(" ", 1)[-1], {}).setdefault(a.phase, []).append(a)
    found = []
    for key, by_phase in phases.items():
        described = ledger.get(f"eval {key}")
        if described is None:
            continue
        test = Test(**described["test"])
        complete = [attempts for attempts in by_phase.values() if len(attempts) == test.count]
        if complete:
            name = described["prover"]["name"]
            rates = {"pass_at_k": curves.sampled(complete, test.rollouts)} if test.rollouts else {}
            found.append({"key": key, "name": name, "test": asdict(test), "all": together(complete, test), **rates})
    return found


def comparison(test: Test, found: Iterable[dict[str, Any]]) -> list[list[str]]:
    """Table of the results of a test: a header with Lean calls, or with k for rollouts, then `percent [low, high]` for each prover."""
    budgets = [str(b) for b in curves.budgets(test.rollouts or test.lean_calls)]
    rows = [["% solved, pass@k" if test.rollouts else "% solved, by Lean calls", *budgets]]
    for r in found:
        if r["test"] != asdict(test):
            continue
        curve = r["pass_at_k"] if test.rollouts else r["all"]["curve"]
        cells = [curve[b] for b in budgets]
        seeds = f", {r['all']['seeds']} seeds" if r["all"]["seeds"] > 1 else ""
        rows.append(
            [
                f"{r['name']} (of {test.count}{seeds})",
                *(f"{100 * c['rate']:.1f} [{100 * c['low']:.0f}, {100 * c['high']:.0f}]" for c in cells),
            ]
        )
    return rows
