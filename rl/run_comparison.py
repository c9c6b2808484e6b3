"""`turnstile report A B`: two runs side by side: settings, held-out solve rates with a paired test, and the rounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.solve.ledger import Attempt, Ledger, theorem_json
from rl import config as config_module
from rl.candidate import MEASURED
from rl.changes import differences
from rl.metrics import charts, curves, rounds
from rl.metrics.intervals import percent, wilson
from rl.pages import render

COMPARED = (
    "solve/train/all/rate",
    "solve/validation/all/rate",
    "proofs/new",
    "proofs/mean_length",
    "cost/lean_calls_per_proof",
    "model/entropy",
    "learner/policy_loss",
    "learner/value_loss",
    "value/calibration_error",
    "lean/steps_per_second",
)
"""Metrics that are drawn over the rounds."""
LISTED = 200
"""Maximum number of theorems that are listed by name, of those that only one run solved."""


class Run:
    """The data of a run folder that a comparison uses. Raises UserError if it is not the folder of a training run."""

    def __init__(self, folder: Path) -> None:
        with Ledger.open(folder, readonly=True) as ledger:
            self.name = folder.resolve().name
            if not (folder / "config.toml").exists():
                raise UserError(
                    f"{folder}: has no config.toml and is not a training run; name a folder that `turnstile train` wrote"
                )
            self.config = config_module.load(folder / "config.toml")
            self.figures = rounds.figures(ledger)
            self.versions: dict[str, str] = ledger.get("versions") or {}
            self.seconds: float = ledger.get("seconds") or 0.0
            self.training_calls = ledger.training_calls()
            self.held_out = {
                label: {theorem_json(a.theorem): a for a in ledger.attempts(f"held-out {policy}")}
                for label, policy in MEASURED.items()
            }


def compare(one: Run, other: Run) -> dict[str, Any]:
    """The comparison as plain data: `settings` and `versions` that differ, and `held_out` by searcher, on the theorems that both
    tried, up to the smaller of their Lean calls."""
    names = sorted(one.versions.keys() | other.versions.keys())
    versions = [[n, one.versions.get(n, "?"), other.versions.get(n, "?")] for n in names]
    return {
        "runs": [one.name, other.name],
        "settings": [
            [name, a, b] for name, a, b in differences(one.config, other.config) if name not in ("name", "runs")
        ],
        "versions": [row for row in versions if row[1] != row[2]],
        "seconds": [round(one.seconds), round(other.seconds)],
        "training_calls": [one.training_calls, other.training_calls],
        "held_out": {label: found for label in one.held_out if (found := _held_out(one, other, label)) is not None},
    }


def _held_out(one: Run, other: Run, label: str) -> dict[str, Any] | None:
    a, b = one.held_out[label], other.held_out[label]
    if not (common := [key for key in a if key in b]):
        return None
    calls = min(one.config.eval.calls, other.config.eval.calls)
    both: list[list[Attempt]] = [[found[key] for key in common] for found in (a, b)]
    first, second = (curves.solved_within(xs, calls) for xs in both)
    only = [sorted(first - second), sorted(second - first)]
    return {
        "theorems": len(common),
        "lean_calls": calls,
        "curves": [curves.summarise(xs, calls, len(common))["curve"] for xs in both],
        "only": [len(names) for names in only],
        "p": float(f"{curves.sign_test(*map(len, only)):.3g}"),
        "only_names": only,
    }


def table(found: dict[str, Any]) -> list[list[str]]:
    """Text cells: a row for each searcher and run, with solve rates by Lean calls and the paired test."""
    rows = [["held-out theorems solved", "run", "Lean calls", "% [95 %]", "only this run", "p (McNemar)"]]
    for label, h in found["held_out"].items():
        for name, curve, only in zip(found["runs"], h["curves"], h["only"], strict=True):
            solved = curve[str(h["lean_calls"])]
            rate = percent(solved / h["theorems"], *wilson(solved, h["theorems"]))
            rows.append([f"{label} (of {h['theorems']})", name, str(h["lean_calls"]), rate, str(only), f"{h['p']:g}"])
    return rows


def comparison_page(one: Run, other: Run) -> str:
    """The HTML page."""
    found = compare(one, other)
    measured = {
        f"{run.name}, {label}": list(attempts.values())
        for run in (one, other)
        for label, attempts in run.held_out.items()
        if attempts
    }
    calls = max(one.config.eval.calls, other.config.eval.calls)
    only = [
        (label, run, names)
        for label, h in found["held_out"].items()
        for run, names in zip(found["runs"], h["only_names"], strict=True)
        if names
    ]
    return render(
        "comparison.html",
        title=f"{one.name} and {other.name}",
        listed=LISTED,
        differing=[["", one.name, other.name], *found["settings"], *found["versions"]],
        totals=[
            ["", one.name, other.name],
            ["seconds", *found["seconds"]],
            ["Lean calls of all rounds", *found["training_calls"]],
        ],
        held_out=table(found),
        only=only,
        by_calls=charts.by_calls(measured, calls, []) if measured else None,
        over_rounds=charts.side_by_side({one.name: one.figures, other.name: other.figures}, COMPARED),
    )
