"""Evaluate a prover on a theorem set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

if TYPE_CHECKING:
    from prover.solve.ledger import Attempt, Ledger
    from rl import evaluate as e


def evaluate(
    prover: tyro.conf.Positional[str],
    theorems: tyro.conf.Positional[str],
    /,
    *,
    budget: int = 64,
    rollouts: int = 0,
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
        rollouts: sample so many proofs of each theorem without search instead, for pass@k.
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
    from prover.solve.ledger import Ledger
    from rl import candidate as c
    from rl.evaluation import Evaluation

    others = [Ledger.open(other, readonly=True) for other in beside]
    made = Evaluation.prepare(
        prover,
        theorems,
        budget=budget,
        rollouts=rollouts,
        seeds=seeds,
        limit=limit,
        fields=fields,
        run=run,
        processes=processes,
        ray=ray,
        fresh_names=fresh_names,
        settings=set,
    )
    total = len(made.theorems) * seeds
    try:
        with _progress_bar(f"{made.candidate.name} on {made.test.set}", total, made.earlier(), quiet=json) as advance:
            figures = made.run(advance)
    except KeyboardInterrupt:
        print("\nturnstile: stopped; run the same command again to continue", file=sys.stderr)
        return 130
    if json:
        print(dumps(figures))
    else:
        _print_table(made.test, figures, made.ledger, others, c.trained_on(made.candidate, made.theorems))
    return 0 if figures["all"]["rate"] == 1 else 1


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
