"""Evaluate a prover on a theorem set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from prover.errors import UserError

if TYPE_CHECKING:
    from prover.solve.ledger import Attempt, Ledger
    from rl import evaluate as e


@dataclass(frozen=True)
class EvalOptions:
    """Evaluate a prover on a theorem set. Results are stored in a ledger, and attempts are not repeated."""

    prover: tyro.conf.Positional[str]
    """`portfolio`, `shuffled`, `explorer`, or the folder of a checkpoint or of a run (its newest checkpoint)."""
    theorems: tyro.conf.Positional[str]
    """a set's name (see `turnstile sets`), `world:…`, or the path of a .toml or .lean file, a Lake project or a data set."""
    budget: int = 64
    """Lean calls per theorem."""
    rollouts: int = 0
    """sample this many proofs of each theorem instead of a search, for pass@k."""
    seeds: int = 1
    """number of seeds, from 0."""
    limit: int | None = None
    """maximum number of theorems."""
    fields: tuple[str, ...] = ()
    """PART=FIELD …: the fields of a data set, as in `turnstile prove --fields`."""
    run: Path | None = None
    """the run folder whose ledger stores the results. Default: the checkpoint's run, else runs/eval."""
    beside: tuple[Path, ...] = ()
    """other run folders, whose results on the same test are shown too."""
    processes: int = 2
    """Lean processes that search."""
    ray: str | None = None
    """address of a Ray cluster that does the work (`auto`: the one this machine is in; `local`: one started here)."""
    fresh_names: bool = False
    """show a checkpoint made-up names for the library's names, to test reasoning without memory. The set
    `library-new` implies this, and mentions constants that were not in training."""
    set: tuple[str, ...] = ()
    """settings of the prover that override those of its run, e.g. prover.actions=elementary prover.rule=best_first."""
    json: bool = False
    """print the figures as one JSON document."""

    def check(self) -> None:
        """Raise UserError for numbers out of range."""
        for name in ("budget", "seeds", "limit", "processes"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise UserError(f"--{name} must be at least 1, not {number}")


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
    from rl import evaluate as e
    from rl.metrics.tracking import print_table

    print_table(e.comparison(test, [r for one in (ledger, *others) for r in e.results(one)]))
    if seen:
        print(f"turnstile: the checkpoint's run used {seen} of these theorems for training", file=sys.stderr)
    print(f"turnstile: in {ledger.path}; errors: {figures['all']['outcomes'].get('error', 0)}", file=sys.stderr)
