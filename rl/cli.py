"""The training commands: `turnstile train`, `turnstile eval`, `turnstile report`."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from functools import partial
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
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Learn to prove theorems. Writes a run folder; Ctrl-C stops cleanly and `--resume` goes on.

    Args:
        config: a TOML file, e.g. curricula/stages/demonstration.toml; left out: the settings of rl/config.py as they are.
        name: the run's name, and its folder runs/NAME.
        resume: a run folder to go on with, with the configuration saved there.
        seed: of everything random.
        set: settings on top of the file, e.g. learn.rounds=5 prover.provers=4.
        dry_run: start nothing; say what would go where, how much memory it would take, and what would be downloaded.
        json: print the summary (or the plan) as one JSON document.
    """
    from rl.plan import explain, plan
    from rl.trainer import Trainer

    overrides, as_json = set, json
    if resume is not None:
        if config is not None or overrides or name is not None or seed is not None or dry_run:
            raise UserError("--resume goes on with the saved configuration: leave the others out")
        trainer = Trainer.resume(resume, quiet=as_json)
    else:
        chosen = config_module.load(config) if config is not None else RunConfig()
        chosen = config_module.override(chosen, overrides)
        if name is not None:
            chosen = replace(chosen, name=name)
        if seed is not None:
            chosen = replace(chosen, seed=seed)
        # Where they are said to be from here: the run may be gone on with from elsewhere.
        files = tuple(str(Path(f).absolute()) for f in chosen.theorems.files)
        chosen = replace(chosen, theorems=replace(chosen.theorems, files=files))
        planned = plan(chosen)
        if dry_run:
            print(dumps(planned) if as_json else explain(planned))
            return 0
        if (chosen.folder / "summary.json").exists():
            chosen = replace(chosen, name=_next_name(chosen))
        elif (chosen.folder / "ledger.sqlite").exists():
            saved = config_module.load(chosen.folder / "config.toml")
            if (other := config_module.difference(saved, chosen)) is not None:
                raise UserError(
                    f"{chosen.folder} is an unfinished run with {other}: `turnstile train --resume {chosen.folder}` goes on with it, "
                    "--name gives this one another folder"
                )
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
    from prover.premises.index import library_index
    from rl import contestant as c
    from rl import evaluate as e
    from rl.ledger import Attempt, Ledger
    from rl.tracking import print_table, progress

    for name, number in (("budget", budget), ("seeds", seeds), ("limit", limit), ("processes", processes)):
        if number is not None and number < 1:
            raise UserError(f"--{name} must be at least 1, not {number}")
    contestant = c.contestant(prover)
    described = load_set(theorems)
    chosen = open_set(described)[:limit]
    standard = config_module.ProverConfig()
    limits = Limits(heartbeats=standard.heartbeats, seconds=standard.step_seconds)
    loaded = c.load(contestant)
    wrap: e.Wrap | None = None
    fresh_names = fresh_names or described.fresh_names
    if fresh_names:
        from prover.models.fresh_names import FreshNames

        # A pretrained model's template shows premises by name alone.
        wrap = partial(FreshNames, types=hasattr(loaded, "prompter") and loaded.prompter.config.show_types)
    wrapper = "fresh names" if fresh_names else ""
    test = e.make_test(described.name, chosen, budget, limits, find_runtime().name, wrapper)
    folder = run or (contestant.checkpoint and c.run_of(Path(contestant.checkpoint))) or Path("runs/eval")
    others = [Ledger.open(other, readonly=True) for other in beside]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}: --run names a run folder") from None
    ledger = Ledger(folder / "ledger.sqlite")
    phases = {e.phase_of(test, contestant, s) for s in range(seeds)}
    earlier = [a for a in ledger.attempts() if a.phase in phases]
    solved = sum(a.outcome == "proved" for a in earlier)
    with progress(Console(stderr=True, quiet=json)) as display:
        bar = display.add_task(
            f"{contestant.name} on {described.name}", total=len(chosen) * seeds, completed=len(earlier), solved=solved
        )

        def advance(attempt: Attempt) -> None:
            nonlocal solved
            solved += attempt.outcome == "proved"
            display.update(bar, advance=1, solved=solved)

        try:
            figures = asyncio.run(
                e.evaluate(
                    contestant, loaded, test, chosen, library_index(), ledger, range(seeds),
                    wrap=wrap, processes=processes, progress=advance,
                )
            )  # fmt: skip
        except KeyboardInterrupt:
            print("\nturnstile: stopped; the same command goes on where it was", file=sys.stderr)
            return 130
    if json:
        print(dumps(figures))
    else:
        found = [r for one in (ledger, *others) for r in e.results(one)]
        print_table(e.comparison(test, found))
        seen = c.trained_on(contestant, chosen)
        if seen:
            print(f"turnstile: {seen} of these theorems were tried while this checkpoint's run trained", file=sys.stderr)
        print(f"turnstile: in {ledger.path}; errors: {figures['all']['outcomes'].get('error', 0)}", file=sys.stderr)
    return 0 if figures["all"]["rate"] == 1 else 1


def ablate(args: list[str]) -> int:
    """`turnstile ablate`."""
    return typed(_ablate, "ablate", args)


def _ablate(
    config: tyro.conf.Positional[Path],
    /,
    *,
    variants: tuple[str, ...] = (),
    seeds: int = 1,
    runs: Path = Path("runs/ablations"),
    out: Path = Path("docs/results"),
    json: bool = False,
) -> int:
    """Train the same configuration with one part changed at a time, and put the held-out solve rates side by side.

    Args:
        config: a TOML file, e.g. curricula/stages/ablation.toml.
        variants: which; left out: all (see rl/ablate.py).
        seeds: so many seeds each.
        runs: a folder for the runs; what is finished there is not run again.
        out: the page OUT.md and the figures OUT.json.
        json: print the figures as one JSON document too.
    """
    import shlex

    from prover.files import check_writable
    from rl import ablate as ablations

    if seeds < 1:
        raise UserError(f"--seeds: at least 1, not {seeds}")
    if out.parent.exists():  # else it is made
        for page in (".json", ".md"):
            check_writable(out.with_suffix(page))
    chosen = variants or tuple(ablations.VARIANTS)
    found = ablations.ablate(config, chosen, seeds, runs, lambda text: print(f"turnstile: {text}", file=sys.stderr))
    command = shlex.join(["turnstile", "ablate", str(config), "--seeds", str(seeds), *(["--variants", *variants] if variants else [])])
    ablations.write(found, command, out)
    print(dumps(found) if json else out.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


def report(args: list[str]) -> int:
    """`turnstile report`."""
    return typed(_report, "report", args)


def _report(run: tyro.conf.Positional[Path], /, *, out: Path | None = None, json: bool = False) -> int:
    """Write one self-contained page about a run: curves, calibration, proofs, failures. Or about a batch: a gallery.

    Args:
        run: the run's folder, or a batch's results.jsonl.
        out: the page; left out: RUN/report.html, or results.html beside the results.
        json: print the page's place, the metrics of each round and the evaluations as one JSON document.
    """
    from prover.files import check_writable, write_whole
    from prover.gallery import batch_results, gallery
    from rl import evaluate, rounds
    from rl.ledger import Ledger

    if (results := batch_results(run)) is not None and not (run / "ledger.sqlite").exists():
        target = out or results.with_suffix(".html")
        check_writable(target)
        if target.resolve() == results.resolve():
            raise UserError(f"{target}: is the results themselves, and would be written over: name another page with --out")
        write_whole(target, gallery(results).encode())
        print(dumps({"page": str(target)}) if json else target)
        return 0
    from rl.report import report_page
    from rl.tracking import print_table

    if not run.is_dir():
        raise UserError(f"{run}: no such folder; give a run's, e.g. runs/demonstration")
    target = out or run / "report.html"
    check_writable(target)
    if target.exists() and target.resolve().is_relative_to(run.resolve()) and target.suffix != ".html":
        raise UserError(f"{target}: is a part of the run, and would be written over: name another page with --out")
    write_whole(target, report_page(run).encode())
    ledger = Ledger.open(run, readonly=True)
    figures, found = rounds.figures(ledger), evaluate.results(ledger)
    ledger.close()
    if json:
        print(dumps({"page": str(target), "rounds": figures, "evaluations": found}))
        return 0
    print_table(rounds.table(figures))
    for test in {dumps(r["test"]): evaluate.Test(**r["test"]) for r in found}.values():
        print(f"{test.set}, {test.lean}")
        print_table(evaluate.comparison(test, found))
    print(target)
    return 0
