"""Train with one part changed at a time and compare the results."""

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
    ray: str = "",
    out: Path = Path("docs/results"),
    json: bool = False,
) -> int:
    """Train the same configuration with one part changed at a time, and compare held-out solve rates.

    Args:
        config: a TOML file, or the name of a stage, e.g. ablation.
        variants: names of variants (see rl/ablate.py). Default: all.
        seeds: number of seeds per variant.
        runs: a folder for the runs. Finished runs in it are not repeated.
        ray: address of a Ray cluster that trains the runs; `local` for this machine. Default: `ray.address` of the configuration.
        out: writes the page OUT.md and the figures OUT.json.
        json: print the figures as one JSON document.
    """
    import shlex

    from prover.files import check_writable
    from prover.solve.ray_start import check_cluster
    from rl import ablate as ablations

    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, not {seeds}")
    if out.parent.exists():  # otherwise it is created later
        for page in (".json", ".md"):
            check_writable(out.with_suffix(page))
    if ray:
        check_cluster(ray, "--ray")
    chosen = variants or tuple(ablations.VARIANTS)
    found = ablations.ablate(
        config, chosen, seeds, runs, lambda text: print(f"turnstile: {text}", file=sys.stderr), ray
    )
    command = shlex.join(
        ["turnstile", "ablate", str(config), "--seeds", str(seeds), *(["--variants", *variants] if variants else [])]
    )
    ablations.write(found, command, out)
    print(dumps(found) if json else out.with_suffix(".md").read_text(encoding="utf-8"))
    return 0
