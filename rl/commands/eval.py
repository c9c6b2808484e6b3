"""Evaluate a prover on a theorem set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from prover.errors import UserError
from rl import config as config_module

if TYPE_CHECKING:
    from prover.solve.ledger import Attempt, Ledger
    from rl import candidate as c
    from rl import evaluate as e


def evaluate(
    prover: tyro.conf.Positional[str],
    theorems: tyro.conf.Positional[str],
    /,
    *,
    budget: int = 64,
    seeds: int = 1,
    limit: int | None = None,
    fields: tuple[str, ...] = (),
    run: Path | None = None,
    beside: tuple[Path, ...] = (),
    processes: int = 2,
    ray: str | None = None,
    fresh_names: bool = False,
    set: tuple[str, ...] = (),
    json: bool = False,
) -> int:
    """Evaluate a prover on a theorem set, apart from training. Results are stored in a ledger and not computed twice.

    Args:
        prover: `portfolio`, `shuffled`, `explorer`, a checkpoint's folder, or a run's (its newest checkpoint).
        theorems: a set's name (see `turnstile sets`), or the path of its .toml file or of a data set.
        budget: Lean calls per theorem.
        seeds: number of seeds, from 0.
        limit: maximum number of theorems.
        fields: PART=FIELD …: the fields of a data set, as in `turnstile prove --fields`.
        run: the run folder whose ledger stores the results. Default: the checkpoint's run, else runs/eval.
        beside: other run folders, whose results of the same test are shown too.
        processes: Lean processes that search.
        ray: address of a Ray cluster that does the work (`auto`: the one this machine is in; `local`: one started here).
        fresh_names: show a checkpoint made-up names for the library's names, to test reasoning without memory. The set
            `library-new` implies this, and mentions constants that training did not.
        set: the prover's settings on top of its run's, e.g. prover.actions=elementary prover.rule=best_first.
        json: print the figures as one JSON document.
    """
    import asyncio

    from curricula.sets import load_set, open_set
    from prover.console import say
    from prover.lean.runtime import find_runtime
    from prover.lean.server import Limits
    from prover.models.manifest import read_manifest
    from prover.premises.index import library_index
    from prover.solve.ledger import Ledger
    from rl import candidate as c
    from rl import evaluate as e

    _check_options(ray, budget=budget, seeds=seeds, limit=limit, processes=processes)
    candidate = _changed(c.candidate(prover), set)
    described = load_set(theorems, fields)
    chosen = open_set(described)[:limit]
    standard = config_module.ProverConfig()
    limits = Limits(heartbeats=standard.heartbeats, seconds=standard.step_seconds)
    loaded = c.load(candidate) if ray is None else None
    wrap = _fresh_names(loaded) if fresh_names or described.fresh_names else None
    if wrap and ray is not None:
        raise UserError("--fresh-names (which the set library-new implies) does not work with --ray")
    wrapper = "fresh names" if wrap else ""
    test = e.make_test(described.name, chosen, budget, limits, find_runtime().name, wrapper)
    others = [Ledger.open(other, readonly=True) for other in beside]
    folder = run or (candidate.checkpoint and read_manifest(Path(candidate.checkpoint)).run) or Path("runs/eval")
    ledger = _open_ledger(folder)
    phases = {e.phase_of(test, candidate, s) for s in range(seeds)}
    earlier = [a for a in ledger.attempts() if a.phase in phases]
    label = f"{candidate.name} on {described.name}"
    try:
        with _progress_bar(label, len(chosen) * seeds, earlier, quiet=json) as advance:
            more: dict[str, Any] = {"processes": processes, "progress": advance}
            if ray is not None:
                figures = e.evaluate_on_ray(candidate, test, chosen, ledger, range(seeds), ray, say=say, **more)
            else:
                index = library_index()
                figures = asyncio.run(
                    e.evaluate(candidate, loaded, test, chosen, index, ledger, range(seeds), wrap=wrap, **more)
                )
    except KeyboardInterrupt:
        print("\nturnstile: stopped; run the same command again to continue", file=sys.stderr)
        return 130
    if json:
        print(dumps(figures))
    else:
        _print_table(test, figures, ledger, others, c.trained_on(candidate, chosen))
    return 0 if figures["all"]["rate"] == 1 else 1


def _changed(candidate: c.Candidate, settings: tuple[str, ...]) -> c.Candidate:
    """The candidate with these settings of `prover`, named by them. Raises UserError for others."""
    if not settings:
        return candidate
    if other := next((s for s in settings if not s.startswith("prover.")), None):
        raise UserError(f"--set {other}: an evaluation takes the settings of the table `prover` only")
    config = config_module.check(config_module.override(config_module.RunConfig(prover=candidate.config), settings))
    return replace(candidate, config=config.prover, name=" ".join([candidate.name, *settings]))


def _check_options(ray: str | None, **numbers: int | None) -> None:
    from prover.solve.ray_start import check_cluster

    for name, number in numbers.items():
        if number is not None and number < 1:
            raise UserError(f"--{name} must be at least 1, not {number}")
    if ray is not None:
        check_cluster(ray, "--ray")


def _fresh_names(model: Any) -> e.Wrap:
    from prover.models.fresh_names import FreshNamesPolicy

    # Templates of pretrained models show premises by name only.
    return partial(FreshNamesPolicy, types=hasattr(model, "prompter") and model.prompter.config.show_types)


def _open_ledger(folder: Path) -> Ledger:
    from prover.solve.ledger import Ledger

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}: name a run folder with --run") from None
    return Ledger(folder / "ledger.sqlite")


@contextmanager
def _progress_bar(
    label: str, total: int, earlier: Sequence[Attempt], quiet: bool
) -> Iterator[Callable[[Attempt], None]]:
    """A progress bar that starts with the `earlier` attempts. Yields a function that adds one."""
    from rich.console import Console

    from rl.metrics.tracking import progress

    solved = sum(a.outcome == "proved" for a in earlier)
    with progress(Console(stderr=True, quiet=quiet)) as display:
        bar = display.add_task(label, total=total, completed=len(earlier), solved=solved)

        def advance(attempt: Attempt) -> None:
            nonlocal solved
            solved += attempt.outcome == "proved"
            display.update(bar, advance=1, solved=solved)

        yield advance


def _print_table(test: e.Test, figures: dict[str, Any], ledger: Ledger, others: list[Ledger], seen: int) -> None:
    from rl import evaluate as e
    from rl.metrics.tracking import print_table

    print_table(e.comparison(test, [r for one in (ledger, *others) for r in e.results(one)]))
    if seen:
        print(f"turnstile: the checkpoint's run used {seen} of these theorems for training", file=sys.stderr)
    print(f"turnstile: in {ledger.path}; errors: {figures['all']['outcomes'].get('error', 0)}", file=sys.stderr)
