"""The learning curve of a run, as a PNG in its folder: the solve rate on theorems that were never trained on, over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prover.solve.ledger import Ledger
from rl.metrics.intervals import wilson


@dataclass(frozen=True)
class Point:
    """The solve rate after a round."""

    lean_calls: int
    """Lean calls of training so far."""
    solved: int
    total: int


def points(ledger: Ledger, calls: int, rounds: int) -> list[Point]:
    """The solve rate on the validation theorems within `calls` Lean calls, before training and after each round."""
    found: list[Point] = []
    spent = 0
    for r in range(rounds + 1):
        spent += sum(a.lean_calls for a in ledger.attempts(f"round {r}"))
        validated = list(ledger.attempts(f"validation round {r}"))
        if validated:
            solved = sum(a.outcome == "proved" and (a.calls_to_solve or 0) <= calls for a in validated)
            found.append(Point(spent, solved, len(validated)))
    return found


def learning_curve(
    path: Path, found: Sequence[Point], calls: int, held_out: Mapping[str, tuple[int, int]], title: str
) -> None:
    """Write the PNG. `held_out`: (solved, total) of each prover on the held-out theorems. Baselines are lines, and the trained prover is a
    point at the end of training."""
    from matplotlib.figure import Figure  # takes a second

    figure = Figure(figsize=(7.5, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    x = [p.lean_calls / 1000 for p in found]
    rates = [100 * p.solved / p.total for p in found]
    bounds = [[100 * b for b in wilson(p.solved, p.total)] for p in found]
    axes.fill_between(
        x, [low for low, _ in bounds], [high for _, high in bounds], alpha=0.15, color="#1f6feb", linewidth=0
    )
    axes.plot(x, rates, "o-", color="#1f6feb", label=f"after each round ({found[0].total} validation theorems)")
    for style, (name, (solved, total)) in zip((":", "--", "-."), held_out.items(), strict=False):
        rate = 100 * solved / total
        if name == "trained":
            low, high = wilson(solved, total)
            error = [[rate - 100 * low], [100 * high - rate]]
            axes.errorbar(
                x[-1], rate, error, fmt="D", color="#1a7f37", capsize=3, label=f"trained ({total} held-out theorems)"
            )
        else:
            axes.axhline(rate, linestyle=style, color="#57606a", label=f"{name} ({total} held-out theorems)")
    axes.set_xlabel("Lean calls of training, thousands")
    axes.set_ylabel(f"solved within {calls} Lean calls, %")
    axes.set_ylim(0, 100)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize="small")
    figure.savefig(path)
