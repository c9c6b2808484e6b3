"""The training commands: `turnstile train`, `turnstile eval`, `turnstile report`."""

from __future__ import annotations

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
