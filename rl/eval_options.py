"""The options of `turnstile eval`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from prover.errors import UserError


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
