"""The functions of the public API. Each does what a command does, and returns what the command prints with `--json`.

All raise UserError for bad input, with one line that says what to do. They block until the work is done, also in a notebook.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from prover.lean.theorem import Theorem, Verdict
from prover.models.base import Policy, Value
from prover.search import SearchConfig
from prover.solve.job import Found

if TYPE_CHECKING:
    from rl.config import RunConfig

P = ParamSpec("P")
T = TypeVar("T")
PathLike = str | Path


def _blocking(function: Callable[P, T]) -> Callable[P, T]:
    """Runs the function in a thread if the caller's has an event loop, as a notebook's does: the work starts a loop of its own."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        from prover.concurrency import without_loop

        return without_loop(functools.partial(function, *args, **kwargs))

    return call


@_blocking
def theorems(source: PathLike, fields: Sequence[str] = ()) -> list[Theorem]:
    """The theorems of a set.

    Args:
        source: the name of an installed set, `world:NAME?…`, or the path of a set's `.toml` file, a data set, a `.lean` file or a
            Lake project.
        fields: `PART=FIELD` of a data set, as in `turnstile prove --fields`.
    """
    from curricula.sets import load_set, open_set

    return open_set(load_set(str(source), fields))


@_blocking
def prove(target: PathLike | Theorem | Iterable[Theorem], **options: Any) -> dict[str, Any]:
    """Find proofs and audit each of them, as `turnstile prove` does.

    Args:
        target: a path or name that the command takes, or theorems.
        options: the command's options, e.g. `policy="runs/mine"`, `budget=128`, `out="Filled.lean"`, `in_place=True`.

    Returns:
        The document of `--json`: `total`, `proved`, and `tasks` with `name`, `outcome`, `proof`, `reason` and `lean_calls` each. `source`
        is the filled file, or the proofs as Lean source, unless `out` or `in_place` writes a file.
    """
    from prover.commands.prove import answered
    from prover.solve.options import ProveOptions

    paths = ("out", "results", "sources", "tree", "lemmas", "learn_out", "learn_settings")
    options = {k: Path(v) if k in paths and v is not None else v for k, v in options.items()}
    given = None
    if not isinstance(target, PathLike):
        given = [target] if isinstance(target, Theorem) else list(target)
    document, failure = answered(ProveOptions("theorems" if given is not None else str(target), **options), given)
    if failure is not None:
        raise failure
    return document


@_blocking
def verify(
    target: PathLike | Theorem,
    proof: str | None = None,
    *,
    against: PathLike | None = None,
    imports: Sequence[str] = (),
    kernel: Literal["lean", "nanoda"] = "lean",
    all: bool = False,
) -> list[Verdict]:
    """Audit proofs from their source in fresh Lean processes.

    Args:
        target: a `.lean` file, a Lake project, a run folder, or a theorem.
        proof: the proof of a theorem: tactics, `by …`, or `:= …`.
        against: the original of a file or project, with `sorry` in place of the proofs.
        imports: modules to import for files that import none.
        kernel: `nanoda` requires a second, independent kernel to accept too.
        all: whether to list accepted declarations that Lean generated.

    Returns:
        A verdict for each declaration, or for each proof.
    """
    from prover.errors import UserError
    from prover.lean.audit import Auditor
    from prover.lean.checkers.nanoda import find_nanoda
    from prover.lean.project import is_project
    from prover.solve.judge import Claim, judged, judged_files, run_proofs
    from prover.solve.statements import script_of, script_of_term

    if (proof is not None) != isinstance(target, Theorem):
        raise UserError("a proof goes with a theorem: verify(Theorem(…), proof)")

    async def verdicts() -> list[Verdict]:
        async with Auditor(kernel=find_nanoda() if kernel == "nanoda" else None) as auditor:
            if isinstance(target, Theorem) and proof is not None:
                claims = [Claim(target.name, target, script_of(proof), script_of_term(proof))]
                return [v async for v in judged(auditor, claims)]
            path = Path(str(target))
            if path.is_dir() and not is_project(path):
                return [v async for v in judged(auditor, run_proofs(path))]
            files = judged_files(auditor, path, None if against is None else Path(against), imports)
            found = [v async for judgement in files for v in judgement.verdicts]
            return [v for v in found if all or not v.generated or v.verdict != "proved"]

    return asyncio.run(verdicts())


@_blocking
def search(
    theorem: Theorem,
    policy: str | Policy = "portfolio",
    budget: int = 64,
    *,
    value: Value | None = None,
    config: SearchConfig | None = None,
    disprove: float = 0.0,
    seed: int = 0,
    page: bool = False,
) -> Found:
    """Search for a proof of one theorem and audit it.

    Args:
        theorem: the theorem.
        policy: as in `turnstile prove --policy` (e.g. a run's folder), or an object with `suggest`.
        budget: Lean calls.
        value: an object with `evaluate`, for a policy that is an object.
        config: the search's settings, e.g. its rule. Default: those of the policy.
        disprove: share of the Lean calls spent on the negation.
        seed: random seed.
        page: whether to draw the search as an HTML page, in the field `page` of the result.

    Returns:
        The result: `outcome` (`proved`, `disproved`, `exhausted`, `budget`, `rejected` or `error`), `script`, `reason`, `lean_calls`,
        and `outline`, a summary of the search.
    """
    from dataclasses import replace

    from prover.solve.attempt import Prover
    from prover.solve.executor import LocalExecutor, settled
    from prover.solve.job import Job
    from prover.solve.policies import provers_named

    if isinstance(policy, str):
        provers = provers_named(policy, seed)
        provers = [replace(p, config=config) for p in provers] if config is not None else provers
    else:
        settings = config or SearchConfig(in_flight=1, model_thread=False, seed=seed)
        provers = [Prover(type(policy).__name__, policy, settings, value, wants_premises=True)]

    async def found() -> Found:
        async with LocalExecutor(provers, 1) as executor:
            job = Job(theorem, budget, disprove, page=page)
            return await settled(executor, job, await executor.attempt(job))

    return asyncio.run(found())


@_blocking
def train(
    config: PathLike | RunConfig | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    seed: int | None = None,
    resume: PathLike | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train a prover, as `turnstile train` does. An interrupted run is continued by `resume`.

    Args:
        config: a configuration, the path of a `.toml` file, or the name of a stage, e.g. `"demonstration"`. Default: the defaults.
        settings: settings on top, e.g. `{"learn.rounds": 5, "theorems.files": ["mine.jsonl"]}`.
        name: the run's name, and its folder `runs/NAME`.
        seed: random seed.
        resume: the folder of a run to continue, with the configuration saved there.
        quiet: whether to print nothing.

    Returns:
        The run's summary: `name`, solve counts on the held-out theorems by prover, and the comparison of the trained prover with the
        explorer.
    """
    from prover.errors import UserError
    from rl.commands.train import configuration
    from rl.loop import Trainer

    if resume is not None:
        if config is not None or settings or name is not None or seed is not None:
            raise UserError("resume uses the saved configuration: omit config, settings, name and seed")
        return Trainer.resume(Path(resume), quiet).run()
    texts = tuple(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in (settings or {}).items())
    chosen = configuration(Path(config) if isinstance(config, str) else config, texts, name, seed)
    if (chosen.folder / "ledger.sqlite").exists():
        raise UserError(
            f"{chosen.folder} exists: choose another name, or continue it with resume={str(chosen.folder)!r}"
        )
    return Trainer(chosen, quiet).run()


@_blocking
def evaluate(prover: PathLike, theorems: PathLike, **options: Any) -> dict[str, Any]:
    """Evaluate a prover on a theorem set, as `turnstile eval` does. Results are stored in a ledger and not computed twice.

    Args:
        prover: `portfolio`, `shuffled`, `explorer`, or the folder of a checkpoint or run.
        theorems: a set as for `theorems`.
        options: `budget`, `seeds`, `limit`, `fields`, `run` (the folder for the results), `processes`, `ray`, `fresh_names`.

    Returns:
        The figures: `all` with the solve `rate`, its 95 % interval `low` and `high`, the `curve` by Lean calls and `outcomes`; and
        `by_seed`.
    """
    from rl.evaluation import Evaluation
    from rl.evaluation_results import EvalOptions

    options = {k: Path(v) if k == "run" and v is not None else v for k, v in options.items()}
    return Evaluation.prepare(EvalOptions(str(prover), str(theorems), **options)).run()
