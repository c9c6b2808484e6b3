"""`turnstile bench`: measure the Lean environment, the searches, the premises."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from prover.commands.output import answer, say


def bench(
    what: Annotated[Literal["lean", "search", "premises"], tyro.conf.Positional],
    /,
    *,
    quick: bool = False,
    checkpoint: Path | None = None,
    theorems: int = 300,
    seeds: int = 3,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Measure, in one run, and print the figures.

    Args:
        what: `lean`: steps a second, overhead, start, memory, the cost of a kill. `search`: selection rules at equal Lean
            calls. `premises`: what retrievers find of the premises that audited proofs used.
        quick: a small version, for a look.
        checkpoint: for `search`: a trained model's folder; left out: the explorer. For `premises`: a run with proofs.
        theorems: how many held-out theorems.
        seeds: for `search`: so many seeds.
        out: write the figures to this file too.
        json: one JSON document on standard output.
    """
    figures = _measure(what, quick, checkpoint, theorems, seeds)
    if out is not None:
        import json as json_module

        from prover.commands.output import write_whole

        write_whole(out, (json_module.dumps(figures, indent=1) + "\n").encode())
    if json:
        answer(figures)
    else:
        for key, value in figures.items():
            say(f"{key:24} {value}")
    return 0


def _measure(what: str, quick: bool, checkpoint: Path | None, theorems: int, seeds: int) -> dict[str, Any]:
    if what == "lean":
        from prover.bench.lean import bench_lean

        return bench_lean(quick)
    from curricula.library import library_set
    from prover.premises.index import library_index

    index = library_index()
    if what == "premises":
        from prover.bench.premises import bench_premises

        return bench_premises(index, checkpoint)
    from prover.bench.search import bench_search

    chosen = library_set(index, "held-out", per_module=28, limit=40 if quick else theorems)
    return asyncio.run(
        bench_search(
            chosen, index, str(checkpoint) if checkpoint else None, (16, 64) if quick else (16, 64, 256, 1024),
            range(1 if quick else seeds),
        )
    )  # fmt: skip
