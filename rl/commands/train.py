"""Train a prover from a configuration, or resume a run."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import count
from json import dumps
from pathlib import Path
from shlex import quote

import tyro

from prover.errors import UserError
from rl import config as config_module
from rl.changes import difference
from rl.config import RunConfig


def train(
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
    """Train a prover. Writes a run folder. Ctrl-C stops cleanly and `--resume` continues.

    Args:
        config: a TOML file, or the name of a stage, e.g. demonstration. Default: the defaults of rl/config.py.
        name: the run's name, and its folder runs/NAME.
        resume: a run folder to continue, with the configuration saved there. `--set` can change the length of the run and its machines,
            e.g. learn.rounds=5 prover.provers=4 ray.address=HOST:PORT.
        seed: random seed.
        set: settings on top of the file, e.g. learn.rounds=5 prover.provers=4.
        dry_run: start nothing; print the placement, memory, downloads, theorems, rough duration and disk space of the run, and what
            is missing.
        json: print the summary (or the plan) as one JSON document.
    """
    from prover.premises.index import library_index
    from rl.loop import Trainer
    from rl.plan import explain, needs, plan
    from rl.theorem_splits import theorems_of

    overrides, as_json = set, json
    if resume is not None:
        if config is not None or name is not None or dry_run:
            raise UserError("--resume uses the saved configuration: omit all other options but --set and --json")
        settings = (*overrides, *([f"seed={seed}"] if seed is not None else []))
        trainer = Trainer.resume(resume, as_json, settings)
    else:
        chosen = configuration(config, overrides, name, seed)
        planned = plan(chosen)
        if dry_run:
            planned |= needs(chosen, theorems_of(chosen.theorems, library_index(), chosen.eval.validation))
            print(dumps(planned) if as_json else explain(planned))
            if planned["missing"]:
                raise UserError(planned["missing"][0])
            return 0
        if (chosen.folder / "summary.json").exists():
            chosen = replace(chosen, name=_next_name(chosen))
        elif (chosen.folder / "ledger.sqlite").exists():
            saved = config_module.load(chosen.folder / "config.toml")
            if (other := difference(saved, chosen)) is not None:
                raise UserError(
                    f"{chosen.folder} is an unfinished run with {other}: continue it with `turnstile train --resume "
                    f"{quote(str(chosen.folder))}` (and --set for changes), or choose another folder with --name"
                )
            print(f"turnstile: resuming the unfinished run {chosen.folder}", file=sys.stderr)
            return train(resume=chosen.folder, json=as_json)
        trainer = Trainer(chosen, quiet=as_json)
    try:
        summary = trainer.run()
    except KeyboardInterrupt:
        command = f"turnstile train --resume {quote(str(trainer.folder))}"
        print(f"\nturnstile: stopped; continue with: {command}", file=sys.stderr)
        return 130
    if as_json:
        print(dumps(summary))
    return 0


def configuration(
    config: Path | RunConfig | None, settings: tuple[str, ...], name: str | None, seed: int | None
) -> RunConfig:
    """The configuration that the options describe. Raises UserError."""
    chosen = config_module.load(config) if isinstance(config, Path) else config or RunConfig()
    chosen = config_module.override(chosen, settings)
    given = {"name": name, "seed": seed}
    chosen = replace(chosen, **{key: value for key, value in given.items() if value is not None})
    # Absolute paths, because the run may be resumed from another folder.
    files = tuple(str(Path(f).absolute()) if Path(f).exists() else f for f in chosen.theorems.files)
    return replace(chosen, theorems=replace(chosen.theorems, files=files))


def _next_name(config: RunConfig) -> str:
    """The first of NAME-2, NAME-3 … that has no folder, because a finished run is never overwritten."""
    names = (f"{config.name}-{i}" for i in count(2))
    return next(name for name in names if not (Path(config.runs) / name).exists())
