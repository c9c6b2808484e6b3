"""`turnstile report RUN`: a page about a run with curves, calibration, proofs and failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from prover.solve.ledger import Attempt, Ledger
from rl import config as config_module
from rl import evaluation_results
from rl.candidate import BASELINES
from rl.metrics import alerts, calibration, charts, compute, rounds
from rl.pages import render
from rl.reliability import calibration_error

SHOWN = 12
"""Maximum number of proofs or failures of one kind that are shown in full."""
LISTED = 500
"""Maximum number of proofs in the list at the end."""
Phases = dict[str, list[Attempt]]


def report_page(folder: Path) -> str:
    """The HTML page. Raises UserError if `folder` is not a run."""
    with Ledger.open(folder, readonly=True) as ledger:
        config = config_module.load(folder / "config.toml") if (folder / "config.toml").exists() else None
        phases: Phases = {}
        for a in ledger.attempts():
            phases.setdefault(a.phase, []).append(a)
        figures = rounds.figures(ledger)
        found = evaluation_results.results(ledger)
        proofs = list(ledger.proofs())
        versions, changes = ledger.get("versions") or {}, ledger.get("changes") or []
    measured = {p: a for p, a in phases.items() if p.startswith("held-out")}
    past = rounds.history(figures)
    predictions = calibration.predictions(a for rows in phases.values() for a in rows)
    setup = [["", ""], ["seed", config.seed if config else ""], *versions.items()]
    return render(
        "report.html",
        title=folder.resolve().name,
        shown=SHOWN,
        listed=LISTED,
        steps=compute.proof_steps,
        proofs=sorted(proofs, key=lambda a: a.theorem.name),
        attempted=sum(map(len, phases.values())),
        lean=", ".join(sorted({a.lean for rows in phases.values() for a in rows if a.lean})),
        alerts=[a for n in range(len(past), 0, -1) for a in alerts.alerts(past[:n])],
        by_calls=charts.by_calls(measured, config.eval.calls if config else 64, found) if measured or found else None,
        over_rounds=charts.over_rounds(figures),
        rounds=rounds.table(figures),
        predictions=predictions,
        error=calibration_error(calibration.reliability(predictions)),
        reliability=charts.reliability,
        steps_error=charts.steps_error,
        heads=_heads(figures),
        phases=_phases(phases),
        interesting=_interesting(phases, proofs),
        failures=_failures(phases),
        setup=setup + [["changed when resumed", change] for change in changes],
        settings=config_module.dump(config) if config else "",
    )


def _heads(figures: rounds.Figures) -> list[list[str]]:
    """A header, and the newest measurement of each head of the assessor."""
    found = next((f for f in reversed(figures.values()) if "assessor/goals" in f), {})
    rows = [
        [head, f"{found[f'assessor/{head}_of']:.0f}"]
        + [f"{found[key]:.3f}" if (key := f"assessor/{head}_{x}") in found else "" for x in ("auc", "ece")]
        for head in charts.HEADS
        if f"assessor/{head}_of" in found
    ]
    return [["head", "cases", "AUC", "calibration error"], *rows] if rows else []


def _phases(phases: Phases) -> list[list[str]]:
    kinds = ("proved", "disproved", "exhausted", "budget", "rejected", "error")
    rows = [["phase", "theorems", *kinds, "Lean calls", "calls per proof"]]
    for phase, attempts in phases.items():
        counts = Counter(a.outcome for a in attempts)
        calls = sum(a.lean_calls for a in attempts)
        cost = f"{calls / counts['proved']:.1f}" if counts["proved"] else ""
        rows.append([phase, str(len(attempts)), *(str(counts[k]) for k in kinds), str(calls), cost])
    return rows


def _interesting(phases: Phases, proofs: Sequence[Attempt]) -> list[tuple[str, list[Attempt]]]:
    """Proofs worth reading: long ones, expensive ones, and those of held-out theorems that no baseline proved."""
    kinds: list[tuple[str, list[Attempt]]] = [
        ("Longest, in tactics", sorted(proofs, key=compute.proof_steps, reverse=True)),
        ("Most Lean calls", sorted(proofs, key=lambda a: a.calls_to_solve or 0, reverse=True)),
    ]
    baselines = [_solved(phases.get(f"held-out {b}", ())) for b in BASELINES]
    trained = {a.theorem.name: a for a in phases.get("held-out model", ()) if a.outcome == "proved"}
    only = [a for n, a in trained.items() if not any(n in b for b in baselines)]
    if any(phases.get(f"held-out {b}") for b in BASELINES):
        kinds.insert(0, ("Held-out theorems that only the trained prover solved", only))
    return [(title, rows) for title, rows in kinds if rows]


def _failures(phases: Phases) -> list[tuple[str, list[Attempt]]]:
    """Rejected proofs, errors, and held-out theorems that a baseline proved and the trained prover did not."""
    everything = [a for rows in phases.values() for a in rows]
    solved = _solved(phases.get("held-out model", ()))
    lost = [
        a
        for b in BASELINES
        for a in phases.get(f"held-out {b}", ())
        if a.outcome == "proved" and a.theorem.name not in solved and phases.get("held-out model")
    ]
    errors = [a for a in everything if a.outcome == "error"]
    kinds = [
        ("Rejected by the audit", [a for a in everything if a.outcome == "rejected"]),
        ("Not judged by the audit: out of time or memory", [a for a in errors if a.script]),
        ("Errors", [a for a in errors if not a.script]),
        ("Solved by a baseline but not by the trained prover (the baseline's proof)", lost),
    ]
    return [(title, rows) for title, rows in kinds if rows]


def _solved(attempts: Iterable[Attempt]) -> set[str]:
    return {a.theorem.name for a in attempts if a.outcome == "proved"}
