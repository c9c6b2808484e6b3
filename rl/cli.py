"""The training commands: `turnstile train`, `turnstile eval`, `turnstile report`."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from json import dumps
from pathlib import Path

import tyro

from prover.cli import typed
from prover.errors import UserError
from rl import config as config_module
from rl.config import RunConfig


def train(args: list[str]) -> int:
    """`turnstile train`: its command line, to its exit code."""
    return typed(_train, "train", args)


def _train(
    config: tyro.conf.Positional[Path | None] = None,
    /,
    *,
    name: str | None = None,
    resume: Path | None = None,
    seed: int | None = None,
    set: tuple[str, ...] = (),
    json: bool = False,
) -> int:
    """Learn to prove theorems. Writes a run folder; Ctrl-C stops cleanly and `--resume` goes on.

    Args:
        config: a TOML file, e.g. curricula/stages/demonstration.toml; left out: the demonstration.
        name: the run's name, and its folder runs/NAME.
        resume: a run folder to go on with, with the configuration saved there.
        seed: of everything random.
        set: settings on top of the file, e.g. learn.rounds=5 prover.provers=4.
        json: print the summary as one JSON document.
    """
    from rl.trainer import Trainer

    overrides, as_json = set, json
    if resume is not None:
        if config is not None or overrides:
            raise UserError("--resume goes on with the saved configuration: leave the others out")
        trainer = Trainer.resume(resume, quiet=as_json)
    else:
        chosen = config_module.load(config) if config is not None else RunConfig()
        chosen = config_module.override(chosen, overrides)
        if name is not None:
            chosen = replace(chosen, name=name)
        if seed is not None:
            chosen = replace(chosen, seed=seed)
        if (chosen.folder / "summary.json").exists():
            chosen = replace(chosen, name=_next_name(chosen))
        elif (chosen.folder / "ledger.sqlite").exists():
            print(f"turnstile: going on with the unfinished run {chosen.folder}", file=sys.stderr)
            return _train(resume=chosen.folder, json=as_json)
        trainer = Trainer(chosen, quiet=as_json)
    # A run that is told to end ends as on Ctrl-C, also where its parent had switched that off.
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, signal.default_int_handler)
    try:
        summary = trainer.run()
    except KeyboardInterrupt:
        print(f"\nturnstile: stopped; go on with: turnstile train --resume {trainer.folder}", file=sys.stderr)
        return 130
    if as_json:
        print(dumps(summary))
    return 0


def _next_name(config: RunConfig) -> str:
    """NAME-2, NAME-3 …: a finished run is never written over."""
    i = 2
    while (Path(config.runs) / f"{config.name}-{i}").exists():
        i += 1
    return f"{config.name}-{i}"


def eval(args: list[str]) -> int:
    """`turnstile eval`."""
    return typed(_eval, "eval", args)


def _eval(
    searcher: tyro.conf.Positional[str],
    theorems: tyro.conf.Positional[str],
    /,
    *,
    budget: int = 64,
    seeds: int = 1,
    limit: int | None = None,
    run: Path | None = None,
    json: bool = False,
) -> int:
    """Measure a prover on a theorem set, apart from training. Results go to a ledger; what it has is not done again.

    Args:
        searcher: `portfolio`, `explorer`, a checkpoint's folder, or a run's (its newest checkpoint).
        theorems: a set's name: see `turnstile sets`.
        budget: Lean calls a theorem.
        seeds: so many seeds.
        limit: at most so many theorems.
        run: the run whose ledger takes the results; left out: the checkpoint's own, else runs/eval.
        json: print the figures as one JSON document.
    """
    import asyncio

    from curricula.sets import load_set, open_set
    from rl import measure
    from rl.evaluate import evaluate, find_checkpoint
    from rl.ledger import Ledger

    if searcher not in ("portfolio", "explorer"):
        searcher = str(find_checkpoint(Path(searcher)))
    chosen = open_set(load_set(theorems))[:limit]
    folder = run or (Path(searcher).parents[1] if "/" in searcher else Path("runs/eval"))
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(folder / "ledger.sqlite")
    figures = asyncio.run(evaluate(searcher, chosen, theorems, ledger, budget, range(seeds)))
    if json:
        print(dumps(figures))
    else:
        for row in measure.table([(searcher, figures["all"])]):
            print("  ".join(f"{cell:>18}" for cell in row))
    return 0 if figures["all"]["solved"] == figures["all"]["total"] else 1


def report(args: list[str]) -> int:
    """`turnstile report`."""
    return typed(_report, "report", args)


def _report(run: tyro.conf.Positional[Path], /, *, out: Path | None = None) -> int:
    """Write one self-contained page about a run: curves, phases, proofs, failures.

    Args:
        run: the run's folder.
        out: the page; left out: RUN/report.html.
    """
    from rl.report import report_page
    from rl.trainer import write_atomically

    page = report_page(run)
    target = out or run / "report.html"
    write_atomically(target, page)
    print(target)
    return 0
