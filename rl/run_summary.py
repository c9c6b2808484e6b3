"""The end of a run: its summary, proofs and plot, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from statistics import fmean
from typing import Any

from prover.files import write_whole
from prover.solve.ledger import Attempt, Ledger
from prover.solve.proofs_source import proofs_source
from rl.candidate import MEASURED
from rl.config import RunConfig
from rl.metrics import compute, curves, plot, rounds
from rl.metrics.tracking import Tracker

PAIRED = {"explorer": "paired", "portfolio": "paired_portfolio"}
"""Baseline that the trained prover is compared with theorem by theorem -> the summary's key."""


def held_out(ledger: Ledger, policy: str, config: RunConfig, total: int) -> dict[str, Any]:
    """Solved held-out theorems of a policy, by Lean calls. `total`: number of held-out theorems."""
    return curves.summarise(list(ledger.attempts(f"held-out {policy}")), config.eval.calls, total)


def pass_rates(ledger: Ledger, phase: str, name: str, rollouts: int) -> dict[str, float]:
    """pass@k of a phase of rollouts. A theorem that could not be opened counts as not proved."""
    return compute.pass_rates([(rollouts, a.stats.get("correct", 0)) for a in ledger.attempts(phase)], name)


def finish(
    config: RunConfig, ledger: Ledger, tracker: Tracker, total: int, elapsed: float, lean: str
) -> dict[str, Any]:
    """Write `summary.json`, `proofs.lean` and `learning.png`, and report the result and the next steps. Returns the summary."""
    folder, rollouts = config.folder, config.eval.rollouts
    summary: dict[str, Any] = {
        label: held_out(ledger, policy, config, total)
        for label, policy in MEASURED.items()
        if ledger.done(f"held-out {policy}")
    }
    claimed = compute.verdicts(ledger.attempts())
    measured = [
        (label, list(ledger.attempts(f"held-out {policy}"))) for label, policy in MEASURED.items() if label in summary
    ]
    if measured:
        tracker.table(curves.table([(label, summary[label]) for label, _ in measured]))
        tracker.table(curves.seconds_table(measured))
    summary |= {"seconds": round(elapsed, 1), "lean": lean, "name": config.name}
    summary |= {"rejected": claimed["rejected"], "unjudged": claimed["error"]}
    if rollouts:
        rates = pass_rates(ledger, "rollouts held-out", "held-out", rollouts)
        summary["pass_at_k"] = {name.rsplit("/", 1)[-1]: rate for name, rate in rates.items()}
    summary["by_seconds"] = {label: curves.by_seconds(attempts) for label, attempts in measured}
    for baseline, key in PAIRED.items():
        if baseline in summary and "trained" in summary:
            summary[key] = _paired(ledger, config, tracker, baseline)
    if at_work := _lean_at_work(ledger, tracker):
        summary["lean_at_work"] = at_work
    _draw(ledger, config, tracker, summary)
    proofs = list(ledger.proofs())
    write_whole(folder / "proofs.lean", _source(proofs, lean).encode())
    write_whole(folder / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())
    tracker.say(
        f"{len(proofs)} theorems proved and audited in {elapsed / 60:.1f} minutes; the audit rejected {claimed['rejected']} "
        f"and could not judge {claimed['error']}.\nNext: [bold]turnstile verify {quote(str(folder))}[/bold] audits every proof again; "
        f"{folder}/proofs.lean contains the proofs, {folder}/wandb the curves."
    )
    return summary


def _source(proofs: Sequence[Attempt], lean: str) -> str:
    """The proofs as Lean source, for reading. `turnstile verify RUN` checks them from the ledger, each with its own imports."""
    ordered = sorted(proofs, key=lambda a: (a.theorem.imports, a.theorem.name))
    rows = [{"outcome": "proved", "proof": a.script, "bound": a.stats.get("bound", ())} for a in ordered]
    head = f"/- Proofs found by Turnstile, each audited by {lean}.\n   `turnstile verify` checks them again. -/\n"
    return "\n".join([head, proofs_source([a.theorem for a in ordered], rows)])


def _paired(ledger: Ledger, config: RunConfig, tracker: Tracker, baseline: str) -> dict[str, dict[str, float]]:
    """Paired comparison of the trained prover with a baseline, by Lean calls. Also reports it."""
    found: dict[str, dict[str, float]] = {}
    trained, other = (list(ledger.attempts(f"held-out {p}")) for p in ("model", baseline))
    for calls in curves.budgets(config.eval.calls):
        only, only_other, p = curves.paired(trained, other, calls)
        found[str(calls)] = {"only_trained": only, f"only_{baseline}": only_other, "p": float(f"{p:.3g}")}
    said = "; ".join(
        f"{f['only_trained']:.0f} and {f[f'only_{baseline}']:.0f} at {b} Lean calls (p = {f['p']:.2g})"
        for b, f in found.items()
    )
    tracker.say(
        f"Theorems solved only by the trained prover and only by the {baseline}, with the p-value of the paired (McNemar) test: "
        f"{said}."
    )
    return found


def _lean_at_work(ledger: Ledger, tracker: Tracker) -> dict[str, float]:
    """Share of the Lean processes' time spent running tactics while rounds were collected: `mean`, `low` and `high` of the rounds. Also
    reports it. Empty if nothing was measured."""
    shares = [f["lean/utilisation"] for f in rounds.figures(ledger).values() if "lean/utilisation" in f]
    if not shares:
        return {}
    mean, low, high = fmean(shares), min(shares), max(shares)
    tracker.say(
        f"Lean ran tactics for {100 * mean:.0f} % of the time spent collecting (mean of {len(shares)} rounds, {100 * low:.0f} to "
        f"{100 * high:.0f} %)."
    )
    return {"mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4)}


def _draw(ledger: Ledger, config: RunConfig, tracker: Tracker, summary: dict[str, Any]) -> None:
    """Write `learning.png`, if the run has validation theorems."""
    calls, target = config.eval.validation_calls, Path(config.folder) / "learning.png"
    found = plot.points(ledger, calls, config.learn.rounds)
    if not found:
        return
    shown = {"portfolio": "automation", "explorer": "untrained search", "trained": "trained"}
    held = {
        name: (summary[label]["curve"][str(calls)], summary[label]["total"])
        for label, name in shown.items()
        if str(calls) in summary.get(label, {}).get("curve", {})
    }
    plot.learning_curve(target, found, calls, held, f"run {config.name}")
    tracker.say(f"{target} shows the solve rate over training.")
