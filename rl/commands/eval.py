"""Measure a prover on a theorem set."""

from __future__ import annotations

import sys
from functools import partial
from json import dumps
from pathlib import Path

import tyro

from prover.errors import UserError
from rl import config as config_module


def evaluate(
    prover: tyro.conf.Positional[str],
    theorems: tyro.conf.Positional[str],
    /,
    *,
    budget: int = 64,
    seeds: int = 1,
    limit: int | None = None,
    run: Path | None = None,
    beside: tuple[Path, ...] = (),
    processes: int = 2,
    fresh_names: bool = False,
    json: bool = False,
) -> int:
    """Measure a prover on a theorem set, apart from training. Results go to a ledger; what it has is not done again.

    Args:
        prover: `portfolio`, `shuffled`, `explorer`, a checkpoint's folder, or a run's (its newest checkpoint).
        theorems: a set's name: see `turnstile sets`.
        budget: Lean calls a theorem.
        seeds: so many seeds, 0, 1 …
        limit: at most so many theorems.
        run: the run folder whose ledger takes the results; left out: the checkpoint's own, else runs/eval.
        beside: other run folders, whose results of the same test are shown too.
        processes: Lean processes.
        fresh_names: show a checkpoint made-up words for the library's names: what it can do by reasoning, not by memory. The
            set `library-new` asks for this by itself, and speaks of things that training did not.
        json: print the figures as one JSON document.
    """
    import asyncio

    from rich.console import Console

    from curricula.sets import load_set, open_set
    from prover.lean.runtime import find_runtime
    from prover.lean.server import Limits
    from prover.models.manifest import read_manifest
    from prover.premises.index import library_index
    from prover.solve.ledger import Attempt, Ledger
    from rl import candidate as c
    from rl import evaluate as e
    from rl.metrics.tracking import print_table, progress

    for name, number in (("budget", budget), ("seeds", seeds), ("limit", limit), ("processes", processes)):
        if number is not None and number < 1:
            raise UserError(f"--{name} must be at least 1, not {number}")
    candidate = c.candidate(prover)
    described = load_set(theorems)
    chosen = open_set(described)[:limit]
    standard = config_module.ProverConfig()
    limits = Limits(heartbeats=standard.heartbeats, seconds=standard.step_seconds)
    loaded = c.load(candidate)
    wrap: e.Wrap | None = None
    fresh_names = fresh_names or described.fresh_names
    if fresh_names:
        from prover.models.fresh_names import FreshNamesPolicy

        # A pretrained model's template shows premises by name alone.
        wrap = partial(FreshNamesPolicy, types=hasattr(loaded, "prompter") and loaded.prompter.config.show_types)
    wrapper = "fresh names" if fresh_names else ""
    test = e.make_test(described.name, chosen, budget, limits, find_runtime().name, wrapper)
    folder = run or (candidate.checkpoint and read_manifest(Path(candidate.checkpoint)).run) or Path("runs/eval")
    others = [Ledger.open(other, readonly=True) for other in beside]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}: --run names a run folder") from None
    ledger = Ledger(folder / "ledger.sqlite")
    phases = {e.phase_of(test, candidate, s) for s in range(seeds)}
    earlier = [a for a in ledger.attempts() if a.phase in phases]
    solved = sum(a.outcome == "proved" for a in earlier)
    with progress(Console(stderr=True, quiet=json)) as display:
        bar = display.add_task(
            f"{candidate.name} on {described.name}", total=len(chosen) * seeds, completed=len(earlier), solved=solved
        )

        def advance(attempt: Attempt) -> None:
            nonlocal solved
            solved += attempt.outcome == "proved"
            display.update(bar, advance=1, solved=solved)

        try:
            figures = asyncio.run(
                e.evaluate(
                    candidate,
                    loaded,
                    test,
                    chosen,
                    library_index(),
                    ledger,
                    range(seeds),
                    wrap=wrap,
                    processes=processes,
                    progress=advance,
                )
            )
        except KeyboardInterrupt:
            print("\nturnstile: stopped; the same command goes on where it was", file=sys.stderr)
            return 130
    if json:
        print(dumps(figures))
    else:
        found = [r for one in (ledger, *others) for r in e.results(one)]
        print_table(e.comparison(test, found))
        seen = c.trained_on(candidate, chosen)
        if seen:
            print(
                f"turnstile: {seen} of these theorems were tried while this checkpoint's run trained", file=sys.stderr
            )
        print(f"turnstile: in {ledger.path}; errors: {figures['all']['outcomes'].get('error', 0)}", file=sys.stderr)
    return 0 if figures["all"]["rate"] == 1 else 1
