"""Evaluate a prover on a theorem set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from json import dumps
from typing import TYPE_CHECKING, Any

from rl import evaluation_results as e
from rl.evaluation_results import EvalOptions

if TYPE_CHECKING:
    from prover.solve.ledger import Attempt, Ledger


def evaluate(options: EvalOptions) -> int:
    """Run `turnstile eval` and return its exit code."""
    from prover.solve.ledger import Ledger
    from rl import candidate as c
    from rl.evaluation import Evaluation

    others = [Ledger.open(other, readonly=True) for other in options.beside]
    made = Evaluation.prepare(options)
    total = len(made.theorems) * options.seeds
    label = f"{made.candidate.name} on {made.test.set}"
    try:
        with _progress_bar(label, total, made.earlier(), quiet=options.json) as advance:
            figures = made.run(advance)
    except KeyboardInterrupt:
        print("\nturnstile: stopped; run the same command again to continue", file=sys.stderr)
        return 130
    if options.json:
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
    from rl.metrics.tracking import print_table

    print_table(e.comparison(test, [r for one in (ledger, *others) for r in e.results(one)]))
    if seen:
        print(f"turnstile: the checkpoint's run used {seen} of these theorems for training", file=sys.stderr)
    print(f"turnstile: in {ledger.path}; errors: {figures['all']['outcomes'].get('error', 0)}", file=sys.stderr)
