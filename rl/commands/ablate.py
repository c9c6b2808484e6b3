"""Train with one part changed at a time, and compare."""

from __future__ import annotations

import sys
from json import dumps
from pathlib import Path

import tyro

from prover.errors import UserError


def ablate(
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
    command = shlex.join(
        ["turnstile", "ablate", str(config), "--seeds", str(seeds), *(["--variants", *variants] if variants else [])]
    )
    ablations.write(found, command, out)
    print(dumps(found) if json else out.with_suffix(".md").read_text(encoding="utf-8"))
    return 0
